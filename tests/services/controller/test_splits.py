"""What is nearly the same stands on one side, once; and the proof reads it from the files."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.controller import snapshot
from services.controller.errors import Refused
from services.controller.proof import proven
from services.controller.redaction import Redactor
from services.tasks import Redaction, Task
from tests.services.controller.test_snapshot import manifest, rows
from tests.services.controller.world import NOON, SECRET, World, a_candidate, a_golden, a_task

LONG = (
    "Would you say that the weather in the village by the lake was good on the {} day of the long summer,"
    " when all of us had gone out to swim, and the sky above the mountains turned from white to a deep and even blue?"
)


def taken(world: World, task: Task | None = None) -> Path:
    directory = world.directory / "snapshots" / "labels" / "1"
    snapshot.take(world.store, snapshot.Order(task or a_task(), 1, directory, NOON, page_rows=3))
    return directory


def ids(directory: Path, split: str) -> list[int]:
    return [int(row["id"]) for row in rows(directory, split)]


def test_of_nearly_the_same_questions_with_one_answer_train_keeps_the_first(world: World) -> None:
    world.filled().store.rows["train"] += [a_candidate(n, question=LONG.format(f"{n}th")) for n in (7, 8, 9)]
    directory = taken(world)
    assert ids(directory, "train") == [0, 1, 2, 3, 4, 7]
    removed = manifest(directory)["counts"]["train"]["removed"]
    assert removed == {"it is nearly the same as another one of its split": 2}


def test_with_other_answers_or_where_a_person_answered_all_are_kept(world: World) -> None:
    world.filled().store.rows["train"] += [
        a_candidate(7, question=LONG.format("7th")),
        a_candidate(8, question=LONG.format("8th"), answer="no"),
        a_candidate(9, question=LONG.format("9th"), corrected=True),
    ]
    assert ids(taken(world), "train") == [0, 1, 2, 3, 4, 7, 8, 9]


def test_what_people_answered_stands_in_train_once_where_it_is_the_same_line_again(world: World) -> None:
    world.filled().store.rows["train"] += [
        a_candidate(7, corrected=True),
        a_candidate(7, corrected=True, id=f"{8:036d}", group_key="another's"),
        a_candidate(7, corrected=True, id=f"{9:036d}", answer="no"),
    ]
    assert ids(taken(world), "train") == [0, 1, 2, 3, 4, 7, 9]


def test_a_task_may_keep_all_that_are_not_equal(world: World) -> None:
    world.filled().store.rows["train"] += [a_candidate(n, question=LONG.format(f"{n}th")) for n in (7, 8)]
    assert ids(taken(world, a_task(sampling={"near_duplicate": 1})), "train") == [0, 1, 2, 3, 4, 7, 8]


def test_what_is_near_a_golden_example_is_in_no_split(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, input=LONG.format("9th"), truth="yes"))
    world.store.rows["train"].append(a_candidate(7, question=LONG.format("7th")))
    world.store.rows["eval"].append(a_candidate(1007, question=LONG.format("8th")))
    directory = taken(world)
    assert (ids(directory, "train"), ids(directory, "eval")) == ([0, 1, 2, 3, 4], [1000, 1001])
    assert manifest(directory)["counts"]["eval"]["removed"] == {"it is nearly the same as one in the golden set": 1}


def test_what_is_near_a_golden_example_and_has_another_answer_is_learnt_from_where_answers_tell_questions_apart(
    world: World,
) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, input=LONG.format("9th"), truth="yes"))
    world.store.rows["train"].append(a_candidate(7, question=LONG.format("7th"), answer="no"))
    assert ids(taken(world), "train") == [0, 1, 2, 3, 4, 7]


def test_it_is_not_where_the_teacher_errs_on_both_alike(world: World) -> None:
    golden = a_golden(9, input=LONG.format("9th"), truth="no")
    assert golden["teacher"][0] == "yes"
    world.filled().store.rows["golden"].append(golden)
    world.store.rows["train"].append(a_candidate(7, question=LONG.format("7th"), answer="yes"))
    assert ids(taken(world), "train") == [0, 1, 2, 3, 4]


def test_of_free_texts_what_is_near_a_question_of_another_side_leaves_whatever_its_answer(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, input=LONG.format("9th"), truth="It was lovely."))
    other = LONG.replace("weather", "harvest of the apples and pears")
    world.store.rows["train"] += [
        a_candidate(7, question=LONG.format("7th"), answer="Rather good."),
        a_candidate(8, question=other.format("8th"), answer="A rich one."),
    ]
    world.store.rows["eval"].append(a_candidate(1007, question=other.format("7th"), answer="Hardly any."))
    directory = taken(world, a_task(answer="text", validators=[]))
    assert (ids(directory, "train"), ids(directory, "eval")) == ([0, 1, 2, 3, 4, 8], [1000, 1001])
    assert set(manifest(directory)["counts"]["train"]["removed"]) == {"it is nearly the same as one in the golden set"}


def test_of_free_texts_train_keeps_nearly_the_same_questions_with_other_answers(world: World) -> None:
    world.filled().store.rows["train"] += [
        a_candidate(n, question=LONG.format(f"{n}th"), answer=f"Good, {n}.") for n in (7, 8)
    ]
    assert ids(taken(world, a_task(answer="text", validators=[])), "train") == [0, 1, 2, 3, 4, 7, 8]


@pytest.mark.parametrize("question", [LONG.format("8th"), LONG.format("7TH ")])
def test_what_train_holds_is_not_held_out(world: World, question: str) -> None:
    world.filled().store.rows["train"].append(a_candidate(7, question=LONG.format("7th")))
    world.store.rows["eval"].append(a_candidate(1007, question=question))
    directory = taken(world)
    assert (ids(directory, "train")[-1], ids(directory, "eval")) == (7, [1000, 1001])


def test_neither_is_the_same_question_with_another_answer_nor_another_one_of_a_group(world: World) -> None:
    world.filled().store.rows["eval"] += [
        a_candidate(1007, question="question 1?", answer="no"),
        a_candidate(1008, group_key="group 1"),
    ]
    assert ids(taken(world), "eval") == [1000, 1001]


def test_of_nearly_the_same_held_out_questions_one_is_kept(world: World) -> None:
    world.filled().store.rows["eval"] += [a_candidate(1000 + n, question=LONG.format(f"{n}th")) for n in (7, 8)]
    directory = taken(world)
    assert ids(directory, "eval") == [1000, 1001, 1007]


def test_what_comes_between_the_looks_waits_for_the_next_snapshot(world: World) -> None:
    class Growing:
        looks = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def candidates(self, task: str, split: str, page_rows: int) -> Any:
            self.looks += split == "eval"
            late = [[a_candidate(1009)]] if split == "eval" and self.looks == 2 else []
            return iter([*world.store.candidates(task, split, page_rows), *late])

    directory = world.filled().directory / "snapshots" / "labels" / "1"
    snapshot.take(Growing(), snapshot.Order(a_task(), 1, directory, NOON, page_rows=3))
    assert ids(directory, "eval") == [1000, 1001]
    assert manifest(directory)["counts"]["eval"]["removed"] == {"it came while the snapshot was taken": 1}


def test_strata_are_counted(world: World) -> None:
    world.filled().store.rows["train"].append(a_candidate(9, answer="no"))
    assert manifest(taken(world))["counts"]["train"]["strata"] == {"yes": 5, "no": 1}


def test_the_manifest_holds_the_proof_that_the_splits_are_apart(world: World) -> None:
    told = manifest(taken(world.filled()))["split_proof"]
    assert told["similarity"] == 0.9
    assert told["found"] > 0.999
    none = {"groups": 0, "questions": 0, "near_duplicates": 0}
    assert told["shared"] == {"train and golden": none, "eval and golden": none, "train and eval": none}


@pytest.mark.parametrize(
    ("leak", "named"),
    [
        ({"question": "question 1000?", "completion": "no"}, "'questions': 1"),
        ({"question": LONG.format("8th")}, "'near_duplicates': 1"),
        ({"group_digest": "the same"}, "'groups': 1"),
    ],
)
def test_a_leak_that_was_put_into_the_files_is_found(world: World, leak: dict[str, Any], named: str) -> None:
    world.filled().store.rows["eval"] += [a_candidate(1007, question=LONG.format("7th"))]
    directory = taken(world)
    directory.chmod(0o755)
    for split, change in (("eval", {"group_digest": "the same"}), ("train", leak)):
        path = directory / f"{split}.parquet"
        held = [
            {**row, **(change if row["id"] == rows(directory, split)[0]["id"] else {})}
            for row in rows(directory, split)
        ]
        schema = pq.read_schema(path)
        path.unlink()
        pq.write_table(pa.Table.from_pylist(held, schema=schema), path)
    with pytest.raises(Refused, match=f"not apart.*train and eval.*{named}"):
        proven(directory, 0.9, Redactor(Redaction()), SECRET)


def test_so_is_one_whose_answer_is_another_text(world: World) -> None:
    world.filled().store.rows["golden"].append(a_golden(9, input=LONG.format("9th"), truth="no"))
    world.store.rows["train"].append(a_candidate(7, question=LONG.format("7th"), answer="perhaps"))
    directory = taken(world)
    assert proven(directory, 0.9, Redactor(Redaction()), SECRET)["shared"]["train and golden"]["near_duplicates"] == 0
    with pytest.raises(Refused, match=r"train and golden.*'near_duplicates': 1"):
        proven(directory, 0.9, Redactor(Redaction()), SECRET, any_answer=True)


def test_the_manifest_names_the_teacher_with_its_licence(world: World) -> None:
    told = json.loads((taken(world.filled()) / "manifest.json").read_text())
    assert told["teacher"] == {"model": "big", "may_be_trained_on": True}
    assert told["source"] == {"kind": "candidates"}


def many(answers: str, first: int = 0) -> list[dict[str, Any]]:
    """Candidates of nobody's repetition; the answers are the letters' own."""
    words = {"y": "yes", "n": "no"}
    return [
        a_candidate(n, question=f"{n * 7919} or {n}?", answer=words[letter], probability=1.0)
        for n, letter in enumerate(answers, start=first)
    ]


def test_a_quota_keeps_the_frequent_sort_from_drowning_the_rare_one(world: World) -> None:
    world.filled().store.rows["train"] = many("y" * 90 + "n" * 10)
    directory = taken(world, a_task(sampling={"strata": {"per_snapshot": 20}}))
    told = manifest(directory)["counts"]["train"]
    assert told["strata"] == {"yes": 20, "no": 10}
    assert told["removed"] == {"there are enough of its sort": 70}


def test_the_rows_that_a_quota_takes_stand_for_those_that_it_leaves(world: World) -> None:
    world.filled().store.rows["train"] = many("y" * 400 + "n" * 10)
    found = rows(taken(world, a_task(sampling={"strata": {"per_snapshot": 100}})), "train")
    weights = {sort: sum(row["weight"] for row in found if row["stratum"] == sort) for sort in ("yes", "no")}
    assert weights["no"] == 10
    assert weights["yes"] == pytest.approx(400, rel=0.2)
    alike = taken_again(world, a_task(sampling={"strata": {"per_snapshot": 100}, "weigh": "alike"}))
    assert {row["weight"] for row in rows(alike, "train")} == {1.0}


def test_what_chooses_the_threshold_stands_for_the_traffic_however_train_is_weighed(world: World) -> None:
    world.filled().store.rows["eval"][0]["probability"] = 0.1
    directory = taken(world, a_task(sampling={"weigh": "alike"}))
    assert [row["weight"] for row in rows(directory, "eval")] == [10, 2]
    assert {row["weight"] for row in rows(directory, "train")} == {1.0}


def taken_again(world: World, task: Task) -> Path:
    directory = world.directory / "snapshots" / "labels" / "2"
    snapshot.take(world.store, snapshot.Order(task, 2, directory, NOON, page_rows=3))
    return directory


def test_what_people_answered_is_within_no_quota(world: World) -> None:
    world.filled().store.rows["train"] = [row | {"corrected": True} for row in many("y" * 30)]
    assert len(ids(taken(world, a_task(sampling={"strata": {"per_snapshot": 5}})), "train")) == 30


def test_hard_cases_are_taken_more_often_and_count_less_for_it(world: World) -> None:
    world.filled().store.rows["train"] = many("y" * 200) + [row | {"hard": ["unsure"]} for row in many("y" * 200, 500)]
    found = rows(taken(world, a_task(sampling={"hard_weight": 4, "strata": {"per_snapshot": 100}})), "train")
    hard = [row for row in found if row["hard"] == "unsure"]
    assert len(hard) > 2.5 * (len(found) - len(hard))
    assert sum(row["weight"] for row in found) == pytest.approx(400, rel=0.35)
    assert {round(row["weight"], 6) for row in hard} == {round(found[0]["weight"] / 4, 6)} or hard[0] is found[0]


@pytest.mark.parametrize(
    ("rate", "kept_at", "times"),
    [
        (0.1, 0.4, 1),  # the stream kept four times as many already
        (0.5, 1.0, 2),  # it could keep no more than twice as many
        (1.0, 1.0, 4),
    ],
)
def test_the_weight_of_hard_cases_counts_once_in_stream_and_snapshot_together(
    world: World, rate: float, kept_at: float, times: float
) -> None:
    hard = [row | {"hard": ["unsure"], "probability": kept_at} for row in many("y" * 200, 500)]
    world.filled().store.rows["train"] = [row | {"probability": rate} for row in many("y" * 200)] + hard
    sampling = {"rate": rate, "hard_weight": 4, "strata": {"per_snapshot": 100}}
    found = rows(taken(world, a_task(sampling=sampling)), "train")
    taken_at = {
        is_hard: {round(row["probability"] / given, 9) for row in found if bool(row["hard"]) == is_hard}
        for is_hard, given in ((True, kept_at), (False, rate))
    }
    [often], [seldom] = taken_at[True], taken_at[False]
    assert often == pytest.approx(times * seldom, rel=1e-6)
