"""The controller's own word: followed, and followed again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from protos import control_pb2_grpc
from protos import events_pb2 as events
from services import client
from services.gateway import watch as module
from services.gateway.promotions import check
from services.gateway.watch import Watch
from services.settings import ControlTrust
from tests.services.gateway.examples import a_promotion, until


class Controller(control_pb2_grpc.ControlServicer):
    """Tells each watcher the next of its lists, and then ends the stream or goes on."""

    def __init__(self) -> None:
        self.lists: list[list[events.Promotion]] = []
        self.watchers = 0

    async def WatchPromotions(self, _request: Any, context: Any) -> None:
        self.watchers += 1
        if not self.lists:
            await asyncio.Event().wait()
        for promotion in self.lists.pop(0):
            await context.write(promotion)


@pytest.fixture
async def controller(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Controller, str]]:
    monkeypatch.setattr(module, "AGAIN_WITHIN_S", 0.01)
    server, servicer = grpc.aio.server(), Controller()
    control_pb2_grpc.add_ControlServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


class Taken(list[events.Promotion]):
    """What was taken; what is no promotion is not."""

    def take(self, promotion: events.Promotion) -> None:
        check(promotion)
        self.append(promotion)


@pytest.mark.contract
async def test_a_stream_that_ends_is_begun_again(controller: tuple[Controller, str]) -> None:
    servicer, address = controller
    first, second = (a_promotion(events.POLICY_KIND_CASCADE, version) for version in (1, 2))
    servicer.lists = [[first], [], [second]]
    taken = Taken()
    watch = Watch(address, taken.take)
    watch.start()
    await until(lambda: servicer.watchers == 4)
    await watch.close()
    assert taken == [first, second]


@pytest.mark.contract
async def test_what_is_no_promotion_is_skipped_and_said(controller: tuple[Controller, str]) -> None:
    servicer, address = controller
    good = a_promotion(events.POLICY_KIND_CASCADE)
    servicer.lists = [[events.Promotion(task="say"), good]]
    taken = Taken()
    with structlog.testing.capture_logs() as logs:
        watch = Watch(address, taken.take)
        watch.start()
        await until(lambda: taken)
        await watch.close()
    assert taken == [good]
    assert logs[0]["reason"] == "policy.kind 0 is unknown"


@pytest.mark.contract
async def test_a_controller_that_is_away_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_WITHIN_S", 0.001)
    tries: list[str] = []
    told = Watch._say_once
    monkeypatch.setattr(Watch, "_say_once", lambda self, state: (tries.append(""), told(self, state)))
    with structlog.testing.capture_logs() as logs:
        watch = Watch("127.0.0.1:1", lambda _promotion: None)
        watch.start()
        await until(lambda: len(tries) > 3)
        await watch.close()
    assert len({log["reason"] for log in logs}) == len(logs) > 0


async def test_a_tls_file_that_is_no_good_is_said_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_WITHIN_S", 0.001)
    looked = asyncio.Semaphore(0)
    credentials = client._control_credentials
    monkeypatch.setattr(client, "_control_credentials", lambda access: (looked.release(), credentials(access))[1])
    with structlog.testing.capture_logs() as logs:
        watch = Watch(
            "127.0.0.1:1",
            lambda _promotion: None,
            ControlTrust(control_tls=True, control_tls_ca=tmp_path / "not-there.pem"),
        )
        watch.start()
        for _ in range(3):
            await looked.acquire()
        await watch.close()
    [said] = logs
    assert said["reason"].startswith("CONTROL_TLS_CA")


@pytest.mark.contract
async def test_a_fault_that_ends_it_is_in_the_log(controller: tuple[Controller, str]) -> None:
    servicer, address = controller
    servicer.lists = [[a_promotion(events.POLICY_KIND_CASCADE)]]

    def breaks(_promotion: events.Promotion) -> None:
        raise RuntimeError("a fault of ours")

    with structlog.testing.capture_logs() as logs:
        watch = Watch(address, breaks)
        watch.start()
        await until(lambda: logs)
        await watch.close()
    assert [str(log["exc_info"]) for log in logs] == ["a fault of ours"]


async def test_one_that_was_never_started_can_be_closed() -> None:
    await Watch("127.0.0.1:1", lambda _promotion: None).close()
