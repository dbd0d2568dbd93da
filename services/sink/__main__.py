"""The sink: topics into ClickHouse. `python -m services.sink`."""

import gc
import signal
import threading
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from services import telemetry
from services.clickhouse import ClickHouse
from services.errors import Overloaded
from services.kafka import Consumer, Producer
from services.settings import ClickHouseSettings, KafkaSettings
from services.sink import schema
from services.sink.batch import Limits
from services.sink.pipeline import Pipeline
from services.sink.rows import TABLES
from services.sink.settings import SinkSettings

# Rows hold no cycles, and looking for cycles among them took a quarter of the time: two batches have fewer objects.
GARBAGE_COLLECTED_AFTER: Final = 1_000_000


def serve(
    settings: SinkSettings, kafka: KafkaSettings, clickhouse_settings: ClickHouseSettings, stopping: threading.Event
) -> None:
    """Bring the schema up to date, then write what comes, until `stopping`."""
    clickhouse = ClickHouse(clickhouse_settings)
    _waiting_for_clickhouse(stopping)(schema.apply, clickhouse)
    limits = Limits(settings.sink_batch_rows, settings.sink_batch_bytes, settings.sink_batch_age_s)
    if not stopping.is_set():
        pipeline = Pipeline(
            lambda on_revoke: Consumer(kafka, settings.sink_group, [*TABLES], on_revoke),
            Producer(kafka),
            clickhouse,
            limits,
        )
        telemetry.log.info("the sink reads", topics=[*TABLES], group=settings.sink_group)
        pipeline.run(stopping)
    clickhouse.close()
    telemetry.log.info("the sink has stopped")


def _waiting_for_clickhouse(stopping: threading.Event) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(Overloaded),
        wait=wait_exponential_jitter(multiplier=0.5, max=5, jitter=0.5),
        stop=stop_when_event_set(stopping),
        sleep=sleep_using_event(stopping),
        before_sleep=_say_waiting,
        retry_error_callback=lambda _state: None,
    )


def _say_waiting(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome:
        telemetry.log.warning("waiting for ClickHouse", reason=str(state.outcome.exception()))


def main() -> None:
    """Read the environment, serve until SIGTERM or SIGINT."""
    settings = SinkSettings()
    gc.set_threshold(GARBAGE_COLLECTED_AFTER)
    telemetry.start("sink", settings.log_level, settings.metrics_listen)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    serve(settings, KafkaSettings(), ClickHouseSettings(), stopping)


if __name__ == "__main__":
    main()
