"""What pairs and calls make of the claims that a ramp is decided by."""

from dataclasses import replace

import pytest

from services.controller.evidence import Aim, climb, guards
from services.controller.history import Standing
from services.controller.pairs import Calls, Complaints
from services.controller.ramp import Claim
from services.ramp import Ramp
from services.tasks import Task
from tests.services.controller.test_worth import ALONE, CASCADE, GOLDEN, PAIR
from tests.services.controller.world import NOON, a_task

AT = Standing(0.05, NOON, 0)


def aim(**changes: object) -> Aim:
    task: Task = a_task(ramp={}, **changes)
    assert task.ramp is not None
    return Aim(task, task.ramp, ALONE)


def named(claims: list[Claim], begin: str) -> Claim:
    return next(claim for claim in claims if claim.told.startswith(begin))


def test_peoples_word_proves_by_the_difference_and_is_held_to_the_ceiling() -> None:
    made = climb(aim(), "", AT, [GOLDEN, GOLDEN, PAIR])
    assert (made.proof.sample.n, made.proof.sample.mean, made.proof.bound) == (2, -1, 0.02)
    assert [(limit.told, limit.sample.mean, limit.bound) for limit in made.limits] == [("wrong", 0, 0.09)]


def test_the_teachers_word_proves_by_what_is_unlike_it_where_the_task_says_so() -> None:
    made = climb(aim(proof="teacher"), "", AT, [PAIR, replace(PAIR, agreed=True)])
    assert (made.proof.sample.n, made.proof.sample.mean, made.proof.bound) == (2, 0.5, 0.09)
    assert made.limits == (), "people said nothing"


def test_where_the_teachers_word_proves_peoples_may_still_speak_against_it() -> None:
    wrong = replace(GOLDEN, teacher=GOLDEN.student, student=GOLDEN.teacher)
    [limit] = climb(aim(proof="teacher"), "", AT, [wrong] * 3).limits
    assert (limit.sample.mean, limit.bound) == (1, 0.02)


def test_a_cascade_is_judged_by_what_it_keeps() -> None:
    unsure = replace(GOLDEN, confidence=-9.0)
    assert climb(replace(aim(), way=CASCADE), "", AT, [GOLDEN, unsure]).proof.sample.mean == -0.5


def test_guards_count_the_students_calls() -> None:
    claims = guards(aim(), [], [Calls(10, 1, 2, 5, 3), Calls(10, 0, 1, 0, 0)], [])
    assert named(claims, "calls without").sample.mean == pytest.approx(1 / 20)
    assert named(claims, "answers refused").sample.mean == pytest.approx(3 / 20)
    late = named(claims, "answers after 10,000 ms")
    assert late.sample.mean == pytest.approx(3 / 20)
    assert late.bound == 0.01


def test_bounds_of_time_are_the_ramps_where_it_has_any() -> None:
    strict = replace(aim(), ramp=Ramp.model_validate({"guards": {"p95_ms": 200, "p99_ms": 900}}))
    claims = guards(strict, [], [Calls(10, 0, 0, 5, 3)], [])
    assert (named(claims, "answers after 200 ms").sample.mean, named(claims, "answers after 200 ms").bound) == (
        0.5,
        0.05,
    )
    assert named(claims, "answers after 900 ms").sample.mean == pytest.approx(0.3)


def test_what_a_call_costs_is_rounded_in_the_students_favour() -> None:
    cost = named(guards(aim(), [PAIR], [], []), "of the teacher's cost")
    assert (cost.sample.mean, cost.bound) == (1 / 16, 1.0), "0.1 is between 1/16 and 2/16"


def test_complaints_are_held_against_what_callers_say_of_the_teacher() -> None:
    usual = named(guards(aim(), [], [], [Complaints(0, 0, 5, 1_000)]), "answers that callers").bound
    assert 0.055 < usual < 0.08, "the teacher's upper end, and five points"
    assert named(guards(aim(), [], [], []), "answers that callers").bound > 1, "nothing to compare with breaks nothing"


def test_a_guard_without_a_call_is_not_broken() -> None:
    assert not any(claim.broken(0.05) for claim in guards(aim(), [], [], []))
