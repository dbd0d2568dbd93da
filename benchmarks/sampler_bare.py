"""A Faust worker that does nothing with what it reads: what benchmarks.sampler sets beside the sampler.

`python -m benchmarks.sampler_bare MODE`, where MODE is `take` (Faust as it comes, an agent of batches) or `feed` (the
sampler's own way of taking them). Settings come from the environment, as the sampler's do.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import faust
import uvloop

from services import telemetry
from services.sampler import __main__ as sampler
from services.sampler import app, feed
from services.sampler.settings import SamplerSettings
from services.topics import EXCHANGES, FEEDBACK

TOPICS = (EXCHANGES.name, FEEDBACK.name)


def taking(settings: SamplerSettings) -> faust.App:
    """The plain worker: Faust decodes, hands on, batches and acknowledges."""
    worker = faust.App(settings.sampler_group, **app.options(settings, 1))
    topic = worker.topic(*TOPICS, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def take(stream: Any) -> AsyncIterator[None]:
        async for batch in stream.take(settings.sampler_batch, within=settings.sampler_batch_within_s):
            telemetry.CONSUMED.labels(EXCHANGES.name).inc(len(batch))
            yield None

    worker.agent(topic, name="take")(take)
    return worker


def fed(settings: SamplerSettings) -> faust.App:
    """The worker with the sampler's feed."""
    worker = feed.KeepingApp(settings.sampler_group, **app.options(settings, 1))
    topic = worker.topic(*TOPICS, schema=feed.Undecoded(key_type=bytes, value_type=bytes))

    async def take(stream: Any) -> None:
        stream.enable_acks = False
        async for batch in feed.batches(stream, settings.sampler_batch, settings.sampler_batch_within_s):
            telemetry.CONSUMED.labels(EXCHANGES.name).inc(len(batch))
            feed.acknowledge(worker, batch)

    worker.agent(topic, name="take")(take)
    sampler.collect_rarely()
    return worker


def main() -> None:
    """Run until SIGTERM."""
    settings = SamplerSettings()
    telemetry.start("sampler-bare", settings.log_level, settings.metrics_listen)
    settings.sampler_data_dir.mkdir(parents=True, exist_ok=True)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    sampler.run({"take": taking, "feed": fed}[sys.argv[1]](settings), loop)


if __name__ == "__main__":
    main()
