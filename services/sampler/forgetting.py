"""Lets a worker that runs forget erased customers: follows topic `forgotten`, each time from its beginning.

An erasure takes the keys out of the changelog, from which a worker builds its memory when it starts or is given other
partitions; what it holds by then goes by this topic. Every worker reads all of it, for erasures are few.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tenacity import retry, retry_if_exception_type, wait_random_exponential

from services import telemetry
from services.errors import Overloaded
from services.kafka import Follower

KAFKA_WAIT_S: Final = 2.0
POLL_S: Final = 0.5
AT_ONCE: Final = 1000


async def follow(follower: Follower, forget: Callable[[bytes], bool]) -> None:
    """Forget each key on the topic, for ever. Kafka may be away, and the topic not there yet."""
    await _start(follower)
    while True:
        records = await asyncio.to_thread(follower.poll, AT_ONCE, POLL_S)
        if gone := sum(forget(record.key) for record in records):
            telemetry.log.info("forgets erased customers", entries=gone)


@retry(retry=retry_if_exception_type(Overloaded), wait=wait_random_exponential(multiplier=0.2, max=5))
async def _start(follower: Follower) -> None:
    await asyncio.to_thread(follower.start, KAFKA_WAIT_S)
