"""The sampler: exchanges and feedback in, candidates out. Run with `python -m services.sampler`."""

import asyncio
import gc
from typing import Any, Final

import faust
import structlog
import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from tenacity import RetryCallState, retry, retry_if_exception_type, wait_random_exponential

from services import tasks, telemetry
from services.errors import Overloaded
from services.sampler import app
from services.sampler.credentials import credentials
from services.sampler.settings import SamplerSettings
from services.topics import EXCHANGES, FEEDBACK

ALLOCATIONS_BETWEEN_COLLECTIONS: Final = 50_000


def main() -> None:
    """Start a worker; SIGTERM ends it after the batch in hand."""
    settings = SamplerSettings()
    telemetry.start("sampler", settings.log_level, settings.metrics_listen)
    known = tasks.load(settings.tasks_dir)
    settings.sampler_data_dir.mkdir(parents=True, exist_ok=True)  # Faust makes the last folder alone.
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    partitions = settings.sampler_partitions or loop.run_until_complete(partitions_of_sources(settings))
    telemetry.log.info("sampler starts", tasks=sorted(known), partitions=partitions)
    sampler = app.build(settings, known, partitions)
    collect_rarely()
    run(sampler, loop)


def run(sampler: faust.App, loop: asyncio.AbstractEventLoop) -> None:
    """Work until a signal."""
    worker = faust.Worker(sampler, loop=loop, quiet=True, loglevel="WARNING", logging_config=logging_config())
    worker.spinner = None
    worker.execute_from_commandline()


def collect_rarely() -> None:
    """Leave what was imported out of garbage collection, and look for garbage after a batch, not many times in it.

    The thousands of objects that a batch makes live until Kafka has acknowledged it: a fifth of the processor's time
    went into walking over them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_BETWEEN_COLLECTIONS)


def _log_wait(state: RetryCallState) -> None:
    telemetry.log.warning("waits for Kafka", why=str(state.outcome and state.outcome.exception())[:300])


@retry(
    retry=retry_if_exception_type((Overloaded, KafkaConnectionError)),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    before_sleep=_log_wait,
)
async def partitions_of_sources(settings: SamplerSettings) -> int:
    """How many partitions both source topics have; waits for Kafka and for the topics. ValueError if they differ."""
    security = credentials_to_aiokafka_auth(credentials(settings.kafka_options), None)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers, **security)
    names = {EXCHANGES.name, FEEDBACK.name}
    await admin.start()
    try:
        counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(sorted(names))}
    finally:
        await admin.close()
    if missing := {name for name in names if not counts.get(name)}:
        raise Overloaded(f"no such topics as yet: {', '.join(sorted(missing))}")
    if len(set(counts.values())) > 1:
        raise ValueError(f"the topics must have the same number of partitions, to be joined; they have {counts}")
    return counts[EXCHANGES.name]


def logging_config() -> dict[str, Any]:
    """Faust's own log lines in the format of all others."""
    shared = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [structlog.contextvars.merge_contextvars, *shared],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }


if __name__ == "__main__":
    main()
