"""Snapshots shown, compared, handed out and taken in, over gRPC."""

import json
from collections.abc import Iterable
from typing import Any

import grpc
import pytest

from protos import control_pb2 as control
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.controller import snapshot
from services.tasks import split
from tests.services.controller.test_servicer import client, refusal
from tests.services.controller.test_snapshot import rows
from tests.services.controller.world import NOON, World, a_candidate, a_task

__all__ = ["client"]


def taken(world: World, number: int, **changes: Any) -> None:
    directory = world.directory / "snapshots" / "labels" / str(number)
    snapshot.take(world.store, snapshot.Order(a_task(**changes), number, directory, NOON, page_rows=3))


def an_example(number: int, answer: str = "yes") -> control.ImportedExample:
    message = inference.Message(role=inference.ROLE_USER, content=f"imported {number}?")
    request = inference.Request(
        task="labels", messages=[message], request_id=f"{number:036d}", group_key=f"of {number}"
    )
    return control.ImportedExample(request=request, answer=answer)


async def imported(client: Any, numbers: Iterable[int], **said: Any) -> control.Snapshot:
    head = control.SnapshotPart(**({"task": "labels", "source": "mine.jsonl", "sha256": "ab"} | said))
    parts = [head, *(control.SnapshotPart(examples=[an_example(number)]) for number in numbers)]
    made: control.Snapshot = await client.ImportSnapshot(iter(parts))
    return made


async def test_snapshots_are_listed_latest_first(world: World, client: Any) -> None:
    world.filled()
    taken(world, 1)
    taken(world, 2)
    found = (await client.Snapshots(control.SnapshotsRequest(task="labels"))).snapshots
    assert [(one.number, json.loads(one.manifest)["number"]) for one in found] == [(2, 2), (1, 1)]


async def test_one_that_is_not_there_is_refused_with_those_that_are(world: World, client: Any) -> None:
    taken(world.filled(), 1)
    code, text = await refusal(client.Snapshots(control.SnapshotsRequest(task="labels", number=7)))
    assert (code, text) == (grpc.StatusCode.NOT_FOUND, "number: there is no snapshot labels/7; there are: 1")


async def test_a_difference_counts_rows_and_shows_what_changed(world: World, client: Any) -> None:
    taken(world.filled(), 1)
    world.filled(train=7).store.rows["train"][1] = a_candidate(1, answer="no", corrected=True)
    del world.store.rows["train"][0]
    taken(world, 2, teacher={**a_task().teacher.model_dump(), "model": "bigger"})
    told = await client.DiffSnapshots(control.DiffSnapshotsRequest(task="labels", before=1, after=2))
    train = told.splits["train"]
    assert (train.before, train.after, train.added, train.removed, train.changed) == (5, 6, 2, 1, 1)
    changes = {(one.id[-1], one.column, one.before, one.after) for one in train.examples}
    assert changes == {("1", "completion", "yes", "no"), ("1", "corrected", "False", "True")}
    assert (told.splits["golden"].added, told.splits["golden"].changed) == (0, 0)
    assert any(line.startswith("teacher: ") and '"bigger"' in line for line in told.differences)
    assert 'train strata: {"yes": 5} -> {"yes": 5, "no": 1}' in told.differences


async def test_a_snapshot_does_not_differ_from_itself(world: World, client: Any) -> None:
    taken(world.filled(), 1)
    told = await client.DiffSnapshots(control.DiffSnapshotsRequest(task="labels", before=1, after=1))
    assert not told.differences
    assert all(part.added == part.removed == part.changed == 0 for part in told.splits.values())


async def test_rows_are_handed_out_as_the_student_learns_them(world: World, client: Any) -> None:
    taken(world.filled(), 1)
    wanted = control.ExportSnapshotRequest(task="labels", number=1, split="train")
    first, *parts = [part async for part in client.ExportSnapshot(wanted)]
    found = [row for part in parts for row in part.rows]
    assert first.instructions == a_task().instructions
    assert [(row.prompt, row.completion, row.weight) for row in found] == [
        (f"question {n}?\n", "yes", 2.0) for n in range(5)
    ]


async def test_a_golden_row_is_handed_out_with_its_truth(world: World, client: Any) -> None:
    taken(world.filled(), 1)
    wanted = control.ExportSnapshotRequest(task="labels", number=1, split="golden")
    found = [row async for part in client.ExportSnapshot(wanted) for row in part.rows]
    assert {row.completion for row in found} == {"no"}


async def test_examples_from_elsewhere_are_a_snapshot_beside_the_tasks_own_golden_set(
    world: World, client: Any
) -> None:
    world.filled()
    made = await imported(client, range(100))
    directory = world.directory / "snapshots" / "labels" / str(made.number)
    told = json.loads(made.manifest)
    sides = [split(a_task().sampling.split, f"of {number}") for number in range(100)]
    assert len(rows(directory, "train")) == sides.count(events.SPLIT_TRAIN)
    assert len(rows(directory, "eval")) == sides.count(events.SPLIT_EVAL)
    assert len(rows(directory, "golden")) == 4
    aside = sides.count(events.SPLIT_GOLDEN)
    whole = {"kind": "import", "file": "mine.jsonl", "sha256": "ab", "answers_by": "big", "set_aside": aside}
    assert told["source"] == whole
    assert told["counts"]["train"]["reasons"] == {"imported from mine.jsonl": len(rows(directory, "train"))}


async def test_what_the_tasks_validators_refuse_is_left_out_and_counted(world: World, client: Any) -> None:
    world.filled()
    world.tasks["labels"] = a_task(validators=[{"kind": "one_of", "values": ["no"]}])  # all of the file say yes
    with pytest.raises(grpc.aio.AioRpcError, match=r"no train candidate is left.*validators refuse its answer"):
        await imported(client, range(100))


async def test_without_a_golden_set_the_examples_set_aside_prove(world: World, client: Any) -> None:
    made = await imported(client, range(100))
    found = rows(world.directory / "snapshots" / "labels" / str(made.number), "golden")
    assert found
    assert json.loads(made.manifest)["truth"] == "teacher"
    assert {(row["truth"], row["teacher_answer"]) for row in found} == {("yes", "yes")}


async def test_a_run_trains_on_the_snapshot_that_it_is_given(world: World, client: Any) -> None:
    made = await imported(client, range(100))
    run = await client.StartRun(control.StartRunRequest(task="labels", snapshot=made.number))
    await world.runner.finished()
    assert run.snapshot == made.number
    assert world.launcher.jobs[-1]["dataset"].endswith(f"labels/{made.number}")
    code, text = await refusal(client.StartRun(control.StartRunRequest(task="labels", snapshot=9)))
    assert (code, text) == (grpc.StatusCode.NOT_FOUND, "snapshot: there is no labels/9")


async def test_a_teacher_that_may_not_be_trained_on_is_refused_unless_people_wrote_the_answers(
    world: World, client: Any
) -> None:
    closed = a_task(teacher={**a_task().teacher.model_dump(), "may_be_trained_on": False})
    world.tasks["labels"] = closed
    with pytest.raises(grpc.aio.AioRpcError, match=r"may_be_trained_on is false.*big.*--by-people"):
        await imported(client, range(100))
    world.filled()
    made = await imported(client, range(100), by_people=True)
    assert json.loads(made.manifest)["source"]["answers_by"] == "people"
    assert all(row["corrected"] for row in rows(world.directory / f"snapshots/labels/{made.number}", "train"))


async def test_a_snapshot_from_before_the_licence_was_denied_is_trained_on_only_where_people_answered(
    world: World, client: Any
) -> None:
    world.filled()
    taken(world, 1)
    for name in ("train", "eval"):
        world.store.rows[name] = [row | {"corrected": True} for row in world.store.rows[name]]
    taken(world, 2)
    world.tasks["labels"] = a_task(teacher={**a_task().teacher.model_dump(), "may_be_trained_on": False})
    code, text = await refusal(client.StartRun(control.StartRunRequest(task="labels", snapshot=1)))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "may_be_trained_on is false, and 7 examples of the snapshot hold the teacher's answer" in text
    assert (await client.StartRun(control.StartRunRequest(task="labels", snapshot=2))).snapshot == 2


async def test_an_import_and_a_run_never_take_one_number(world: World, client: Any) -> None:
    world.filled()
    [first] = [await world.desk.number(world.tasks["labels"], [])]
    run = await client.StartRun(control.StartRunRequest(task="labels"))
    assert (first, run.snapshot) == (1, 2)


async def test_an_import_says_what_it_lacks(world: World, client: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="source: is required"):
        await imported(client, range(3), source="")
    with pytest.raises(grpc.aio.AioRpcError, match="task: is required"):
        await client.ImportSnapshot(iter([]))
    with pytest.raises(grpc.aio.AioRpcError, match="nothing proves a student"):
        await imported(client, [])
