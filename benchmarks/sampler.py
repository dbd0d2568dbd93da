"""How many events a second does one sampler decide on? `python -m benchmarks.sampler`.

One Faust worker, exchanges that lie ready on a topic of four partitions (Tansu, in memory). Each becomes a candidate
and is remembered, which is two records on the changelog and one on `candidates`: the dearest case. In turn with it, its
limits: our own part alone (decode, join, decide, encode) on the same records in one process, without Kafka; and the
worker with exchanges that nobody may be trained on, which are remembered and not emitted.
"""

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

import uuid_utils

from benchmarks import engines, messages
from benchmarks.result import at_least, median, tell
from protos import inference_pb2 as inference
from services import tasks
from services.kafka import Producer
from services.sampler.app import decide_batch
from services.sampler.joining import Joiner
from services.sampler.memory import Memory
from services.settings import KafkaSettings
from services.topics import EXCHANGES, Record, encode

TASKS: Final = Path("deploy/tasks")
LOOK_EVERY_S: Final = 0.1
BATCH: Final = 500


def students_own(count: int) -> Iterator[Record]:
    """Exchanges that the student answered: seen and remembered, never emitted."""
    rng = random.Random(11)
    for sequence in range(1, count + 1):
        made = messages.exchange(sequence, "student", rng)
        made.reply.answered_by = made.attempts[0].backend = inference.BACKEND_STUDENT
        yield encode(EXCHANGES, made)


def alone_rate(records: Sequence[Record]) -> float:
    """Events a second of what the sampler does with a batch, but for reading and writing it."""
    memory = Memory({}, 300_000, 3600.0)
    joiner = Joiner(tasks.load(TASKS), memory)
    began_s = time.process_time()
    for start in range(0, len(records), BATCH):
        decide_batch(joiner, records[start : start + BATCH], time.time())
        memory.written.clear()
    return len(records) / (time.process_time() - began_s)


def worker_rate(directory: Path, kafka: KafkaSettings, events: int) -> dict[str, float]:
    """One new worker from the topic's beginning to its end, between its first batch and its last."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "SAMPLER_GROUP": f"sampler-{uuid_utils.uuid7().hex}",
        "SAMPLER_DATA_DIR": str(directory / "sampler"),
        "TASKS_DIR": str(TASKS.resolve()),
    }
    with engines.service("sampler", directory, environment) as sampler:
        (first_s, first, first_cpu_s), *_, (last_s, last, last_cpu_s) = _looks(sampler, events)
        chosen = sampler.metric("tutelage_candidates_total", decision="chosen")
    return {
        "events_per_s": (last - first) / (last_s - first_s),
        "cpu_us_per_event": (last_cpu_s - first_cpu_s) / (last - first) * 1e6,
        "chosen": chosen,
    }


def _looks(sampler: engines.Service, events: int) -> Iterator[tuple[float, float, float]]:
    seen = 0.0
    while seen < events:
        time.sleep(LOOK_EVERY_S)
        if (now := sampler.metric("tutelage_consumed_total", topic="exchanges")) > seen:
            seen = now
            yield time.monotonic(), seen, sampler.cpu_s()


def measure(events: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Fill a topic for each kind of exchange, take turns."""
    found: dict[str, list[dict[str, float]]] = {"chosen": [], "not chosen": []}
    with ExitStack() as stack:
        directory = stack.enter_context(engines.folder())
        brokers = {kind: stack.enter_context(engines.broker(directory)) for kind in found}
        messages.produce(Producer(brokers["chosen"]), messages.records(events, "benchmark"))
        messages.produce(Producer(brokers["not chosen"]), students_own(events))
        for _ in range(repeats):
            for kind, kafka in brokers.items():
                found[kind].append(worker_rate(directory, kafka, events))
                print(f"{kind}: {found[kind][-1]}", flush=True)
    return found


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=40_000, help="exchanges on each topic")
    parser.add_argument("--repeats", type=int, default=3, help="turns")
    given = parser.parse_args()
    ready = list(islice(messages.records(20_000, "benchmark"), 20_000))
    alone = median([alone_rate(ready) for _ in range(given.repeats)])
    found = measure(given.events, given.repeats)
    figures: dict[str, Any] = {"events": given.events, "our_part_alone_per_cpu_s": alone}
    for kind, runs in found.items():
        name = kind.replace(" ", "_")
        figures[f"{name}_events_per_s"] = median([run["events_per_s"] for run in runs])
        figures[f"{name}_cpu_us_per_event"] = median([run["cpu_us_per_event"] for run in runs], 1)
    goals = {"events a second": at_least(10_000, figures["chosen_events_per_s"])}
    tell("sampler", figures, goals)


if __name__ == "__main__":
    main()
