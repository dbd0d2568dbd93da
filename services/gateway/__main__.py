"""The gateway: spool and promotions, teacher and student, and the door before them. `python -m services.gateway`."""

import asyncio
import gc
import signal
import sys
from collections.abc import Mapping

import uvloop

from protos import inference_pb2 as inference
from services import tasks, telemetry
from services.gateway.asking import Backends
from services.gateway.callers import Callers
from services.gateway.door import Door
from services.gateway.exchanges import Exchanges
from services.gateway.http_calls import Calls
from services.gateway.http_server import HttpServer
from services.gateway.memory import Trimming, trim
from services.gateway.processes import supervise
from services.gateway.promotions import Promotions
from services.gateway.reception import Reception
from services.gateway.repeats import Repeats
from services.gateway.server import Server
from services.gateway.servicer import FeedbackServicer, InferenceServicer
from services.gateway.settings import GatewaySettings
from services.gateway.shadow import Shadows
from services.gateway.spool import LINGER_MS, Spool
from services.gateway.student import TritonStudent
from services.gateway.teacher import OpenAITeacher
from services.gateway.tracing import Traces
from services.gateway.watch import Watch
from services.kafka import Producer
from services.settings import KafkaSettings, WrongSettings


async def serve(settings: GatewaySettings, kafka: KafkaSettings) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is open and leave nothing but what the spool keeps."""
    stopped = _stop_signals(settings)
    defined = tasks.load(settings.tasks_dir)
    spool = Spool.open(settings.spool_dir, Producer(kafka, LINGER_MS), settings.spool_max_bytes, settings.spool_fsync)
    promotions = Promotions(kafka)
    backends: Backends = {inference.BACKEND_TEACHER: teacher(settings), inference.BACKEND_STUDENT: _student(settings)}
    repeats = Repeats(settings.repeat_max_bytes, settings.repeat_max_age_s)
    door = Door(settings.max_open_calls, settings.connections_most)
    needs_s = settings.teacher_needs_s
    shadows = Shadows(backends, spool, most_at_once=settings.shadow_most_at_once, timeout_s=settings.shadow_timeout_s)
    callers = _callers(settings, kafka, spool)
    traces = _traces(settings, defined)
    exchanges = Exchanges(
        backends,
        spool,
        promotions.current,
        repeats,
        teacher_needs_s=needs_s,
        stops=lambda: door.turned_out,
        shadows=shadows,
        reserve=callers.reserve if callers else None,
        trace=traces.tell if traces else None,
    )
    reception = Reception(defined, settings.request_limits, callers)
    server = Server(
        settings, InferenceServicer(exchanges, reception, door), FeedbackServicer(spool, reception, door), door
    )
    watch = Watch(settings.controller_address, promotions.take, settings) if settings.controller_address else None
    http = HttpServer(settings, Calls(exchanges, reception, door, spool), door) if settings.http_listen else None
    await promotions.start()
    if watch is not None:
        watch.start()
    if callers:
        await callers.start()
    port = await server.start()
    http_port = await http.start() if http else None
    telemetry.log.info(
        "the gateway serves", listen=settings.gateway_listen, port=port, http_port=http_port, tasks=sorted(defined)
    )
    trimming = asyncio.create_task(Trimming(lambda: door.open_calls).go_on(trim))
    await stopped.wait()
    trimming.cancel()
    telemetry.log.info("the gateway stops", grace_s=settings.shutdown_grace_s)
    await asyncio.gather(server.stop(), *([http.stop()] if http else []))
    await shadows.close()
    if traces:
        await asyncio.to_thread(traces.close)
    await spool.close()
    if watch is not None:
        await watch.close()
    await promotions.close()
    if callers:
        await callers.close()
    for backend in backends.values():
        await backend.close()
    telemetry.log.info("the gateway has stopped")


def teacher(settings: GatewaySettings) -> OpenAITeacher:
    """The one that the settings name. Raises WrongSettings, in a line that a person can act on."""
    try:
        return OpenAITeacher(
            settings.teacher_base_url,
            settings.teacher_api_key,
            model=settings.teacher_model,
            max_retries=settings.teacher_max_retries,
            max_calls=settings.teacher_max_calls,
            token_limit_field=settings.teacher_token_limit_field,
            resumes=settings.teacher_resumes,
            http=settings.teacher_http,
            calls_per_connection=settings.teacher_calls_per_connection,
            max_answer_bytes=settings.teacher_max_answer_bytes,
            ca_file=settings.teacher_ca_file,
        )
    except ValueError as error:
        raise WrongSettings(str(error)) from None
    except OSError as error:
        raise WrongSettings(f"TEACHER_CA_FILE: can't be read: {error.strerror or error}") from None


def _student(settings: GatewaySettings) -> TritonStudent:
    return TritonStudent(settings.triton_grpc_addresses, settings.triton_max_calls)


def _traces(settings: GatewaySettings, defined: Mapping[str, tasks.Task]) -> Traces | None:
    if not settings.otel_exporter_otlp_endpoint:
        return None
    models = {name: settings.teacher_model or task.teacher.model for name, task in defined.items()}
    return Traces.to(settings.otel_exporter_otlp_endpoint, models, settings.teacher_base_url)


def _callers(settings: GatewaySettings, kafka: KafkaSettings, spool: Spool) -> Callers | None:
    if settings.keys_required:
        return Callers.on(kafka, spool.source)
    if not settings.on_loopback:
        telemetry.log.warning("REQUIRE_KEYS=false: whoever reaches the address may ask", listen=settings.gateway_listen)
    return None


def _stop_signals(settings: GatewaySettings) -> asyncio.Event:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    if settings.gateway_process is not None:  # Nothing is ever written to it: it closes as whoever started this dies.
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    return stopped


async def keep(settings: GatewaySettings) -> int:
    """The processes of this host; see `processes`."""
    return await supervise(settings, _stop_signals(settings))


def main() -> None:
    """The service, configured by the environment."""
    settings = GatewaySettings()
    if settings.gateway_processes > 1 and settings.gateway_process is None:
        telemetry.start("gateway", settings.log_level, "")
        sys.exit(uvloop.run(keep(settings)))
    telemetry.start("gateway", settings.log_level, settings.metrics_listen)
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)  # With 100,000 calls open it looked through ten million objects again and again.
    uvloop.run(serve(settings, KafkaSettings()))


if __name__ == "__main__":
    main()
