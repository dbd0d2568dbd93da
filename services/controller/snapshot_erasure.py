"""A customer's rows in a snapshot: found, and removed by writing the snapshot anew.

Rows are known by the digest of their group key; in snapshots from before that column, by the exchange's id.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from services.controller.preferences import CHOSEN_DIGEST
from services.controller.snapshot import DIGEST, READ_ONLY_DIRECTORY, READ_ONLY_FILE, hashes
from services.erasures import digests

NEEDED: Final = ("train", "eval", "golden")
SPLITS: Final = (*NEEDED, "preferences")
WRITABLE_DIRECTORY: Final = 0o755


@dataclass(frozen=True)
class Customer:
    """Whose rows: the digests of the group key, with the secret of new ones, and the ids of the exchanges."""

    digests: Set[str]
    secret: str
    exchange_ids: Set[str]


@dataclass(frozen=True)
class Note:
    """What the manifest says of an erasure."""

    erasure_id: str
    at: datetime


def rows_of(customer: Customer, directory: Path) -> dict[str, int]:
    """How many rows of the customer each split of a snapshot holds; splits without any are left out."""
    held = _splits(directory)
    found = {split: sum(_is_theirs(customer, split, row) for row in _rows(directory, split)) for split in held}
    return {split: count for split, count in found.items() if count}


def remove(customer: Customer, directory: Path, note: Note) -> bool:
    """Write the snapshot anew without the customer's rows; False where a split would be empty: then all of it goes.

    A kill in between leaves either the old snapshot, or none: its run then takes another one.
    """
    anew, old = directory.with_name(f".{directory.name}.anew"), directory.with_name(f".{directory.name}.old")
    anew.mkdir()
    left = {split: _filtered(customer, split, directory, anew) for split in _splits(directory)}
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    later = _noted(manifest, left, note) | {"sha256": hashes(anew)}
    (anew / "manifest.json").write_text(json.dumps(later, indent=2, ensure_ascii=False), encoding="utf-8")
    for path in anew.iterdir():
        path.chmod(READ_ONLY_FILE)
    directory.chmod(WRITABLE_DIRECTORY)
    directory.rename(old)
    whole = all(left[split].rows for split in NEEDED)
    if whole:
        anew.rename(directory)
        directory.chmod(READ_ONLY_DIRECTORY)
    sweep(directory.parent)
    return whole


def sweep(directory: Path) -> None:
    """Delete what interrupted snapshots and erasures left of a task; call it while none is being taken."""
    for path in directory.glob(".*"):
        path.chmod(WRITABLE_DIRECTORY)
        shutil.rmtree(path)


@dataclass
class _Left:
    """What a split still holds, as its manifest tells it."""

    rows: int
    removed: int
    corrected: int
    kinds: Counter[str]
    ids: list[str]


def _filtered(customer: Customer, split: str, directory: Path, anew: Path) -> _Left:
    left = _Left(0, 0, 0, Counter(), [])
    source = pq.ParquetFile(directory / f"{split}.parquet")
    with pq.ParquetWriter(anew / f"{split}.parquet", source.schema_arrow) as writer:
        for batch in source.iter_batches():
            rows = batch.to_pylist()
            kept = [row for row in rows if not _is_theirs(customer, split, row)]
            left.removed += len(rows) - len(kept)
            _count(left, kept)
            if kept:
                writer.write_table(pa.Table.from_pylist(kept, schema=source.schema_arrow))
    return left


def _count(left: _Left, rows: list[Mapping[str, Any]]) -> None:
    left.rows += len(rows)
    left.corrected += sum(bool(row.get("corrected")) for row in rows)
    left.kinds.update(row["kind"] for row in rows)
    ends = [*left.ids, *(row["id"] for row in rows)]
    left.ids = [min(ends), max(ends)] if ends else []


def _noted(manifest: Mapping[str, Any], left: Mapping[str, _Left], note: Note) -> dict[str, Any]:
    """The manifest of what is left; its reasons, strata and prompt lengths stay those of the whole."""
    counts = {split: dict(manifest["counts"][split]) for split in left}
    lineage = json.loads(json.dumps(manifest["lineage"]))
    for split, tally in left.items():
        counts[split] |= {"rows": tally.rows, "kinds": dict(tally.kinds)}
        if split in {"train", "eval"}:
            counts[split]["corrected"] = tally.corrected
            lineage[split] |= dict(zip(("first_id", "last_id"), tally.ids, strict=False))
    said = {
        "id": note.erasure_id,
        "at": note.at.isoformat(),
        "rows": {split: tally.removed for split, tally in left.items()},
        "sha256_before": manifest["sha256"],
    }
    return {**manifest, "counts": counts, "lineage": lineage, "erasures": [*manifest.get("erasures", []), said]}


def _splits(directory: Path) -> list[str]:
    """Those that are there: snapshots of old know no preferences."""
    return [split for split in SPLITS if (directory / f"{split}.parquet").is_file()]


def _rows(directory: Path, split: str) -> Iterator[Mapping[str, Any]]:
    file = pq.ParquetFile(directory / f"{split}.parquet")
    wanted = [name for name in ("id", "group_key", DIGEST, CHOSEN_DIGEST) if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=wanted):
        yield from batch.to_pylist()


def _is_theirs(customer: Customer, split: str, row: Mapping[str, Any]) -> bool:
    if split == "golden":
        return bool(row["group_key"]) and not customer.digests.isdisjoint(digests(row["group_key"], customer.secret))
    owners = {row.get(DIGEST), row.get(CHOSEN_DIGEST)}
    return not customer.digests.isdisjoint(owners) or row["id"] in customer.exchange_ids
