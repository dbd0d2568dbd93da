"""What judged calls change of a cascade: its threshold, or whether it serves at all."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from protos import events_pb2 as events
from services.controller.calibration import Calibration, Judged, Outcome, at, calibrate
from services.controller.judged import judge
from services.controller.recalibrating import CONTROLLER, Recalibrating
from services.controller.recalibration import TAKEN_BACK, change, concerns
from services.errors import Overloaded
from services.tasks import Cascade, Task
from tests.services.controller.world import World, a_task
from tests.services.gateway.examples import until

TARGET = Cascade(risk=0.04)
GOOD, BAD, UNSURE = (
    Judged(-0.01, False, False, 1e-6, 0.03),
    Judged(-0.01, True, False, 1e-6, 0.03),
    Judged(-1.0, True, False, 1e-6, 0.03),
)


def serving(kind: events.PolicyKind, least: float = -0.5, reason: str = "") -> events.Promotion:
    policy = events.Policy(kind=kind, min_confidence=least)
    return events.Promotion(task="labels", policy=policy, student_version=1, reason=reason)


CASCADE = serving(events.POLICY_KIND_CASCADE)
SHADOWED = serving(events.POLICY_KIND_SHADOW, reason=f"{TAKEN_BACK}it erred")


def changed(rows: list[Judged], current: events.Promotion = CASCADE) -> Any:
    found = calibrate(rows, TARGET, first=-0.5)
    return change(current, found, at(rows, TARGET, current.policy.min_confidence))


def test_only_cascades_and_what_was_taken_back_for_their_sake_are_looked_at():
    assert concerns(CASCADE)
    assert concerns(SHADOWED)
    assert not concerns(serving(events.POLICY_KIND_SHADOW, reason="by the ramp"))
    assert not concerns(serving(events.POLICY_KIND_STUDENT_ONLY))
    assert not concerns(events.Promotion(policy=events.Policy(kind=events.POLICY_KIND_CASCADE)))


def test_a_threshold_that_may_keep_more_is_moved():
    made = changed([GOOD] * 400 + [Judged(-2.0, False, False, 1e-6, 0.03)] * 40)
    assert made.policy.kind == events.POLICY_KIND_CASCADE
    assert made.policy.min_confidence == pytest.approx(-20)
    assert not made.sets_back
    assert made.reason.startswith("cascade from confidence -20")


def test_a_threshold_that_keeps_too_much_is_moved_back():
    made = changed([GOOD] * 400 + [UNSURE] * 60, serving(events.POLICY_KIND_CASCADE, -3.0))
    assert -1.0 < made.policy.min_confidence < -0.01
    assert made.sets_back


def test_a_change_that_hardly_any_call_would_notice_is_not_made():
    assert changed([GOOD] * 400 + [Judged(-2.0, False, False, 1e-6, 0.03)] * 4) is None


def test_too_few_calls_leave_the_cascade_that_the_report_proved():
    assert changed([GOOD] * 20) is None
    assert changed([]) is None


def test_a_cascade_that_surely_errs_too_much_is_taken_back_and_the_student_goes_on_unseen():
    made = changed([GOOD] * 80 + [BAD] * 20)
    assert made.policy.kind == events.POLICY_KIND_SHADOW
    assert made.sets_back
    assert made.reason.startswith(f"{TAKEN_BACK}at most 0.04 of all answers wrong with 0.95 confidence can't be met")


def test_what_was_taken_back_comes_again_once_the_target_is_shown():
    assert changed([GOOD] * 80 + [BAD] * 20, SHADOWED) is None
    assert changed([GOOD] * 400, SHADOWED).policy.kind == events.POLICY_KIND_CASCADE


def a_row(**changes: Any) -> dict[str, Any]:
    fields = {
        "confidence": -0.2,
        "refusal": "",
        "student": '{"a": 1}',
        "teacher": '{"a":1}',
        "agreed": True,
        "answered_by": "teacher",
        "rating": None,
        "truth": None,
        "student_usd": 1e-6,
        "teacher_usd": 0.03,
    }
    return fields | changes


@pytest.mark.parametrize(
    ("known", "student", "teacher"),
    [
        ({"truth": '{ "a": 1 }'}, False, False),
        ({"truth": '{"a": 2}'}, True, True),
        ({"truth": '{"a": 2}', "teacher": '{"a": 2}', "agreed": False}, True, False),
        ({"rating": 1.0}, False, False),
        ({"rating": -1.0}, True, True),
        ({"rating": 1.0, "agreed": False}, True, False),
        ({"rating": 1.0, "agreed": False, "answered_by": "student"}, False, True),
        ({"rating": -1.0, "agreed": False}, True, True),
    ],
)
def test_what_is_not_known_of_one_of_the_two_counts_against_it(known: dict[str, Any], student: bool, teacher: bool):
    judged = judge(a_row(**known), by_teacher=False)
    assert judged is not None
    assert (judged.student_wrong, judged.teacher_wrong) == (student, teacher)


@pytest.mark.parametrize("rating", [None, 0.0])
def test_of_what_nobody_judged_nothing_is_known(rating: float | None):
    assert judge(a_row(rating=rating), by_teacher=False) is None


def test_with_the_teachers_word_for_the_truth_to_differ_is_to_be_wrong():
    judged = judge(a_row(agreed=False), by_teacher=True)
    assert judged == Judged(-0.2, True, False, 1e-6, 0.03)


@pytest.mark.parametrize("changes", [{"refusal": "one_of: no"}, {"student": "", "agreed": None}])
def test_an_answer_that_may_not_be_kept_has_no_confidence(changes: dict[str, Any]):
    judged = judge(a_row(truth="x", **changes), by_teacher=False)
    assert judged is not None
    assert judged.confidence is None


@dataclass
class FakeCalls:
    """Judged calls as the test scripts them."""

    rows: list[Judged] = field(default_factory=list)
    noted: list[Calibration] = field(default_factory=list)
    away: bool = False

    def judged(self, task: Task, version: int, now: datetime) -> list[Judged]:
        if self.away:
            raise Overloaded("ClickHouse can't be used now")
        return self.rows

    def note(self, current: events.Promotion, found: Calibration, now: datetime) -> None:
        self.noted.append(found)


@pytest.fixture
def calls() -> FakeCalls:
    return FakeCalls()


@pytest.fixture
def aiming(tmp_path: Path) -> World:
    """A controller of a task with a target."""
    return World(tmp_path, a_task(cascade={"risk": 0.04})).filled()


async def looked(world: World, calls: FakeCalls, recalibrating: Recalibrating | None = None) -> Recalibrating:
    task = world.tasks["labels"]
    made = recalibrating or Recalibrating(world.tasks, world.state, world.desk, calls, world.actions.now)
    assert task.cascade
    await made.look(task, task.cascade)
    return made


async def test_judgements_move_the_threshold_that_serves_and_the_way_back_stays(aiming: World, calls: FakeCalls):
    run = await aiming.a_run()
    before = aiming.state.promotion("labels")
    calls.rows = [GOOD] * 400 + [Judged(-2.0, False, False, 1e-6, 0.03)] * 40
    await looked(aiming, calls)
    now = aiming.state.promotion("labels")
    assert now.policy.min_confidence < before.policy.min_confidence
    assert (now.student_version, now.run_id, now.decided_by) == (1, run.id, CONTROLLER)
    assert now.previous_policy == before.previous_policy
    assert aiming.promotions()[-1].reason == calls.noted[0].reason


async def test_a_cascade_that_errs_goes_back_to_the_teacher_and_comes_again(aiming: World, calls: FakeCalls):
    await aiming.a_run()
    calls.rows = [GOOD] * 80 + [BAD] * 20
    recalibrating = await looked(aiming, calls)
    assert aiming.state.promotion("labels").policy.kind == events.POLICY_KIND_SHADOW
    calls.rows = [GOOD] * 400
    await looked(aiming, calls, recalibrating)
    assert aiming.state.promotion("labels").policy.kind == events.POLICY_KIND_CASCADE
    assert [found.outcome for found in calls.noted] == [Outcome.UNREACHABLE, Outcome.MET]


async def test_what_says_nothing_new_is_neither_noted_nor_promoted_again(aiming: World, calls: FakeCalls):
    await aiming.a_run()
    calls.rows = [GOOD] * 400
    recalibrating = await looked(aiming, calls)
    decided = len(aiming.promotions())
    await looked(aiming, calls, recalibrating)
    assert (len(calls.noted), len(aiming.promotions())) == (1, decided)


async def test_a_persons_decision_in_between_stands(aiming: World, calls: FakeCalls):
    await aiming.a_run()
    calls.rows = [GOOD] * 400 + [Judged(-2.0, False, False, 1e-6, 0.03)] * 40
    async with aiming.desk.deciding:
        looking = asyncio.create_task(looked(aiming, calls))
        await until(lambda: calls.noted)
        await aiming.desk.roll_back(aiming.state.promotion("labels"), "complaints", "ann")
    await looking
    assert aiming.state.promotion("labels").decided_by == "ann"


async def test_without_a_cascade_nobody_looks(aiming: World, calls: FakeCalls):
    calls.away = True
    await looked(aiming, calls)


async def test_clickhouse_being_away_is_said_and_the_next_look_comes(aiming: World, calls: FakeCalls):
    await aiming.a_run()
    calls.away = True
    recalibrating = Recalibrating(aiming.tasks, aiming.state, aiming.desk, calls, aiming.actions.now)
    with structlog.testing.capture_logs() as logs:
        going_on = asyncio.create_task(recalibrating.go_on(0.001))
        await until(lambda: len([log for log in logs if log["event"] == "will calibrate later"]) > 1)
        calls.away = False
        await until(lambda: calls.noted)
        going_on.cancel()


async def test_without_targets_there_is_nothing_to_go_on_with(world: World, calls: FakeCalls):
    await Recalibrating(world.tasks, world.state, world.desk, calls, world.actions.now).go_on(60)
