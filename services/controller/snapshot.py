"""A snapshot: an immutable, numbered dataset in Parquet with a manifest of its counts, hashes and lineage.

Columns are training.contract's. Rows go from ClickHouse to disk a page at a time. The directory is made under
another name and renamed, so that it is there whole or not at all.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.controller.errors import Refused
from services.controller.guards import GoldenWall, Tally
from services.controller.preferences import CHOSEN_DIGEST, Preferences
from services.controller.rows import GoldenTally, example_row, is_set_aside
from services.controller.store import Page, Store
from services.erasures import digest
from services.tasks import Task
from training.contract import EXAMPLE_COLUMNS, GOLDEN_COLUMNS, PREFERENCE_COLUMNS, Truth

FILTERS: Final = (
    "not excluded",
    "question not in the golden set (case and white space aside)",
    "group_key not in the golden set",
    "corrected by a person, where the teacher may not be trained on",
    "question and answer not empty",
)
MOST_OF_THE_TEACHERS: Final = 1_000
"""More narrow the interval little, and each costs the student's time."""
DIGEST: Final = "group_digest"
"""A column of train and eval that training does not read: whose row it is, should that customer be erased."""
COLUMNS: Final = {**EXAMPLE_COLUMNS, DIGEST: "string"}
PAIR_COLUMNS: Final = {**PREFERENCE_COLUMNS, DIGEST: "string", CHOSEN_DIGEST: "string"}
READ_ONLY_FILE: Final = 0o444
READ_ONLY_DIRECTORY: Final = 0o555


@dataclass(frozen=True)
class Order:
    """Which snapshot to take. `page_rows` are held in memory at a time."""

    task: Task
    number: int
    directory: Path
    at: datetime
    page_rows: int


def take(store: Store, order: Order) -> None:
    """Make the snapshot, unless its directory is there. Raises Refused if it would hold too little."""
    if order.directory.is_dir():
        return
    unfinished = order.directory.with_name(f".{order.number}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _fill(unfinished, store, order)
    for path in unfinished.iterdir():
        path.chmod(READ_ONLY_FILE)
    unfinished.rename(order.directory)
    order.directory.chmod(READ_ONLY_DIRECTORY)


def truth(directory: Path) -> Truth:
    """Whose answers count as right in the snapshot's golden.parquet."""
    said: Truth = json.loads((directory / "manifest.json").read_text(encoding="utf-8")).get("truth", "people")
    return said


def _fill(directory: Path, store: Store, order: Order) -> None:
    golden = GoldenTally()
    whose: Truth = "people" if store.counts(order.task.name).golden else "teacher"
    pages = (golden.rows_of(order.task, page) for page in _proving(store, order, whose))
    _write(directory / "golden.parquet", GOLDEN_COLUMNS, pages)
    tallies = {split: _write_split(directory, store, order, golden.wall, split) for split in ("train", "eval")}
    _check(golden, tallies)
    pairs = Preferences(order.task, golden.wall, DIGEST, store.secret())
    preferred = (pairs.rows_of(page) for page in store.preferences(order.task.name, order.page_rows))
    _write(directory / "preferences.parquet", PAIR_COLUMNS, preferred)
    manifest = {**_manifest(order, golden, tallies), "truth": whose, "sha256": hashes(directory)}
    manifest["counts"]["preferences"] = pairs.counts()
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")


def _proving(store: Store, order: Order, whose: Truth) -> Iterator[Page]:
    """The golden set; where there is none, the teacher's answers to the requests that are set aside to prove."""
    if whose == "people":
        yield from store.golden(order.task.name, order.page_rows)
        return
    left = MOST_OF_THE_TEACHERS
    for page in store.teachers(order.task.name, order.page_rows):
        aside = [row for row in page if is_set_aside(order.task, row)][:left]
        left -= len(aside)
        yield aside
        if not left:
            return


def _write_split(directory: Path, store: Store, order: Order, wall: GoldenWall, split: str) -> Tally:
    tally, secret = Tally(), store.secret()

    def rows(page: Page) -> Iterator[dict[str, Any]]:
        for candidate in page:
            if why := wall.objection(candidate, order.task):
                tally.removed[why] += 1
                continue
            tally.add(candidate)
            whose = digest(candidate["group_key"], secret) if candidate["group_key"] else ""
            yield {**example_row(order.task, candidate), DIGEST: whose}

    pages = (rows(page) for page in store.candidates(order.task.name, split, order.page_rows))
    _write(directory / f"{split}.parquet", COLUMNS, pages)
    return tally


def _write(path: Path, columns: Mapping[str, str], pages: Iterator[Iterator[dict[str, Any]]]) -> None:
    """One row group a page."""
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    with pq.ParquetWriter(path, schema) as writer:
        for page in pages:
            if rows := list(page):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _check(golden: GoldenTally, tallies: Mapping[str, Tally]) -> None:
    if not golden.rows:
        raise Refused(
            f"none of {golden.without_teacher_answer} golden examples can be compared with the teacher: "
            "send their inputs through the gateway once"
            if golden.without_teacher_answer
            else "nothing proves a student: add golden examples, or send more requests"
        )
    for split, tally in tallies.items():
        if not tally.rows:
            raise Refused(f"no {split} candidate is left; removed: {dict(tally.removed) or 'none'}")


def _manifest(order: Order, golden: GoldenTally, tallies: Mapping[str, Tally]) -> dict[str, Any]:
    definition = order.task.model_dump_json(by_alias=True).encode()
    return {
        "number": order.number,
        "task": order.task.name,
        "created_at": order.at.isoformat(),
        "counts": {**{split: tally.counts() for split, tally in tallies.items()}, "golden": golden.counts()},
        "filters": FILTERS,
        "lineage": {
            **{split: tally.lineage() for split, tally in tallies.items()},
            "task_sha256": hashlib.sha256(definition).hexdigest(),
        },
        "mean_prompt_tokens": golden.prompt_tokens(),
    }


def hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of each Parquet file, as hex."""
    hashes = {}
    for path in sorted(directory.glob("*.parquet")):
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
