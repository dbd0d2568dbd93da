from datetime import timedelta

import pytest

from protos import events_pb2 as events
from services.controller.cycle import (
    Counts,
    Facts,
    Numbers,
    Step,
    advanced,
    begin,
    lacking,
    laid_over,
    may_be_due,
    next_number,
    next_step,
    superfluous,
    to_carry_on,
)
from services.controller.verdict import Verdict
from tests.services.controller.world import NOON, a_task

PROMOTE = Verdict(True, events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY), "good")
REFUSE = Verdict(False, events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY), "bad")
ENOUGH = Counts(train=10, eval=2, golden=3, uncorrected=12)


def a_run(state: "events.RunState" = events.RUN_STATE_SNAPSHOT, run_id: str = "1", task: str = "labels") -> events.Run:
    return events.Run(id=run_id, task=task, state=state)


def test_a_new_run_takes_its_snapshot_first() -> None:
    assert next_step(a_run(), Facts()) is Step.SNAPSHOT


def test_a_run_whose_snapshot_is_there_trains() -> None:
    assert next_step(a_run(), Facts(snapshot_taken=True)) is Step.TRAINING


def test_a_run_killed_while_training_trains_on() -> None:
    assert next_step(a_run(events.RUN_STATE_TRAINING), Facts(snapshot_taken=True)) is Step.TRAINING


def test_a_run_with_a_report_is_judged() -> None:
    assert next_step(a_run(events.RUN_STATE_TRAINING), Facts(True, PROMOTE)) is Step.JUDGING


def test_a_run_judged_good_is_loaded() -> None:
    assert next_step(a_run(events.RUN_STATE_JUDGING), Facts(True, PROMOTE)) is Step.LOADING


def test_a_run_judged_bad_ends_without_being_loaded() -> None:
    assert next_step(a_run(events.RUN_STATE_JUDGING), Facts(True, REFUSE)) is Step.DONE


def test_a_run_killed_after_its_promotion_only_ends() -> None:
    assert next_step(a_run(events.RUN_STATE_LOADING), Facts(True, PROMOTE, decided=True)) is Step.DONE


def test_a_run_killed_before_its_promotion_loads_again() -> None:
    assert next_step(a_run(events.RUN_STATE_LOADING), Facts(True, PROMOTE)) is Step.LOADING


@pytest.mark.parametrize("state", [events.RUN_STATE_SNAPSHOT, events.RUN_STATE_TRAINING, events.RUN_STATE_LOADING])
def test_a_run_that_cannot_go_on_fails_wherever_it_is(state: "events.RunState") -> None:
    assert next_step(a_run(state), Facts(True, PROMOTE, failure="disk full")) is Step.FAILED


def test_a_new_run_lays_the_callers_overrides_over_the_tasks() -> None:
    run = begin(a_task(), {"epochs": 2, "lr": 0.1}, Numbers("7", snapshot=3, student_version=4), NOON)
    assert run.config == '{"from": "tiny", "epochs": 2, "lr": 0.1}'
    assert (run.snapshot, run.student_version, run.state) == (3, 4, events.RUN_STATE_SNAPSHOT)


def test_a_key_within_a_key_leaves_its_neighbours() -> None:
    assert laid_over({"lora": {"rank": 16, "alpha": 32}}, {"lora.rank": 8}) == {"lora": {"rank": 8, "alpha": 32}}


def test_an_empty_section_is_there_and_takes_nothing_away() -> None:
    assert laid_over({"from": "tiny", "lora": {"rank": 16}}, {"lora": {}, "dpo": {}}) == {
        "from": "tiny",
        "lora": {"rank": 16},
        "dpo": {},
    }


def test_a_clock_that_goes_back_does_not_make_an_event_older() -> None:
    run = advanced(a_run(), Step.TRAINING, NOON)
    later = advanced(run, Step.JUDGING, NOON - timedelta(hours=1))
    assert later.updated_at.ToNanoseconds() > run.updated_at.ToNanoseconds()


def test_a_task_has_one_run_at_a_time_and_its_oldest_first() -> None:
    runs = [a_run(run_id="2"), a_run(run_id="1"), a_run(events.RUN_STATE_DONE, "0")]
    assert [run.id for run in to_carry_on(runs, going=(), at_once=9)] == ["1"]
    assert to_carry_on(runs, going=("1",), at_once=9) == []


def test_tasks_share_the_places_that_there_are() -> None:
    runs = [a_run(run_id="1", task="a"), a_run(run_id="2", task="b"), a_run(run_id="3", task="c")]
    assert [run.id for run in to_carry_on(runs, going=("1",), at_once=2)] == ["2"]


@pytest.mark.parametrize(
    ("counts", "named"),
    [
        (Counts(0, 2, 3, 0), "train candidate"),
        (Counts(1, 0, 3, 0), "eval candidate"),
    ],
)
def test_what_is_lacking_is_named(counts: Counts, named: str) -> None:
    assert named in lacking(a_task(), counts)


def test_nothing_is_lacking_where_all_is_there() -> None:
    assert lacking(a_task(), ENOUGH) == ""


def test_a_teacher_that_forbids_it_is_not_trained_on() -> None:
    teacher = a_task().teacher.model_copy(update={"may_be_trained_on": False})
    task = a_task().model_copy(update={"teacher": teacher})
    assert "may_be_trained_on" in lacking(task, ENOUGH)
    assert lacking(task, Counts(10, 2, 3, uncorrected=0)) == ""


def test_a_threshold_of_zero_starts_nothing() -> None:
    assert not may_be_due(a_task(), [])
    assert may_be_due(a_task(sampling={"run_at_candidates": 100}), [])


def test_no_second_run_is_due_while_one_goes_on() -> None:
    task = a_task(sampling={"run_at_candidates": 100})
    assert not may_be_due(task, [a_run()])
    assert may_be_due(task, [a_run(task="another"), a_run(events.RUN_STATE_DONE)])


def test_numbers_are_never_taken_twice() -> None:
    assert next_number([]) == 1
    assert next_number([3, 1]) == 4


def test_the_newest_versions_and_those_in_use_are_kept() -> None:
    assert superfluous([1, 2, 3, 4, 5, 6], needed={2}, newest=2) == [1, 3, 4]
    assert superfluous([1, 2], needed=set(), newest=5) == []
