"""How often the teacher errs, by what people said of its answers."""

from pathlib import Path
from typing import Any

import pytest

from services.controller import snapshot
from services.controller.noise import Judged, estimate
from tests.services.controller.test_snapshot import manifest
from tests.services.controller.world import NOON, World, a_candidate, a_golden, a_task


def told(world: World) -> dict[str, Any]:
    directory: Path = world.directory / "snapshots" / "labels" / "1"
    snapshot.take(world.store, snapshot.Order(a_task(), 1, directory, NOON, page_rows=3))
    found: dict[str, Any] = manifest(directory)["teacher_error"]
    return found


def test_the_golden_set_tells_the_teachers_error_with_its_interval(world: World) -> None:
    world.filled().store.rows["golden"] = [a_golden(n, truth="no" if n < 10 else "yes") for n in range(100)]
    found = told(world)["golden"]
    assert (found["answers"], found["wrong"], found["error"]) == (100, 10, 0.1)
    assert found["low"] == pytest.approx(0.055, abs=0.001)  # Wilson's
    assert found["high"] == pytest.approx(0.174, abs=0.001)


def test_so_do_the_answers_that_callers_corrected_or_confirmed(world: World) -> None:
    world.filled().store.rows["train"] += [a_candidate(n, corrected=True, answer="no") for n in (10, 11, 12)]
    world.store.rows["train"] += [a_candidate(n, corrected=True) for n in range(13, 20)]
    world.store.rows["eval"].append(a_candidate(1010, corrected=True, teacher_answer=""))
    found = told(world)["feedback"]
    assert (found["answers"], found["wrong"], found["error"]) == (10, 3, 0.3)


def test_where_the_teacher_is_the_truth_it_says_nothing_of_itself(world: World) -> None:
    world.filled(golden=0)
    world.store.rows["teachers"] = [a_golden(n, truth="yes", group_key=f"of {n}") for n in range(100)]
    assert told(world) == {"golden": {"answers": 0}, "feedback": {"answers": 0}}


def test_json_is_compared_by_its_value() -> None:
    judged = Judged()
    judged.add('{"a": 1, "b": 2}', '{"b":2,"a":1}')
    judged.add(" yes\n", "yes")
    judged.add("{", '{"a":1}')
    assert estimate(judged, [])["golden"]["wrong"] == 1
