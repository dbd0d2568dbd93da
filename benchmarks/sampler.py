"""How many events a second does one sampler decide on? `python -m benchmarks.sampler`.

One Faust worker and events that lie ready on topics of four partitions (Tansu, in memory). Three kinds of traffic in
turn: as the demo has it, to which the goal belongs; exchanges that become candidates, all of them, the dearest case:
each is two records on the changelog and one on `candidates`; and exchanges of which none does. In the same run what
limits it, on the demo's traffic: a bare Faust agent of batches (`stream.take`) that does nothing with them; the
sampler's own way of taking them, with nothing done; and its decisions alone, in one process without Kafka. And the
demo's traffic once more for a task that asks for near-duplicates and for sorts to be balanced in the stream.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import uuid_utils

from benchmarks import engines, messages
from benchmarks.result import Help, at_least, median, tell
from benchmarks.sampler_traffic import TASKS, choosing, kinds
from services import tasks
from services.kafka import Producer
from services.sampler.app import decide_batch
from services.sampler.joining import Joiner
from services.sampler.memory import Memory
from services.sampler.sampling import KEPT
from services.settings import KafkaSettings
from services.topics import Record

LOOK_EVERY_S: Final = 0.05
BATCH: Final = 500
BARE: Final[Mapping[str, tuple[str, ...]]] = {
    "bare Faust, take": ("benchmarks.sampler_bare", "take"),
    "the sampler's feed alone": ("benchmarks.sampler_bare", "feed"),
}
SAMPLER: Final = ("services.sampler",)
CHOOSING: Final = "balanced, without near-duplicates"
Run = dict[str, float]
Turn = tuple[str, tuple[str, ...], str, Path]


def alone_us(records: Sequence[Record], definitions: Path = TASKS) -> float:
    """Microseconds of processor time an event for what the sampler does with a batch, but for reading and writing."""
    memory = Memory({}, 300_000, 3600.0)
    joiner = Joiner(tasks.load(definitions), memory)
    began_s = time.process_time()
    for start in range(0, len(records), BATCH):
        decide_batch(joiner, records[start : start + BATCH], time.time())
        memory.written.clear()
    return (time.process_time() - began_s) / len(records) * 1e6


def worker_rate(
    argv: Sequence[str], directory: Path, kafka: KafkaSettings, events: int, definitions: Path = TASKS
) -> Run:
    """One new worker from the topics' beginning to their end, between its first batch and its last."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "SAMPLER_GROUP": f"sampler-{uuid_utils.uuid7().hex}",
        "SAMPLER_DATA_DIR": str(directory / "sampler"),
        "TASKS_DIR": str(definitions.resolve()),
    }
    with engines.service("sampler", directory, environment, argv) as sampler:
        (first_s, first, first_cpu_s), *_, (last_s, last, last_cpu_s) = _looks(sampler, events)
        kept = sum(sampler.metric("tutelage_candidates_total", decision=one) for one in KEPT)
    return {
        "events_per_s": (last - first) / (last_s - first_s),
        "cpu_us_per_event": (last_cpu_s - first_cpu_s) / (last - first) * 1e6,
        "candidates_share": kept / events,
    }


def _looks(sampler: engines.Service, events: int) -> Iterator[tuple[float, float, float]]:
    seen = 0.0
    while seen < events:
        time.sleep(LOOK_EVERY_S)
        if (now := sampler.total("tutelage_consumed_total")) > seen:
            seen = now
            yield time.monotonic(), seen, sampler.cpu_s()


def measure(traffic: Mapping[str, Sequence[Record]], repeats: int) -> dict[str, list[Run]]:
    """Fill a broker with each kind of traffic; let the sampler and its limits take turns."""
    found: dict[str, list[Run]] = {}
    with ExitStack() as stack:
        directory = stack.enter_context(engines.folder())
        brokers = {kind: stack.enter_context(engines.broker(directory)) for kind in traffic}
        for kind, records in traffic.items():
            messages.produce(Producer(brokers[kind]), records)
        first = next(iter(traffic))
        turns: list[Turn] = [(kind, SAMPLER, kind, TASKS) for kind in traffic]
        turns += [(f"{first}, {CHOOSING}", SAMPLER, first, choosing(directory / "choosing"))]
        turns += [(name, argv, first, TASKS) for name, argv in BARE.items()]
        for _ in range(repeats):
            for name, argv, kind, definitions in turns:
                run = worker_rate(argv, directory, brokers[kind], len(traffic[kind]), definitions)
                found.setdefault(name, []).append(run)
                print(f"{name}: {run}", flush=True)
    return found


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--events", type=int, default=40_000, help="exchanges on each topic, the demo's 15,000 at most")
    parser.add_argument("--repeats", type=int, default=3, help="turns")
    parser.add_argument("--cache-dir", type=Path, default=Path.home() / ".cache" / "tutelage", help="for the archive")
    given = parser.parse_args()
    traffic = kinds(given.events, given.cache_dir)
    alone = {kind: median([alone_us(made) for _ in range(given.repeats)], 1) for kind, made in traffic.items()}
    first = next(iter(traffic))
    with engines.folder() as directory:
        asking = choosing(directory / "choosing")
        alone[f"{first}, {CHOOSING}"] = median([alone_us(traffic[first], asking) for _ in range(given.repeats)], 1)
    figures: dict[str, Any] = {"events": {kind: len(made) for kind, made in traffic.items()}, "decisions_us": alone}
    for name, runs in measure(traffic, given.repeats).items():
        digits = {"events_per_s": 0, "cpu_us_per_event": 1, "candidates_share": 3}
        figures[name] = {key: median([run[key] for run in runs], places) for key, places in digits.items()}
    goal = at_least(10_000, figures["as the demo"]["events_per_s"])
    tell("sampler", figures, {"events a second, traffic as the demo has it": goal})


if __name__ == "__main__":
    main()
