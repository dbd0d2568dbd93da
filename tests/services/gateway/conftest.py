"""A gateway on loopback with backends, promotions and spool in memory."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import uvloop

from protos import control_pb2_grpc, inference_pb2_grpc
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.door import Door
from services.gateway.exchanges import Exchanges
from services.gateway.http_calls import Calls
from services.gateway.http_server import HttpServer
from services.gateway.reception import Reception
from services.gateway.repeats import Repeats
from services.gateway.server import Server
from services.gateway.servicer import FeedbackServicer, InferenceServicer
from services.gateway.settings import GatewaySettings
from services.gateway.shadow import Shadows
from services.gateway.spool import SpoolFull
from services.tasks import Task
from services.topics import Record
from tests.fakes.backends import FakeBackend
from tests.services.gateway.examples import a_task

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Asyncio's own; where a test names loops, those: the gateway itself runs on uvloop."""
    mark = item.get_closest_marker("asyncio")
    return LOOPS if mark and mark.kwargs else {"asyncio": LOOPS["asyncio"]}


@pytest.fixture
def only_ours_is_collected() -> Iterator[None]:
    """What other tests left stays where it is: who knows what its end would set off."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def nobody_complains(only_ours_is_collected: None) -> AsyncIterator[None]:
    """The loop was told of no error that nobody had looked at; of what is left, only this test's own is collected."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    yield
    gc.collect()
    assert told == []


@dataclass
class MemorySpool:
    """Keeps what is appended."""

    exchanges: list[events.Exchange] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    full: str = ""
    broken: str = ""

    def admit(self) -> None:
        if self.full:
            raise SpoolFull(self.full)

    async def append_exchange(self, exchange: events.Exchange) -> None:
        if self.broken:
            raise SpoolFull(self.broken)
        self.exchanges.append(exchange)

    async def append(self, record: Record) -> None:
        self.records.append(record)


@dataclass
class Gateway:
    """The running gateway, what stands around it, and clients to it."""

    settings: GatewaySettings
    port: int
    inference_servicer: InferenceServicer
    feedback_servicer: FeedbackServicer
    task: Task
    teacher: FakeBackend
    student: FakeBackend
    spool: MemorySpool
    server: Server
    reception: Reception
    http_server: HttpServer
    http_url: str
    exchanges: Exchanges
    door: Door
    promotions: dict[str, events.Promotion]
    channel: grpc.aio.Channel

    @property
    def inference(self) -> inference_pb2_grpc.InferenceStub:
        return inference_pb2_grpc.InferenceStub(self.channel)

    @property
    def feedback(self) -> control_pb2_grpc.FeedbackStub:
        return control_pb2_grpc.FeedbackStub(self.channel)

    @property
    def exchange(self) -> events.Exchange:
        """The only one that was written."""
        (exchange,) = self.spool.exchanges
        return exchange

    def promote(self, kind: events.PolicyKind, version: int = 3, **parameters: float) -> None:
        policy = events.Policy(kind=kind, **parameters)
        self.promotions[self.task.name] = events.Promotion(task=self.task.name, policy=policy, student_version=version)


@pytest.fixture
def settings() -> GatewaySettings:
    return GatewaySettings(
        gateway_listen="127.0.0.1:0", http_listen="127.0.0.1:0", shutdown_grace_s=0.5, max_open_calls=4
    )


@pytest.fixture
async def gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    task, spool = a_task(), MemorySpool()
    teacher = FakeBackend(inference.BACKEND_TEACHER, text="the teacher says so", model="gpt-4")
    student = FakeBackend(inference.BACKEND_STUDENT, text="the student says so", model="tiny", confidence=-0.02)
    promotions: dict[str, events.Promotion] = {}
    backends = {inference.BACKEND_TEACHER: teacher, inference.BACKEND_STUDENT: student}
    door = Door(settings.max_open_calls)
    shadows = Shadows(backends, spool, most_at_once=4, timeout_s=60.0)
    exchanges = Exchanges(
        backends,
        spool,
        promotions.get,
        Repeats(100_000, 60),
        teacher_needs_s=0.2,
        stops=lambda: door.turned_out,
        shadows=shadows,
    )
    reception = Reception({task.name: task}, settings.request_limits)
    inference_servicer = InferenceServicer(exchanges, reception, door)
    feedback_servicer = FeedbackServicer(spool, reception, door)
    server = Server(settings, inference_servicer, feedback_servicer, door)
    port = await server.start()
    http_server = HttpServer(settings, Calls(exchanges, reception, door, spool), door)
    http_url = f"http://127.0.0.1:{await http_server.start()}/v1"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Gateway(
            settings=settings,
            port=port,
            inference_servicer=inference_servicer,
            feedback_servicer=feedback_servicer,
            task=task,
            teacher=teacher,
            student=student,
            spool=spool,
            server=server,
            reception=reception,
            http_server=http_server,
            http_url=http_url,
            exchanges=exchanges,
            door=door,
            promotions=promotions,
            channel=channel,
        )
    await asyncio.gather(server.stop(), http_server.stop())
    await shadows.close()
