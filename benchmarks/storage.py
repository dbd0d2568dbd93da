"""What does an exchange cost on ClickHouse's disk? `python -m benchmarks.storage`.

Exchanges of the demo's real addresses (each text once) with the task's whole instructions in the request, as of callers
who send them every time, and without, as of callers who leave them to the gateway. They go through the sink's own row
maker into the sink's own schema, and from there into tables of other codecs and layouts; each is merged to one part
before its bytes are read from system.parts_columns. The peer is the same rows with ClickHouse's default codec, LZ4.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import uuid_utils

from benchmarks import engines
from benchmarks.messages import records_of
from benchmarks.result import Help, at_most, tell
from deploy.demo.addresses import Address, addresses
from services import tasks
from services.clickhouse import ClickHouse
from services.sink import schema
from services.sink.rows import TABLES
from services.sink.wire import row

PER_DAY: Final = 16_000_000
BATCH_ROWS: Final = 20_000
TEXTS: Final = r"(question|request|answer|attempts)(\s+String) CODEC\(ZSTD\(3\)\)"
ORDER: Final = "ORDER BY (task, id)"
LAYOUTS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "as the sink has it": (),
    "LZ4 throughout (ClickHouse's default)": ((r" CODEC\([^\n]*\)+(?=,|\n)", ""),),
    "ZSTD(1) for texts": ((TEXTS, r"\1\2 CODEC(ZSTD(1))"),),
    "ZSTD(6) for texts": ((TEXTS, r"\1\2 CODEC(ZSTD(6))"),),
    "ZSTD(9) for texts": ((TEXTS, r"\1\2 CODEC(ZSTD(9))"),),
    "blocks of a mebibyte and more": (
        (r"SETTINGS ", "SETTINGS min_compress_block_size = 1048576, max_compress_block_size = 4194304, "),
    ),
    "ordered by customer": ((re.escape(ORDER), "ORDER BY (task, group_key, id)"),),
    "without the index by id": ((r"INDEX by_id [^\n]*\n", "\n"),),
}


def exchanges_ddl() -> str:
    """The sink's statement that makes the table."""
    statements = schema.statements((schema.FILES / "0001_tables.sql").read_text(encoding="utf-8"))
    return next(one for one in statements if "EXISTS exchanges (" in one)


def variant(ddl: str, name: str, changes: tuple[tuple[str, str], ...]) -> str:
    """The statement that makes the table otherwise."""
    made = ddl.replace("EXISTS exchanges (", f"EXISTS {name} (")
    made = made.replace("SETTINGS ", "SETTINGS min_bytes_for_wide_part = 0, ")  # Small parts don't tell by column.
    for pattern, instead in changes:
        made, changed = re.subn(pattern, instead, made)
        assert changed, f"nothing like {pattern!r} is in the schema"
    return made


def insert(clickhouse: ClickHouse, given: Sequence[Address], instructions: str) -> None:
    """The exchanges of these addresses, by the sink's own rows."""
    made = enumerate(records_of(given, instructions), 1)
    rows = [row(replace(record, partition=number % 12, offset=number // 12)) for number, record in made]
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        clickhouse.load("exchanges", TABLES["exchanges"].insert, batch, str(uuid_utils.uuid7()))


def bytes_of(clickhouse: ClickHouse, table: str) -> dict[str, int]:
    """Compressed bytes by column, in one part, and of the whole with marks and indices."""
    clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")
    by_column = clickhouse.query(
        "SELECT column, sum(column_data_compressed_bytes) AS bytes FROM system.parts_columns "  # noqa: S608 - our names
        f"WHERE active AND database = currentDatabase() AND table = '{table}' GROUP BY column ORDER BY bytes DESC"
    )
    [whole] = clickhouse.query(
        "SELECT sum(bytes_on_disk) AS bytes FROM system.parts "  # noqa: S608 - our names
        f"WHERE active AND database = currentDatabase() AND table = '{table}'"
    )
    return {"": whole["bytes"], **{one["column"]: one["bytes"] for one in by_column}}


def layouts(clickhouse: ClickHouse, count: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Bytes of every layout, of what `exchanges` holds now."""
    ddl = exchanges_ddl()
    for number, (name, changes) in enumerate(LAYOUTS.items()):
        table = f"layout_{number}"
        clickhouse.command(variant(ddl, table, changes))
        clickhouse.command(f"INSERT INTO {table} SELECT * FROM exchanges")  # noqa: S608 - our names
        found = bytes_of(clickhouse, table)
        clickhouse.command(f"DROP TABLE {table}")
        print(f"{name}: {found[''] / count:.1f} bytes an exchange", flush=True)
        yield name, found


def measure(count: int, cache_dir: Path) -> dict[str, Any]:
    """Every layout, with the instructions in the request and without."""
    given = addresses(count, 7, cache_dir)
    task = tasks.load(Path("deploy/tasks"))["address-extraction"]
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        directory = stack.enter_context(engines.folder())
        clickhouse = ClickHouse(stack.enter_context(engines.clickhouse(directory)))
        schema.apply(clickhouse)
        for kind, instructions in (("with_instructions", task.instructions), ("without_instructions", "")):
            insert(clickhouse, given, instructions)
            found = dict(layouts(clickhouse, count))
            figures[kind] = {name: round(sizes[""] / count, 1) for name, sizes in found.items()}
            ours = found["as the sink has it"]
            figures[f"{kind}_by_column"] = {name: round(size / count, 1) for name, size in ours.items() if name}
            clickhouse.command("TRUNCATE TABLE exchanges")
        ledger = bytes_of(clickhouse, "ledger")[""] / (2 * count)
        figures["ledger"] = round(ledger, 1)
        clickhouse.close()
    return figures


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--exchanges", type=int, default=15_000, help="how many, at most 15500")
    parser.add_argument("--cache-dir", type=Path, default=Path.home() / ".cache" / "tutelage", help="for the archive")
    given = parser.parse_args()
    figures = measure(given.exchanges, given.cache_dir)
    ours = figures["with_instructions"]["as the sink has it"]
    plain = figures["with_instructions"]["LZ4 throughout (ClickHouse's default)"]
    each = ours + figures["ledger"]
    disk = {f"gb_for_{days}_days_of_16_million": round(each * PER_DAY * days / 1e9) for days in (30, 365)}
    tell("storage", {**figures, **disk}, {"share of the default codec's bytes": at_most(1.0, round(ours / plain, 2))})


if __name__ == "__main__":
    main()
