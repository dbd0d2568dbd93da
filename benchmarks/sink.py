"""How many rows a second does one sink bring from Kafka into ClickHouse? `python -m benchmarks.sink`.

One sink process, 1-KB exchanges that lie ready on a topic of four partitions (Tansu, in memory), the ClickHouse engine
behind its HTTP interface; all share the machine. The peer, in turn with it: a bare clickhouse-connect insert of rows
that lie ready in memory, into a table of the same schema on the same server, in batches of the same size.
The rate is that between the first batch and the last: the start of the process and of its group is left out.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression
from typing import Any, Final

import clickhouse_connect
import uuid_utils

from benchmarks import engines, messages
from benchmarks.result import Help, at_least, at_most, median, tell
from services.clickhouse import ClickHouse
from services.kafka import Producer
from services.settings import ClickHouseSettings, KafkaSettings
from services.sink import schema
from services.sink.rows import TABLES
from services.sink.wire import row

BATCH_ROWS: Final = 40_000  # As many as the sink's limit of bytes lets into one of its own.
BARE_ROWS: Final = 100_000
POINTS: Final = 20
LOOK_EVERY_S: Final = 0.1
FLAT_MIB: Final = 64  # What memory may grow by from a run's first tenth to its end, on the line through all looks.


def ready_rows(clickhouse: ClickHouseSettings, count: int) -> list[tuple[Any, ...]]:
    """Rows of the exchanges' table as Python has them: what the sink makes of the messages, read back."""
    own = clickhouse.model_copy(update={"clickhouse_database": f"ready{uuid_utils.uuid7().hex}"})
    ours, table = ClickHouse(own), TABLES["exchanges"]
    schema.apply(ours)
    ours.load("exchanges", table.insert, [row(record) for record in messages.records(count, "benchmark")], "ready")
    found = ours.query(f"SELECT {', '.join(table.columns)} FROM exchanges")  # noqa: S608 - our names
    ours.command(f"DROP DATABASE {own.clickhouse_database}")
    ours.close()
    return [tuple(one.values()) for one in found]


def bare_rate(clickhouse: ClickHouseSettings, rows: Sequence[Sequence[Any]]) -> float:
    """Rows a second of clickhouse-connect alone, into tables of their own."""
    own = clickhouse.model_copy(update={"clickhouse_database": f"bare{uuid_utils.uuid7().hex}"})
    ours = ClickHouse(own)
    schema.apply(ours)
    host, _, port = own.clickhouse_url.removeprefix("http://").partition(":")
    client = clickhouse_connect.get_client(host=host, port=int(port), database=own.clickhouse_database, compress=False)
    began_s = time.monotonic()
    for start in range(0, len(rows), BATCH_ROWS):
        client.insert("exchanges", rows[start : start + BATCH_ROWS], column_names=TABLES["exchanges"].columns)
    rate = len(rows) / (time.monotonic() - began_s)
    client.close()
    ours.command(f"DROP DATABASE {own.clickhouse_database}")
    ours.close()
    return rate


def sink_run(directory: Path, kafka: KafkaSettings, clickhouse: ClickHouseSettings, rows: int) -> dict[str, Any]:
    """One sink from the topic's beginning to its end: rows a second, processor time a row, memory on the way."""
    name = f"sink{uuid_utils.uuid7().hex}"
    own = clickhouse.model_copy(update={"clickhouse_database": name})
    environment = {**engines.settings_of(kafka, own), "SINK_GROUP": name}
    with engines.service("sink", directory, environment) as sink:
        looks = list(_looks(sink, rows))
    (first_s, first, first_cpu_s, _), (last_s, last, last_cpu_s, _) = looks[0], looks[-1]
    stored = ClickHouse(own)
    distinct = stored.query("SELECT uniqExact(id) AS n FROM exchanges")[0]["n"]
    stored.command(f"DROP DATABASE {name}")
    stored.close()
    return {
        "rows_per_s": (last - first) / (last_s - first_s),
        "cpu_us_per_row": (last_cpu_s - first_cpu_s) / (last - first) * 1e6,
        "lost": rows - distinct,
        "rss_mib": [(int(n), mib) for _, n, _, mib in looks],
    }


def _looks(sink: engines.Service, rows: int) -> Iterator[tuple[float, float, float, float]]:
    """Time, rows inserted, processor time and memory, as often as a batch has been inserted, until all are."""
    seen = 0.0
    while seen < rows:
        time.sleep(LOOK_EVERY_S)
        if (now := sink.metric("tutelage_inserted_rows_total", table="exchanges")) > seen:
            seen = now
            yield time.monotonic(), seen, sink.cpu_s(), sink.rss_mib()


def measure(rows: int, repeats: int) -> None:
    """Fill the topic, take turns, tell."""
    with ExitStack() as stack:
        directory = stack.enter_context(engines.folder())
        kafka = stack.enter_context(engines.broker(directory))
        clickhouse = stack.enter_context(engines.clickhouse(directory))
        print(f"producing {rows} exchanges", flush=True)
        size = messages.produce(Producer(kafka), messages.records(rows, "benchmark"))
        ready = ready_rows(clickhouse, min(rows, BARE_ROWS))
        bare, ours = [], []
        for _ in range(repeats):
            bare.append(bare_rate(clickhouse, ready))
            ours.append(sink_run(directory, kafka, clickhouse, rows))
            print(f"bare {bare[-1]:.0f} rows/s, sink {ours[-1]['rows_per_s']:.0f} rows/s", flush=True)
    _tell(rows, size, bare, ours)


def _tell(rows: int, size: int, bare: Sequence[float], ours: Sequence[dict[str, Any]]) -> None:
    rate, peer = median([run["rows_per_s"] for run in ours]), median(bare)
    memory = ours[-1]["rss_mib"]
    grown = linear_regression(*zip(*(look for look in memory if look[0] >= rows / 10), strict=True)).slope * 0.9 * rows
    figures = {
        "rows": rows,
        "bytes_per_exchange": round(size / rows),
        "sink_rows_per_s": rate,
        "sink_cpu_us_per_row": median([run["cpu_us_per_row"] for run in ours], 1),
        "bare_insert_rows_per_s": peer,
        "all_runs": {"sink": [round(run["rows_per_s"]) for run in ours], "bare": [round(one) for one in bare]},
        "rss_mib_by_rows": memory[:: max(1, len(memory) // POINTS)],
        "rss_mib_most": max(mib for _, mib in memory),
    }
    goals = {
        "rows a second": at_least(50_000, rate),
        "share of the bare insert": at_least(0.5, round(rate / peer, 2)),
        "memory grows by, MiB": at_most(FLAT_MIB, round(grown, 1)),
        "lost": at_most(0, max(run["lost"] for run in ours)),
    }
    tell("sink", figures, goals)


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--rows", type=int, default=200_000, help="exchanges on the topic; 10000000 show the memory")
    parser.add_argument("--repeats", type=int, default=3, help="turns that each of the two has")
    given = parser.parse_args()
    measure(given.rows, given.repeats)


if __name__ == "__main__":
    main()
