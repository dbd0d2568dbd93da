"""What does Kafka's compression save, and what does it cost? `python -m benchmarks.compression`.

Exchanges of the demo's real addresses go through the project's own producer to the broker, under each codec that
librdkafka has: at two rates (small batches, as of a gateway at work) and all at once (full batches, as after an
outage). Bytes are those that librdkafka wrote to its connection, and what a broker's disk and its replicas' network
hold; processor time is the producing process's, with encoding done before. The peer is `none`, in the same turns.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import engines
from benchmarks.messages import produce, records_of
from benchmarks.result import Help, median, tell
from deploy.demo.addresses import addresses
from services import tasks
from services.kafka import Producer
from services.kafka.config import producer_config
from services.settings import KafkaSettings
from services.topics import Record

CODECS: Final = ("none", "lz4", "snappy", "zstd", "gzip")
RATES: Final = {"185 a second": 185, "1,850 a second": 1_850, "all at once": 0}
PACED_S: Final = 5
TICK_S: Final = 0.001


def paced(records: Sequence[Record], a_second: int) -> Iterator[Record]:
    """The records when their time has come; all at once where the rate is 0."""
    begun_s = time.monotonic()
    for number, record in enumerate(records):
        while a_second and time.monotonic() - begun_s < number / a_second:
            time.sleep(TICK_S)
        yield record


def turn(kafka: KafkaSettings, codec: str, records: Sequence[Record], a_second: int) -> tuple[float, float]:
    """Bytes on the wire and microseconds of processor time, for a record."""
    said: list[str] = []
    statistics = {"compression.type": codec, "statistics.interval.ms": 100, "stats_cb": said.append}
    # Copied, for a callback is no setting that the environment could give.
    producer = Producer(kafka.model_copy(update={"kafka_options": statistics}))
    begun_s = time.process_time()
    produce(producer, paced(records, a_second))
    used_s = time.process_time() - begun_s
    said.clear()
    while not said:
        producer.poll(0.1)
    return json.loads(said[-1])["tx_bytes"] / len(records), 1e6 * used_s / len(records)


def measure(repeats: int, cache_dir: Path) -> dict[str, Any]:
    """Medians for each kind of request, rate and codec, the codecs in turn."""
    task = tasks.load(Path("deploy/tasks"))["address-extraction"]
    given = addresses(RATES["1,850 a second"] * PACED_S, 7, cache_dir)
    figures: dict[str, Any] = {}
    with engines.folder() as directory, engines.broker(directory) as kafka:
        for kind, instructions in (("with instructions", task.instructions), ("without", "")):
            made = records_of(given, instructions)
            for rate, a_second in RATES.items():
                records = made[: a_second * PACED_S] if a_second else made
                found: dict[str, list[tuple[float, float]]] = {codec: [] for codec in CODECS}
                for _ in range(repeats):
                    for codec in CODECS:
                        found[codec].append(turn(kafka, codec, records, a_second))
                figures[f"{kind}, {rate}"] = {codec: _medians(turns) for codec, turns in found.items()}
                print(f"{kind}, {rate}: {figures[f'{kind}, {rate}']}", flush=True)
    return figures


def _medians(turns: Sequence[tuple[float, float]]) -> dict[str, float]:
    bytes_each, us_each = zip(*turns, strict=True)
    return {"bytes": median(bytes_each), "cpu_us": median(us_each, 1)}


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--repeats", type=int, default=3, help="turns of each codec at each rate")
    parser.add_argument("--cache-dir", type=Path, default=Path.home() / ".cache" / "tutelage", help="for the archive")
    given = parser.parse_args()
    figures = measure(given.repeats, given.cache_dir)
    tell("compression", {"chosen": producer_config(KafkaSettings())["compression.type"], **figures}, {})


if __name__ == "__main__":
    main()
