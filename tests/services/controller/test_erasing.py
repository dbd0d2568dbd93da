"""A customer who is erased is in nothing that will be learnt from; what has learnt from them is named."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.controller import snapshot, splits
from services.controller.erasing import Asked
from services.controller.errors import Refused
from services.controller.snapshot import DIGEST, Order
from services.erasures import digest
from tests.services.controller.world import NOON, SECRET, World, a_candidate, a_golden, a_task

ACME = Asked("acme", "", "ann")


def with_acme(world: World) -> World:
    """Two training rows are acme's, and one for tuning, which no snapshot takes beside them."""
    world.filled()
    world.store.rows["train"] += [a_candidate(n, group_key="acme", kind="theirs", corrected=True) for n in (8, 9)]
    world.store.rows["eval"].append(a_candidate(1009, group_key="acme"))
    return world


def taken(world: World, number: int = 1) -> Path:
    directory = world.directory / "snapshots" / "labels" / str(number)
    snapshot.take(world.store, Order(a_task(), number, directory, NOON, page_rows=3))
    return directory


def ids(directory: Path, split: str) -> list[str]:
    found: list[str] = pq.read_table(directory / f"{split}.parquet").column("id").to_pylist()
    return found


def manifest(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    return found


async def test_a_snapshot_that_nothing_learnt_from_is_written_anew_and_says_so(world: World) -> None:
    directory = taken(with_acme(world))
    before = manifest(directory)
    receipt = await world.erasing.erase(ACME)
    [told] = receipt.snapshots
    assert (told.number, dict(told.rows), told.rewritten) == (1, {"train": 2}, True)
    assert ids(directory, "train") == [f"{n:036d}" for n in range(5)]
    assert digest("acme", SECRET) not in pq.read_table(directory / "train.parquet").column(DIGEST).to_pylist()
    after = manifest(directory)
    assert after["counts"]["train"] == before["counts"]["train"] | {"rows": 5, "kinds": {"common": 5}, "corrected": 0}
    assert after["lineage"]["train"]["last_id"] == f"{4:036d}"
    [noted] = after["erasures"]
    assert (noted["id"], noted["rows"]["train"], noted["sha256_before"]) == (receipt.id, 2, before["sha256"])
    for name, expected in after["sha256"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == expected


async def test_a_rewritten_snapshot_is_as_immutable_as_any_and_leaves_nothing_behind(world: World) -> None:
    directory = taken(with_acme(world))
    (directory.parent / ".2.unfinished").mkdir()
    (directory.parent / ".2.unfinished" / "train.parquet").write_bytes(b"acme")
    await world.erasing.erase(ACME)
    assert [path.name for path in directory.parent.iterdir()] == ["1"]
    assert not any(path.stat().st_mode & 0o222 for path in (directory, *directory.iterdir()))


async def test_a_snapshot_without_the_customer_stays_as_it_is(world: World) -> None:
    directory = taken(world.filled())
    before = (directory / "manifest.json").read_bytes()
    receipt = await world.erasing.erase(ACME)
    assert not receipt.snapshots
    assert (directory / "manifest.json").read_bytes() == before


async def test_a_snapshot_of_which_too_little_is_left_goes_whole(world: World) -> None:
    world.filled(train=0)
    world.store.rows["train"] = [a_candidate(1, group_key="acme")]
    directory = taken(world)
    [told] = (await world.erasing.erase(ACME)).snapshots
    assert (told.rewritten, told.removed) == (False, True)
    assert not directory.exists()


async def test_rows_of_an_older_snapshot_without_digests_are_found_by_their_ids(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "COLUMNS", {name: kind for name, kind in snapshot.COLUMNS.items() if name != DIGEST})
    directory = taken(with_acme(world))
    assert DIGEST not in pq.read_schema(directory / "train.parquet").names
    await world.erasing.erase(ACME)
    assert ids(directory, "train") == [f"{n:036d}" for n in range(5)]


async def test_rows_of_a_snapshot_from_before_there_was_a_secret_are_found_by_the_key_that_was_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "digest", lambda key, _secret: hashlib.sha256(key.encode()).hexdigest())
    directory = taken(with_acme(world))
    monkeypatch.undo()
    world.store.rows["train"] = []  # ClickHouse has let go of them since.
    await world.erasing.erase(ACME)
    assert ids(directory, "train") == [f"{n:036d}" for n in range(5)]


async def test_golden_examples_of_the_customer_go_from_a_snapshot_too(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, group_key="acme"))
    directory = taken(world)
    await world.erasing.erase(ACME)
    assert len(ids(directory, "golden")) == 4


async def test_a_student_that_learnt_from_the_customer_is_named_marked_and_not_unloaded(world: World) -> None:
    run = await with_acme(world).a_run()
    directory = world.directory / "snapshots" / "labels" / "1"
    receipt = await world.erasing.erase(ACME)
    [student] = receipt.students
    assert (student.student_version, student.run_id, student.train_rows, student.serving) == (1, run.id, 2, True)
    assert len(ids(directory, "train")) == 7
    assert not receipt.snapshots[0].rewritten
    assert list(world.state.known_run(run.id).erasures) == [receipt.id]
    assert list(world.restarted().state.known_run(run.id).erasures) == [receipt.id]
    assert world.state.promotion("labels").student_version == 1
    assert any("labels 1" in text for text in receipt.remains)


async def test_a_mark_is_not_lost_to_a_run_that_was_copied_before_it(world: World) -> None:
    run = await with_acme(world).a_run()
    copied = events.Run()
    copied.CopyFrom(world.state.known_run(run.id))
    receipt = await world.erasing.erase(ACME)
    world.state.write(copied)
    assert list(world.state.known_run(run.id).erasures) == [receipt.id]


async def test_a_dry_run_tells_the_same_and_touches_nothing(world: World) -> None:
    directory = taken(with_acme(world))
    receipt = await world.erasing.plan(ACME)
    assert (receipt.dry_run, dict(receipt.rows), len(receipt.snapshots)) == (True, {"candidates": 3}, 1)
    assert len(ids(directory, "train")) == 7
    assert not world.erasure_tables.begun
    assert len(world.store.rows["train"]) == 7


async def test_a_key_that_nobody_has_seen_is_said_to_be_unknown_and_has_a_receipt(world: World) -> None:
    taken(with_acme(world))
    unknown = Asked("acmee", "", "ann")
    assert (await world.erasing.plan(unknown)).nothing_found
    receipt = await world.erasing.erase(unknown)
    assert receipt.nothing_found
    assert json.loads(read(receipt.path))["nothing_found"]
    assert not (await world.erasing.erase(ACME)).nothing_found


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def test_the_receipt_is_a_file_and_a_row_and_names_nobody(world: World) -> None:
    taken(with_acme(world))
    receipt = await world.erasing.erase(ACME)
    text = read(receipt.path)
    assert json.loads(text) == json.loads(world.erasure_tables.receipts[receipt.id])
    assert "acme" not in text
    assert json.loads(text)["group_digest"] == digest("acme", SECRET)
    assert json.loads(text)["kafka"][0]["topic"] == "exchanges"
    assert receipt.finished_at.seconds >= receipt.erased_at.seconds


async def test_what_was_interrupted_is_finished_at_the_next_start(world: World) -> None:
    directory = taken(with_acme(world))
    world.erasure_tables.refuses = "no room on the disk"
    with pytest.raises(Refused, match="no room"):
        await world.erasing.erase(ACME)
    assert len(ids(directory, "train")) == 7
    world.erasure_tables.refuses = ""
    await world.restarted().erasing.resume()
    assert len(ids(directory, "train")) == 5
    assert len(world.erasure_tables.receipts) == 1
    await world.erasing.resume()
    assert len(world.erasure_tables.receipts) == 1


async def test_a_run_after_the_erasure_learns_from_the_rest(world: World) -> None:
    with_acme(world)
    await world.erasing.erase(ACME)
    run = await world.a_run()
    assert run.promoted
    assert len(ids(world.directory / "snapshots" / "labels" / "1", "train")) == 5


async def test_of_one_task_only_its_snapshots_are_looked_at(world: World) -> None:
    directory = taken(with_acme(world))
    world.tasks["other"] = a_task(name="other")
    assert not (await world.erasing.erase(Asked("acme", "other", "ann"))).snapshots
    assert len(ids(directory, "train")) == 7
    assert control.ErasureReceipt.FromString((await world.erasing.erase(ACME)).SerializeToString()).snapshots
