from dataclasses import replace
from pathlib import Path

from benchmarks.quality_contestants import STUDENT, UNTUNED, Settings, Turn, turns
from benchmarks.quality_task import Example, Splits, Task
from benchmarks.quality_tasks import FUNCTIONS

ONE = [Example("a", "b", "c", "d")]


def nobody(task: Task, splits: Splits, most: int, directory: Path) -> list[str]:
    return []


def test_what_was_said_once_is_not_asked_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def ask() -> list[str]:
        asked.append(1)
        return ["yes"]

    turn = Turn(tmp_path / "some" / "where" / "one.json", ask)
    assert [turn.answers(), turn.answers()] == [["yes"], ["yes"]]
    assert asked == [1]


def test_who_learns_is_asked_for_each_seed_and_all_others_once(tmp_path: Path) -> None:
    def echo(splits: Splits, seed: int, directory: Path) -> list[str]:
        return [f"{splits.train[0].text} {seed} {directory.name}"]

    task = replace(FUNCTIONS, learners={"learner": echo}, fixed={"fixed": echo})
    settings = Settings([1, 2], 10, 10, 5, None, tmp_path / "fetched")
    found = turns(task, dict.fromkeys((1, 2), Splits(ONE, ONE, ONE)), settings, tmp_path / "home", nobody)
    assert {name: len(some) for name, some in found.items()} == {"fixed": 1, UNTUNED: 1, "learner": 2, STUDENT: 2}
    assert [turn.answers() for turn in found["learner"]] == [["a 1 fetched"], ["a 2 fetched"]]
    assert len({turn.file for some in found.values() for turn in some}) == 6
