"""Pairs of answers of which a person prefers one: what becomes a pair, what does not, and why."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.controller import snapshot
from services.controller.erasing import Asked
from services.controller.guards import GoldenWall
from services.controller.preferences import Preferences
from services.controller.redaction import Redactor
from services.controller.splits import Splits
from services.erasures import digest
from tests.services.controller.world import NOON, SECRET, World, a_candidate, a_preference, a_task
from training.contract import PREFERENCE_COLUMNS


def pairs(*rows: dict[str, Any], wall: GoldenWall | None = None, **task: Any) -> tuple[list[dict[str, Any]], Any]:
    asked = a_task(**task)
    splits = Splits(asked, wall or GoldenWall(), Redactor(asked.redaction), SECRET)
    made = Preferences(asked, splits, "group_digest", SECRET)
    return list(made.rows_of(list(rows))), made.counts()


def liked(number: int, answer: str = "no", **changes: Any) -> dict[str, Any]:
    """A disliked answer beside a liked one to the same question."""
    request = a_candidate(number)["request"]
    fields = {"correction": "", "liked": answer, "liked_request": request, "liked_group_key": "another"}
    return a_preference(number, **(fields | changes))


def test_a_correction_is_preferred_to_what_it_corrects() -> None:
    [pair], counts = pairs(a_preference(1))
    assert (pair["prompt"], pair["chosen"], pair["rejected"], pair["why"]) == (
        "question 1?\n",
        "no",
        "yes",
        "correction",
    )
    assert counts == {"rows": 1, "reasons": {"train: correction": 1}, "removed": {}, "redacted": {}}


def test_a_liked_answer_is_preferred_to_a_disliked_one_and_belongs_to_whom_it_was_given() -> None:
    [pair], _ = pairs(liked(1))
    assert (pair["chosen"], pair["rejected"], pair["why"]) == ("no", "yes", "rating")
    assert (pair["group_digest"], pair["chosen_digest"]) == (digest("group 1", SECRET), digest("another", SECRET))


def test_a_disliked_answer_without_a_better_one_is_no_pair() -> None:
    assert pairs(liked(1, answer="")) == (
        [],
        {"rows": 0, "reasons": {}, "removed": {"no better answer to the same question is known": 1}, "redacted": {}},
    )


def test_answers_to_different_prompts_or_of_the_same_words_are_no_pair() -> None:
    _, counts = pairs(liked(1, liked_request=a_candidate(2)["request"]), liked(3, answer=" yes\n"))
    assert counts["removed"] == {"the better answer is to another prompt": 1, "both answers are the same": 1}


def test_what_proves_is_never_in_a_pair_nor_what_the_teachers_licence_keeps_out() -> None:
    wall = GoldenWall()
    wall.add("QUESTION  1?", "", "no")
    assert list(pairs(a_preference(1), wall=wall)[1]["removed"]) == ["its question is in the golden set"]
    teacher = a_task().teacher.model_copy(update={"may_be_trained_on": False})
    assert "may not be trained on" in next(iter(pairs(a_preference(1), teacher=teacher)[1]["removed"]))


def taken(world: World, **task: Any) -> Path:
    directory = world.directory / "snapshots" / "labels" / "1"
    snapshot.take(world.store, snapshot.Order(a_task(**task), 1, directory, NOON, page_rows=3))
    return directory


def test_a_snapshot_holds_the_pairs_in_the_contracts_columns(world: World) -> None:
    world.filled().store.rows["preferences"] = [a_preference(n, split=("train", "eval")[n % 2]) for n in range(5)]
    directory = taken(world)
    table = pq.read_table(directory / "preferences.parquet")
    own = {"group_digest", "chosen_digest"}
    assert {field.name: str(field.type) for field in table.schema if field.name not in own} == PREFERENCE_COLUMNS
    assert table.column("split").to_pylist() == ["train", "eval", "train", "eval", "train"]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["counts"]["preferences"]["rows"] == 5
    assert "preferences.parquet" in manifest["sha256"]


def test_pairs_are_redacted_as_examples_are_with_the_same_stand_ins(world: World) -> None:
    asked, said = "Who is ann@example.com?", "it is ann@example.com"
    request = json.dumps({"task": "labels", "messages": [{"role": "ROLE_USER", "content": asked}]})
    own = {"request": request, "question": asked}
    world.filled().store.rows["train"].append(a_candidate(7, answer=said, **own))
    world.store.rows["preferences"] = [a_preference(8, rejected=said, correction="ann@example.com is", **own)]
    directory = taken(world, redaction={"kinds": ["email"]})
    [pair] = pq.read_table(directory / "preferences.parquet").to_pylist()
    learnt = pq.read_table(directory / "train.parquet").to_pylist()[-1]
    assert (pair["prompt"], pair["rejected"]) == (learnt["prompt"], learnt["completion"])
    assert not any("ann@example.com" in str(value) for row in (pair, learnt) for value in row.values())
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["counts"]["preferences"]["redacted"] == {"email": 1}


@pytest.mark.parametrize("shared", [{"question": "question 1000?"}, {"group_key": "group 1000"}])
def test_what_is_held_out_is_learnt_from_no_pair(world: World, shared: dict[str, str]) -> None:
    world.filled().store.rows["preferences"] = [a_preference(7), a_preference(8, **shared)]
    directory = taken(world)
    assert pq.read_table(directory / "preferences.parquet").column("id").to_pylist() == [f"{7:036d}"]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert list(manifest["counts"]["preferences"]["removed"]) == [
        "it is nearly the same as one in eval, or of a group in eval"
    ]


def test_a_pair_whose_preferred_answer_is_a_held_out_customers_is_not_learnt(world: World) -> None:
    world.filled().store.rows["preferences"] = [liked(7, liked_group_key="group 1001")]
    assert pq.read_table(taken(world) / "preferences.parquet").num_rows == 0


def test_a_snapshot_without_any_pair_says_so(world: World) -> None:
    directory = taken(world.filled())
    assert pq.read_table(directory / "preferences.parquet").num_rows == 0


async def test_an_erased_customer_is_in_no_pair_whichever_answer_was_theirs(world: World) -> None:
    world.filled().store.rows["train"].append(a_candidate(8, group_key="acme"))
    world.store.rows["preferences"] = [
        a_preference(1, group_key="acme"),
        liked(2, liked_group_key="acme"),
        a_preference(3),
    ]
    directory = taken(world)
    await world.erasing.erase(Asked("acme", "", "ann"))
    assert pq.read_table(directory / "preferences.parquet").column("id").to_pylist() == [f"{3:036d}"]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["erasures"][0]["rows"]["preferences"] == 2
