"""A snapshot: an immutable, numbered dataset in Parquet with a manifest of its counts, hashes and lineage.

Columns are training.contract's. Rows go from ClickHouse to disk a page at a time. The directory is made under
another name and renamed, so that it is there whole or not at all.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.controller.errors import Refused
from services.controller.guards import Tally
from services.controller.noise import Judged, estimate
from services.controller.preferences import CHOSEN_DIGEST, Preferences
from services.controller.proof import proven
from services.controller.redaction import Redactor
from services.controller.rows import GoldenTally, first_set_aside
from services.controller.splits import LINEAGE_COLUMNS, Splits
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
    "not nearly the same as a golden example, as another row of its split, or (eval) as one in train",
)
MOST_OF_THE_TEACHERS: Final = 1_000
"""More narrow the interval little, and each costs the student's time."""
DIGEST: Final = "group_digest"
"""A column of train, eval and golden: whose row it is, should that customer be erased. By it training sees, too, that
nobody is learnt from whose examples prove."""
COLUMNS: Final = {**EXAMPLE_COLUMNS, **LINEAGE_COLUMNS}
PROVING_COLUMNS: Final = {**GOLDEN_COLUMNS, DIGEST: "string"}
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
    source: Mapping[str, Any] = field(default_factory=lambda: {"kind": "candidates"})
    """Where its rows come from, for the manifest."""


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


def golden_ids(directory: Path) -> frozenset[str] | None:
    """The ids of a snapshot's golden examples; None if it is gone."""
    path = directory / "golden.parquet"
    return frozenset(pq.read_table(path, columns=["id"]).column(0).to_pylist()) if path.is_file() else None


def truth(directory: Path) -> Truth:
    """Whose answers count as right in the snapshot's golden.parquet."""
    said: Truth = json.loads((directory / "manifest.json").read_text(encoding="utf-8")).get("truth", "people")
    return said


def _fill(directory: Path, store: Store, order: Order) -> None:
    similarity = order.task.sampling.near_duplicate
    redactor = Redactor(order.task.redaction)
    golden = GoldenTally(similarity, redactor)
    whose: Truth = "people" if store.counts(order.task.name).golden else "teacher"
    secret = store.secret()
    pages = (
        ({**row, DIGEST: _whose(row["group_key"], secret)} for row in golden.rows_of(order.task, page))
        for page in _proving(store, order, whose)
    )
    _write(directory / "golden.parquet", PROVING_COLUMNS, pages)
    splits = Splits(order.task, golden.wall, redactor, secret)
    tallies = _write_splits(directory, store, order, splits)
    _check(golden, tallies)
    pairs = Preferences(order.task, splits, DIGEST, secret)
    preferred = (pairs.rows_of(page) for page in store.preferences(order.task.name, order.page_rows))
    _write(directory / "preferences.parquet", PAIR_COLUMNS, preferred)
    manifest = {**_manifest(order, golden, tallies), "truth": whose, "sha256": hashes(directory)}
    manifest["counts"]["preferences"] = pairs.counts()
    of_people = golden.judged if whose == "people" else Judged()
    manifest["teacher_error"] = estimate(of_people, [tally.judged for tally in tallies.values()])
    manifest["split_proof"] = proven(directory, similarity, redactor, secret, any_answer=order.task.answers_vary)
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")


def _proving(store: Store, order: Order, whose: Truth) -> Iterator[Page]:
    """The golden set; where there is none, the teacher's latest answers to the requests that are set aside to prove.

    Each counts once, however often it was asked: what is asked often would else narrow the interval.
    """
    if whose == "people":
        yield from store.golden(order.task.name, order.page_rows)
        return
    asked: set[str] = set()
    for page in store.teachers(order.task.name, order.page_rows):
        yield list(first_set_aside(order.task, page, asked, MOST_OF_THE_TEACHERS))
        if len(asked) == MOST_OF_THE_TEACHERS:
            return


def _write_splits(directory: Path, store: Store, order: Order, splits: Splits) -> Mapping[str, Tally]:
    if order.task.sampling.strata.per_snapshot:
        for page in store.candidates(order.task.name, "train", order.page_rows):
            splits.look_at_train(page)
    for page in store.candidates(order.task.name, "eval", order.page_rows):
        splits.look_at_eval(page)
    for split in ("train", "eval"):
        rows = (splits.rows(split, page) for page in store.candidates(order.task.name, split, order.page_rows))
        _write(directory / f"{split}.parquet", COLUMNS, rows)
    return splits.tallies


def _whose(group_key: str, secret: str) -> str:
    return digest(group_key, secret) if group_key else ""


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
        "source": order.source,
        "teacher": order.task.teacher.model_dump(mode="json", include={"model", "may_be_trained_on"}),
        "sampling": order.task.sampling.model_dump(mode="json"),
        "redaction": order.task.redaction.model_dump(mode="json"),
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
