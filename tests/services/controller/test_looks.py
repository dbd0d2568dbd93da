"""How often a golden set was looked at before."""

import pytest

from protos import events_pb2 as events
from services.controller.looks import look
from tests.services.controller.world import World, a_golden, a_task


def a_run(run_id: str, *, judged: bool = True, task: str = "labels") -> events.Run:
    return events.Run(id=run_id, task=task, report="{}" if judged else "")


SETS = {"1": frozenset("abc"), "2": frozenset("abcd"), "3": frozenset("xy"), "4": None, "9": frozenset("cde")}


def look_of_9(*earlier: events.Run) -> int:
    nine = a_run("9")
    return look(nine, [*earlier, nine], lambda run: SETS[run.id])


def test_the_first_run_looks_for_the_first_time() -> None:
    assert look_of_9() == 1


def test_runs_that_were_judged_on_some_of_its_examples_looked_before() -> None:
    assert look_of_9(a_run("1"), a_run("2")) == 3


def test_another_golden_set_and_another_task_do_not_count() -> None:
    assert look_of_9(a_run("3"), a_run("1", task="other")) == 1


def test_a_run_without_a_report_saw_nothing() -> None:
    assert look_of_9(a_run("1", judged=False)) == 1


def test_a_set_that_nobody_knows_any_more_counts_as_the_same() -> None:
    assert look_of_9(a_run("4")) == 2


async def test_each_run_on_a_growing_golden_set_is_one_look_more(tmp_path) -> None:
    world = World(tmp_path, a_task()).filled()
    for _ in range(3):
        await world.a_run()
        world.store.rows["golden"].append(a_golden(len(world.store.rows["golden"])))
    assert [job["look"] for job in world.launcher.jobs] == [1, 2, 3]


async def test_a_new_golden_set_begins_anew(tmp_path) -> None:
    world = World(tmp_path, a_task()).filled()
    await world.a_run()
    world.store.rows["golden"] = [a_golden(number) for number in range(100, 104)]
    await world.a_run()
    assert [job["look"] for job in world.launcher.jobs] == [1, 1]


async def test_a_run_that_failed_before_its_report_costs_no_look(tmp_path) -> None:
    world = World(tmp_path, a_task()).filled()
    world.launcher.status = 1
    await world.a_run()
    world.launcher.status = 0
    await world.a_run()
    assert [job["look"] for job in world.launcher.jobs] == [1, 1]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
