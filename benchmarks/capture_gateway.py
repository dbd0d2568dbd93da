"""The gateway of benchmarks.capture: the service's own parts before an echo, with the spool or without it.

`python -m benchmarks.capture_gateway MODE PORT`, where MODE is `none` (nothing is written: what capture is measured
against, and no setting of the service) or a policy of SPOOL_FSYNC. Kafka's address comes from the environment.
"""

import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import tasks
from services.gateway.backends import Ask, OnText
from services.gateway.door import Door
from services.gateway.exchanges import Exchanges, Ledger
from services.gateway.reception import Reception
from services.gateway.repeats import Repeats
from services.gateway.server import Server
from services.gateway.servicer import FeedbackServicer, InferenceServicer
from services.gateway.settings import GatewaySettings
from services.gateway.spool import LINGER_MS, Fsync, Spool
from services.kafka import Producer
from services.settings import KafkaSettings


class Echo:
    """A teacher that answers at once, with the question's text."""

    resumes = False

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:  # noqa: ARG002
        said = inference.Message(role=inference.ROLE_ASSISTANT, content=tasks.question(ask.request))
        usage = inference.Usage(prompt_tokens=140, completion_tokens=40)
        return events.Attempt(
            backend=inference.BACKEND_TEACHER, model="echo", message=said, finish=inference.FINISH_STOP, usage=usage
        )

    async def close(self) -> None:
        """Nothing is open."""


class NoSpool:
    """Keeps nothing; numbers the exchanges as the spool does."""

    def __init__(self) -> None:
        self._sequence = 0

    def admit(self) -> None:
        """There is always room."""

    async def append_exchange(self, exchange: events.Exchange) -> None:
        self._sequence += 1
        exchange.source, exchange.sequence = "none", self._sequence


async def serve(mode: str, port: int, directory: Path) -> None:
    """Serve until SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    settings = GatewaySettings(gateway_listen=f"127.0.0.1:{port}")
    door, reception = Door(settings.max_open_calls), Reception(tasks.load(settings.tasks_dir), settings.request_limits)
    fsync = Fsync.OFF if mode == "none" else Fsync(mode)
    spool = Spool.open(directory, Producer(KafkaSettings(), LINGER_MS), settings.spool_max_bytes, fsync)
    ledger: Ledger = NoSpool() if mode == "none" else spool
    repeats = Repeats(settings.repeat_max_bytes, settings.repeat_max_age_s)
    echo = {inference.BACKEND_TEACHER: Echo()}
    exchanges = Exchanges(echo, ledger, lambda _task: None, repeats, teacher_needs_s=0.0, stops=lambda: door.turned_out)
    server = Server(
        settings, InferenceServicer(exchanges, reception, door), FeedbackServicer(spool, reception, door), door
    )
    await server.start()
    await stopped.wait()
    await server.stop()
    await spool.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
