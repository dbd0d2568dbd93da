"""candidates -> snapshot -> run -> report -> verdict -> Triton -> promotion, and the service Control beside it."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import grpc.aio
import structlog
import uuid_utils
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from protos import control_pb2, control_pb2_grpc
from services import tasks, telemetry
from services.audit.letters import DeadPlaces
from services.clickhouse import ClickHouse
from services.controller import cycle, retention
from services.controller.actions import Actions
from services.controller.auditing import Auditor
from services.controller.desk import Desk
from services.controller.entry import Token
from services.controller.erasing import Erasing, Kafka
from services.controller.erasure_tables import ErasureTables
from services.controller.judged import ClickHouseCalls
from services.controller.launcher import Launcher
from services.controller.loading import Loading
from services.controller.outbox import Outbox
from services.controller.pairs import ClickHousePairs
from services.controller.ramp_watch import RampWatch
from services.controller.recalibrating import Recalibrating
from services.controller.receipts import holds_customers, tells_sampler
from services.controller.repository import Repository
from services.controller.runner import Runner
from services.controller.servicer import Control
from services.controller.settings import Settings
from services.controller.state import State
from services.controller.store import ClickHouseStore
from services.controller.triton import Triton
from services.errors import Overloaded
from services.kafka import Follower, Producer, bury, everything, keeping
from services.tls import listen
from services.topics import DEAD_LETTERS, KEY_USAGE, KEYS, PROMOTIONS, RUNS, Record

log = structlog.stdlib.get_logger("tutelage")

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Ten thousand golden examples of six kilobytes."""
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # Gateways that watch ask every ten seconds who is there.
]
GRACE_S = 3.0
USAGE_WITHIN_S = 10.0
CONTROL = control_pb2.DESCRIPTOR.services_by_name["Control"].full_name


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = Settings()
    telemetry.start("controller", settings.log_level, settings.metrics_listen)
    with _the_only_one(settings):
        asyncio.run(_run(settings))


@contextmanager
def _the_only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock that makes this the active instance; a second one says so and exits, its supervisor tries again."""
    settings.runs_dir.mkdir(parents=True, exist_ok=True)
    path = settings.runs_dir / ".controller.lock"
    with path.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            sys.exit(f"another controller is active (process {lock.read().strip() or '?'}): it holds {path}")
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


async def _run(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    defined = tasks.load(settings.tasks_dir)
    state = State(Producer(settings))
    rebuilding = asyncio.create_task(asyncio.to_thread(_rebuild, state, settings))
    await asyncio.wait({rebuilding, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.is_set():
        os._exit(0)  # nothing is under way yet, and the thread may wait for Kafka for ever
    await rebuilding
    actions = _actions(settings, defined)
    desk = Desk(state, lambda: str(uuid_utils.uuid7()), actions.now, Outbox(settings.runs_dir / ".decisions"))
    await desk.resume()
    runner = Runner(defined, state, desk, actions, settings.runs_at_once)
    erasing = _erasing(settings, actions, state, desk)
    server = await _serve(settings, Control(defined, state, actions, desk, erasing, usage=lambda: _usage(settings)))
    auditor = Auditor(ClickHouse(settings), DeadPlaces(Follower(settings, DEAD_LETTERS)))
    auditing = asyncio.create_task(auditor.go_on(settings.audit_every_s))
    recalibrating = Recalibrating(defined, state, desk, ClickHouseCalls(lambda: ClickHouse(settings)), actions.now)
    calibrating = asyncio.create_task(recalibrating.go_on(settings.calibrate_every_s))
    ramps = RampWatch(defined, state, desk, lambda: ClickHousePairs(ClickHouse(settings)), actions.now)
    ramping = asyncio.create_task(ramps.go_on(settings.ramp_every_s))
    going_on = asyncio.create_task(runner.go_on(settings.watch_every_s))
    chores = asyncio.create_task(_chores(settings, defined, erasing, actions.launcher))
    await asyncio.wait({going_on, asyncio.create_task(stopped.wait())}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    state.watchers.close()
    await server.stop(GRACE_S)
    auditing.cancel()
    calibrating.cancel()
    ramping.cancel()
    chores.cancel()
    going_on.cancel()
    with suppress(asyncio.CancelledError):
        await going_on
    os._exit(0)  # a thread may load a model for minutes more; whatever it does can be done again


async def _chores(settings: Settings, defined: dict[str, tasks.Task], erasing: Erasing, launcher: Launcher) -> None:
    """What a start owes, ClickHouse as soon as that is there. A fault in one is logged, and ends that one alone."""
    patience = AsyncRetrying(
        retry=retry_if_exception_type(Overloaded), wait=wait_exponential(max=60), before_sleep=_waiting
    )
    ends = await asyncio.gather(
        patience(asyncio.to_thread, retention.apply, lambda: ClickHouse(settings), defined),
        patience(erasing.resume),
        _look_over(defined, launcher),
        return_exceptions=True,
    )
    for error in ends:
        if isinstance(error, Exception):
            log.error("left undone until the next start", reason=str(error), exc_info=error)


async def _look_over(defined: dict[str, tasks.Task], launcher: Launcher) -> None:
    """Tell at once, not when a run is due, which tasks' training configs no run can be started with."""
    for task in defined.values():
        if why := await launcher.objection(cycle.config(task, {})):
            log.error("no run of the task can start until its training config is mended", task=task.name, reason=why)


def _erasing(settings: Settings, actions: Actions, state: State, desk: Desk) -> Erasing:
    return Erasing(
        ErasureTables(lambda: ClickHouse(settings)),
        actions,
        state,
        desk,
        Kafka(lambda: keeping(settings, holds_customers), lambda keys: bury(settings, tells_sampler, keys)),
        directory=settings.runs_dir / ".erasures",
        new_id=lambda: str(uuid_utils.uuid7()),
    )


def _rebuild(state: State, settings: Settings) -> None:
    for attempt in Retrying(
        retry=retry_if_exception_type(Overloaded), wait=wait_exponential(max=5), before_sleep=_waiting
    ):
        with attempt:
            followers = [Follower(settings, topic.name) for topic in (RUNS, PROMOTIONS, KEYS)]
            try:
                state.rebuild(*followers)
            finally:
                for follower in followers:
                    follower.close()


def _usage(settings: Settings) -> Iterator[Record]:
    """All of topic `key-usage`. Raises Overloaded if Kafka does not answer."""
    follower = Follower(settings, KEY_USAGE.name)
    try:
        follower.start(USAGE_WITHIN_S)
        yield from everything(follower, USAGE_WITHIN_S)
    finally:
        follower.close()


def _waiting(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    log.warning("waiting for the topics", reason=str(error))


def _actions(settings: Settings, defined: dict[str, tasks.Task]) -> Actions:
    return Actions(
        tasks=defined,
        store=ClickHouseStore(lambda: ClickHouse(settings)),
        launcher=Launcher(settings.training_command, settings.ray_address, settings.training_check),
        loading=Loading(
            Repository(settings.triton_repository.resolve(), settings.triton_config_template),
            Triton(settings.triton_grpc_address, settings.triton_load_timeout_s),
            settings.versions_kept,
        ),
        now=lambda: datetime.now(UTC),
        snapshots_dir=settings.snapshots_dir,
        runs_dir=settings.runs_dir,
        page_rows=settings.page_rows,
    )


async def _serve(settings: Settings, control: Control) -> grpc.aio.Server:
    token = settings.control_token.get_secret_value()
    guards = [Token(token)] if token else []
    server = grpc.aio.server(interceptors=guards, options=OPTIONS)
    control_pb2_grpc.add_ControlServicer_to_server(control, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection((CONTROL, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = listen(server, settings.control_listen, settings.tls)
    await server.start()
    for name in ("", CONTROL):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    log.info("serving", listen=settings.control_listen, port=port)
    return server


if __name__ == "__main__":
    main()
