"""What benchmarks.concurrency sees of a server while it is under load: memory, open calls, exchanges on Kafka."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.addresses import HOST
from protos import events_pb2 as events
from services.kafka import Follower, everything
from services.settings import KafkaSettings
from services.topics import EXCHANGES

EVERY_S: Final = 0.5
KAFKA_WITHIN_S: Final = 30.0


def rss(pid: int) -> int:
    """Resident bytes of a process and of those that it started."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


class Metrics:
    """The gateway's processes, whose metrics have ports in a row."""

    def __init__(self, first: str, processes: int) -> None:
        port = int(first.rpartition(":")[2])
        self._urls = [f"http://{HOST}:{port + number}/metrics" for number in range(processes)]

    def total(self, name: str, **labels: str) -> int:
        """The sum over all processes, and over the labels that are not given."""
        return round(sum(value for url in self._urls for value in _values(url, name, labels)))


def _values(url: str, name: str, labels: Mapping[str, str]) -> Iterator[float]:
    text = httpx.get(url, trust_env=False, timeout=60).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return (sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


@contextmanager
def watched(look: Callable[[], int], every_s: float = EVERY_S) -> Iterator[list[tuple[float, int]]]:
    """What `look` sees again and again meanwhile, in a thread: (monotonic seconds, value)."""
    seen: list[tuple[float, int]] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every_s):
            seen.append((time.monotonic(), look()))

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def on_kafka(kafka: KafkaSettings) -> Counter[tuple[str, str]]:
    """Distinct ids of the exchanges that are there, by (task, outcome)."""
    follower, ids = Follower(kafka, EXCHANGES.name), {}
    follower.start(KAFKA_WITHIN_S)
    for record in everything(follower):
        exchange = events.Exchange.FromString(record.value)
        ids[exchange.id] = (exchange.request.task, events.Outcome.Name(exchange.outcome))
    follower.close()
    return Counter(ids.values())
