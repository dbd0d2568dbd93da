import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from protos import events_pb2 as events
from services.controller import snapshot
from services.controller.errors import Refused
from services.controller.guards import normalised
from services.controller.splits import LINEAGE_COLUMNS
from services.erasures import digest
from services.tasks import Task, split
from tests.services.controller.world import NOON, SECRET, World, a_candidate, a_golden, a_task
from training.contract import EXAMPLE_COLUMNS, GOLDEN_COLUMNS


def taken(world: World, task: Task | None = None, number: int = 1) -> Path:
    directory = world.directory / "snapshots" / "labels" / str(number)
    snapshot.take(world.store, snapshot.Order(task or a_task(), number, directory, NOON, page_rows=3))
    return directory


def rows(directory: Path, split: str) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = pq.read_table(directory / f"{split}.parquet").to_pylist()
    return read


def manifest(directory: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    return read


def test_a_candidate_becomes_an_example_with_the_students_prompt(world: World) -> None:
    [first, *_] = rows(taken(world.filled()), "train")
    assert first == {
        "id": f"{0:036d}",
        "prompt": "question 0?\n",
        "completion": "yes",
        "question": "question 0?",
        "kind": "common",
        "weight": 2.0,
        "corrected": False,
        "teacher_answer": "yes",
        "group_digest": digest("group 0", SECRET),
        "stratum": "yes",
        "reason": "kept at rate 0.5",
        "probability": 0.5,
        "hard": "",
        "teacher_model": "big",
        "decided_at": NOON.isoformat(),
    }


def test_a_golden_example_stands_beside_the_teachers_answer(world: World) -> None:
    [first, *_] = rows(taken(world.filled()), "golden")
    assert (first["prompt"], first["truth"], first["teacher_answer"]) == ("golden 0?\n", "no", "yes")
    assert (first["teacher_latency_us"], first["teacher_cost_usd"]) == (900_000, "0.0021")


def test_without_a_golden_set_the_teachers_answers_to_what_was_set_aside_are_the_truth(world: World) -> None:
    world.filled(golden=0)
    world.store.rows["teachers"] = [a_golden(number, truth="yes", group_key=f"of {number}") for number in range(100)]
    directory = taken(world)
    found = rows(directory, "golden")
    aside = [f"of {n}" for n in range(100) if split(a_task().sampling.split, f"of {n}") == events.SPLIT_GOLDEN]
    assert aside
    assert [row["group_key"] for row in found] == aside
    assert {(row["truth"], row["teacher_answer"]) for row in found} == {("yes", "yes")}
    assert snapshot.truth(directory) == "teacher"


def test_what_was_asked_again_and_again_proves_once_with_the_latest_answer(world: World) -> None:
    world.filled(golden=0)
    asides = [f"of {n}" for n in range(100) if split(a_task().sampling.split, f"of {n}") == events.SPLIT_GOLDEN]
    repeated = [a_golden(7, truth=truth, group_key=asides[0], id=f"{truth} 7") for truth in ("yes", "no")]
    world.store.rows["teachers"] = [*repeated, a_golden(8, truth="no", group_key=asides[1])]
    found = rows(taken(world), "golden")
    assert [(row["question"], row["truth"]) for row in found] == [("golden 7?", "yes"), ("golden 8?", "no")]


def test_where_there_is_a_golden_set_people_say_what_is_right(world: World) -> None:
    assert snapshot.truth(taken(world.filled())) == "people"


def test_files_have_the_columns_of_the_contract(world: World) -> None:
    directory = taken(world.filled())
    for name, columns in (("train", EXAMPLE_COLUMNS), ("eval", EXAMPLE_COLUMNS), ("golden", GOLDEN_COLUMNS)):
        schema = pq.read_schema(directory / f"{name}.parquet")
        assert {field.name: str(field.type) for field in schema if field.name not in LINEAGE_COLUMNS} == columns


def test_pages_are_put_together_without_loss(world: World) -> None:
    directory = taken(world.filled(train=10))
    assert [row["id"] for row in rows(directory, "train")] == [f"{number:036d}" for number in range(10)]
    assert pq.ParquetFile(directory / "train.parquet").num_row_groups == 4


def test_a_question_of_the_golden_set_is_not_trained_on_however_it_is_written(world: World) -> None:
    world.filled().store.rows["train"].append(a_candidate(9, question="  GOLDEN   1?\n"))
    directory = taken(world)
    assert len(rows(directory, "train")) == 5
    assert manifest(directory)["counts"]["train"]["removed"] == {"its question is in the golden set": 1}


def test_a_group_of_the_golden_set_is_neither_trained_nor_tuned_on(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(8, group_key="acme"))
    world.store.rows["train"].append(a_candidate(9, group_key="acme"))
    world.store.rows["eval"].append(a_candidate(1009, group_key="acme"))
    directory = taken(world)
    assert (len(rows(directory, "train")), len(rows(directory, "eval"))) == (5, 2)
    assert manifest(directory)["counts"]["eval"]["removed"] == {"its group is in the golden set": 1}


def test_golden_examples_without_a_group_take_nobodys_group_away(world: World) -> None:
    world.filled().store.rows["train"].append(a_candidate(9, group_key=""))
    assert len(rows(taken(world), "train")) == 6


def test_a_golden_example_that_no_teacher_answered_is_left_out_counted_and_still_not_trained_on(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, answered=False))
    world.store.rows["train"].append(a_candidate(9, question="golden 9?"))
    directory = taken(world)
    assert len(rows(directory, "golden")) == 4
    assert manifest(directory)["counts"]["golden"]["without_teacher_answer"] == 1
    assert len(rows(directory, "train")) == 5


def test_of_a_teacher_that_may_not_be_trained_on_only_corrections_stay(world: World) -> None:
    world.filled().store.rows["train"].append(a_candidate(9, corrected=True))
    world.store.rows["eval"].append(a_candidate(1009, corrected=True))
    teacher = a_task().teacher.model_copy(update={"may_be_trained_on": False})
    directory = taken(world, a_task().model_copy(update={"teacher": teacher}))
    assert [row["corrected"] for row in rows(directory, "train")] == [True]


def test_the_manifest_counts_hashes_and_tells_where_the_rows_came_from(world: World) -> None:
    directory = taken(world.filled())
    told = manifest(directory)
    assert (told["number"], told["task"], told["created_at"]) == (1, "labels", NOON.isoformat())
    assert told["counts"]["train"]["kinds"] == {"common": 5}
    assert told["counts"]["train"]["reasons"] == {"kept at rate 0.5": 5}
    assert told["lineage"]["train"]["last_id"] == f"{4:036d}"
    assert told["lineage"]["train"]["teacher_models"] == {"big": 5}
    for name, expected in told["sha256"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == expected


def test_the_manifest_tells_the_tokens_that_the_short_prompt_saves(world: World) -> None:
    tokens = manifest(taken(world.filled()))["mean_prompt_tokens"]
    assert tokens["teacher"] == 700
    assert 0 < tokens["student"] < 70
    assert tokens["saved"] == pytest.approx(tokens["teacher"] - tokens["student"])


def test_a_snapshot_is_immutable(world: World) -> None:
    directory = taken(world.filled())
    assert not any(path.stat().st_mode & 0o222 for path in (directory, *directory.iterdir()))


def test_a_snapshot_that_is_there_is_not_taken_again(world: World) -> None:
    directory = taken(world.filled())
    before = manifest(directory)
    taken(world.filled(train=9))
    assert manifest(directory) == before


def test_what_a_killed_controller_left_half_done_is_made_anew(world: World) -> None:
    unfinished = world.directory / "snapshots" / "labels" / ".1.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "train.parquet").write_bytes(b"half a file")
    assert len(rows(taken(world.filled()), "train")) == 5
    assert not unfinished.exists()


def test_a_snapshot_without_proof_or_without_anything_to_learn_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="nothing proves a student"):
        taken(world.filled(golden=0))
    world.filled().store.rows["golden"] = [a_golden(1, answered=False)]
    with pytest.raises(Refused, match="none of 1 golden examples can be compared"):
        taken(world)
    with pytest.raises(Refused, match="no eval candidate is left"):
        taken(world.filled(eval=0))
    world.filled().store.rows["train"] = [a_candidate(1, question="golden 1?")]
    with pytest.raises(Refused, match=r"no train candidate is left; removed: .*'its question is in the golden set': 1"):
        taken(world)


def test_questions_are_the_same_without_regard_to_case_and_space() -> None:
    assert normalised(" 12  Main\tST ") == normalised("12 main st")
    assert normalised("12 Main St") != normalised("12 Main Street")
