"""The Faust app: batches of raw events in, candidates and dead letters out, acknowledged when Kafka has them.

Faust acknowledges an event even if its agent raised. So this agent acknowledges by itself, after Kafka has confirmed
what a batch produced; bad events are caught and dead-lettered inside; anything else stops the worker with the batch
unacknowledged, and a restart reads it again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import faust
from mode.supervisors import CrashingSupervisor

from services import telemetry
from services.errors import BadEvent, Overloaded
from services.kafka import MAX_MESSAGE_BYTES, Acked, Follower, Producer
from services.sampler import forgetting
from services.sampler.credentials import credentials
from services.sampler.feed import KeepingApp, Undecoded, acknowledge, batches
from services.sampler.joining import Joiner
from services.sampler.memory import Memory
from services.sampler.settings import SamplerSettings
from services.sampler.table import BoundedTable
from services.tasks import Task
from services.topics import (
    CANDIDATES,
    DEAD_LETTERS,
    EXCHANGES,
    FEEDBACK,
    FORGOTTEN,
    Record,
    dead_letter,
    decode,
    encode,
)

SERVICE: Final = "sampler"
CANDIDATE_BYTES: Final = MAX_MESSAGE_BYTES - 64 * 1024  # The rest is for its key and headers.
POLL_S: Final = 0.002
"""How often acknowledgements are looked for."""


def build(settings: SamplerSettings, tasks: Mapping[str, Task], partitions: int) -> faust.App:
    """A worker that decides what every exchange is good for. `partitions`: those of both source topics."""
    app = KeepingApp(settings.sampler_group, **options(settings, partitions))
    topic = app.topic(EXCHANGES.name, FEEDBACK.name, schema=Undecoded(key_type=bytes, value_type=bytes))
    table = BoundedTable.of(app, settings.sampler_remember_count, settings.sampler_remember_s, partitions)
    memory = Memory(table.data.data, settings.sampler_remember_count, settings.sampler_remember_s)
    joiner = Joiner(tasks, memory, settings.sampler_remember_sketches)
    producer = Producer(settings)

    async def sample(stream: Any) -> None:
        stream.enable_acks = False  # Whatever ends the loop, Faust must not acknowledge on our behalf.
        async for batch in batches(stream, settings.sampler_batch, settings.sampler_batch_within_s):
            out = decide_batch(joiner, [_record(message) for message in batch], time.time())
            await _produce(producer, [*out, *_changelog(table, memory)])
            memory.forget_old(time.time())
            acknowledge(app, batch)

    async def forget() -> None:
        await forgetting.follow(Follower(settings, FORGOTTEN), memory.erase)

    app.agent(topic, name="sample", supervisor_strategy=CrashingSupervisor)(sample)
    app.task(forget)
    return app


def decide_batch(joiner: Joiner, records: Sequence[Record], now_s: float) -> list[Record]:
    """What to produce for these records: the latest candidate of each exchange, and the dead letters."""
    latest: dict[str, Record] = {}
    dead: list[Record] = []
    for topic, count in Counter(record.topic for record in records).items():
        telemetry.CONSUMED.labels(topic).inc(count)
    decoded = list(_decoded(records, dead))
    joiner.look_ahead(message for _, message in decoded)
    for record, message in decoded:
        try:
            for candidate in joiner.take(message, record.partition, now_s):
                latest[candidate.id] = _fitting(encode(CANDIDATES, candidate))
        except BadEvent as bad:
            dead.append(_buried(record, bad))
    return [*latest.values(), *dead]


def _decoded(records: Sequence[Record], dead: list[Record]) -> Iterator[tuple[Record, Any]]:
    """The records with their messages; `dead` gets those that have none."""
    for record in records:
        try:
            yield record, decode(record)
        except BadEvent as bad:
            dead.append(_buried(record, bad))


def _buried(record: Record, bad: BadEvent) -> Record:
    telemetry.DEAD.labels(record.topic).inc()
    telemetry.log.warning("dead letter", topic=record.topic, offset=record.offset, reason=bad.reason)
    return dead_letter(record, bad.reason, SERVICE)


def _fitting(record: Record) -> Record:
    if len(record.value) > CANDIDATE_BYTES:
        raise BadEvent(f"its candidate has {len(record.value):,} bytes; {CANDIDATE_BYTES:,} is the limit")
    return record


def _record(message: Any) -> Record:
    headers = {str(name): value or b"" for name, value in dict(message.headers or {}).items()}
    return Record(
        message.topic, message.key or b"", message.value or b"", headers, int(message.partition), int(message.offset)
    )


def _changelog(table: BoundedTable, memory: Memory) -> list[Record]:
    """What was remembered since the last call, for the changelog's partitions of the same numbers."""
    written, memory.written = memory.written, {}
    name = table.changelog_topic.get_topic_name()
    return [Record(name, key, value, partition=partition) for (partition, key), value in written.items()]


async def _produce(producer: Producer, records: Sequence[Record]) -> None:
    """Return when Kafka has acknowledged every record, however long that takes; raise if it refuses one.

    Not by Faust's own producer, which takes ten times as long for a record: three of them go out for an event. Polled
    here and not in a thread, where each acknowledgement would wait for the interpreter's lock; the loop reads on.
    """
    refused = await _refused(producer, records)
    if refused:
        raise RuntimeError(f"Kafka refuses {len(refused)} records: {refused[0][1]}")


async def _refused(producer: Producer, records: Sequence[Record]) -> list[tuple[Record, str]]:
    """Which of the records Kafka does not take, and why; returned when it has all others."""
    answers: list[tuple[Record, str]] = []
    for record in records:
        while not _queued(producer, record, partial(_note, answers, record)):
            await _polled(producer)
    while len(answers) < len(records):
        await _polled(producer)
    return [(record, why) for record, why in answers if why]


def _note(answers: list[tuple[Record, str]], record: Record, why: str) -> None:
    answers.append((record, why))


async def _polled(producer: Producer) -> None:
    if not producer.poll(0):
        await asyncio.sleep(POLL_S)


def _queued(producer: Producer, record: Record, acked: Acked) -> bool:
    try:
        (producer.bury if record.topic == DEAD_LETTERS else producer.send)(record, acked)
    except Overloaded:
        return False
    return True


def options(settings: SamplerSettings, partitions: int) -> dict[str, Any]:
    """Faust's settings."""
    return {
        "broker": [f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")],
        "broker_credentials": credentials(settings.kafka_options),
        "datadir": settings.sampler_data_dir,
        "store": "memory://",
        "web_enabled": False,
        "topic_partitions": partitions,
        "topic_replication_factor": settings.sampler_replication,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": MAX_MESSAGE_BYTES,
        "producer_max_request_size": MAX_MESSAGE_BYTES,
        "broker_max_poll_records": settings.sampler_batch,
        # A killed worker's partitions move on after the session's end, so 10 s; Kafka asks for three beats in it.
        "broker_session_timeout": 10.0,
        "broker_heartbeat_interval": 3.0,
        "broker_commit_interval": 1.0,
        "stream_recovery_delay": 0.0,
        "worker_redirect_stdouts": False,
    }
