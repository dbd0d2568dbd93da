"""How far each kind has come, from the promotions so far, and which of them a ramp may change."""

from datetime import timedelta

import pytest

from protos import events_pb2 as events
from services.controller.history import reign, standing
from services.controller.promotions import Decision, promote, roll_back, set_back, unpromoted
from services.controller.recalibration import TAKEN_BACK
from services.controller.takeover import CONTROLLER, climbing, entered, succeeded, way_on
from tests.services.controller.world import NOON, a_task

SHADOW = events.Policy(kind=events.POLICY_KIND_SHADOW)
ALL = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)
CASCADE = events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=-0.5)
TEACHER = events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY)


def a_share(share: float, **kinds: float) -> events.Policy:
    return events.Policy(kind=events.POLICY_KIND_SHARE, share=share, share_of_kind=kinds)


def history(*policies: events.Policy, version: int = 3, by: str = CONTROLLER) -> list[events.Promotion]:
    """Promotions of one student, an hour each."""
    run = events.Run(id="run", student_version=version)
    made = [unpromoted("labels")]
    for number, policy in enumerate(policies):
        decision = Decision(str(number), "for the test", by, NOON + timedelta(hours=number))
        made.append(promote(made[-1], policy, run, decision))
    return made[1:]


def test_a_kind_stands_where_its_share_last_changed() -> None:
    made = history(SHADOW, a_share(0.01, short=0.01), a_share(0.01, short=0.05), a_share(0.05, short=0.05))
    assert standing(made, "short").share == 0.05
    assert standing(made, "short").since == NOON + timedelta(hours=2)
    assert standing(made, "").since == NOON + timedelta(hours=3)


def test_what_never_changed_stands_since_the_student_came() -> None:
    made = history(SHADOW, a_share(0.01, long=0.0), a_share(0.05, long=0.0))
    assert standing(made, "long").since == NOON
    assert standing(made, "long").share == 0


def test_another_threshold_begins_anew_but_is_no_setback() -> None:
    surer = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.05, min_confidence=-0.1)
    made = history(SHADOW, a_share(0.05), surer)
    assert (standing(made, "").since, standing(made, "").setbacks) == (NOON + timedelta(hours=2), 0)


def test_a_climb_ends_with_the_threshold_in_force() -> None:
    surer = events.Policy(kind=events.POLICY_KIND_SHARE, share=0.05, min_confidence=-0.1)
    kind = events.POLICY_KIND_CASCADE
    assert way_on(history(surer)[0], CASCADE) == events.Policy(kind=kind, min_confidence=-0.1)
    assert way_on(history(ALL)[0], CASCADE) == CASCADE
    assert way_on(history(surer)[0], ALL) == ALL


def test_each_way_back_is_a_setback() -> None:
    made = history(SHADOW, a_share(0.01), a_share(0.05), a_share(0.01), a_share(0.05), SHADOW)
    assert standing(made, "").setbacks == 2


def test_whoever_answers_all_has_every_kind() -> None:
    for policy in (ALL, CASCADE):
        assert standing(history(a_share(0.25), policy), "any").share == 1


def test_only_the_latest_students_promotions_count() -> None:
    made = [*history(SHADOW, ALL, version=2), *history(SHADOW, version=3)]
    assert [one.student_version for one in reign(made)] == [3]
    assert reign([]) == []


def test_a_ramp_may_change_what_the_controller_decided() -> None:
    assert climbing(history(SHADOW))
    assert climbing(history(SHADOW, a_share(0.01)))
    assert climbing(history(ALL))


def test_a_person_begins_a_ramp_by_asking_the_student_unseen() -> None:
    assert climbing(history(SHADOW, by="ada"))


def test_what_a_person_decided_a_ramp_leaves_alone() -> None:
    assert not climbing([*history(SHADOW, a_share(0.01)), *history(a_share(0.5), by="ada")])
    made = history(SHADOW, a_share(0.01))
    back = roll_back(made[-1], {3: "run"}, Decision("x", "no", "ada", NOON + timedelta(hours=9)))
    assert back.policy.kind == events.POLICY_KIND_SHADOW
    assert not climbing([*made, back]), "unseen again, because a person said so"


def test_a_cascade_that_was_taken_back_for_its_threshold_is_left_to_the_calibration() -> None:
    made = history(SHADOW, CASCADE, SHADOW)
    made[-1].reason = f"{TAKEN_BACK}21 of 300 were wrong"
    assert not climbing(made)


def test_without_a_student_there_is_nothing_to_change() -> None:
    assert not climbing(history(TEACHER, version=0))


def test_a_rollback_after_a_setback_is_to_the_teacher_and_not_up_again() -> None:
    made = history(SHADOW, a_share(0.05), a_share(0.25))
    decision = Decision("x", "worse", CONTROLLER, NOON + timedelta(hours=9))
    lower = set_back(made[-1], a_share(0.05), events.Run(id="run", student_version=3), decision)
    assert (lower.policy, lower.student_version) == (a_share(0.05), 3)
    assert roll_back(lower, {3: "run"}, decision).policy.kind == events.POLICY_KIND_TEACHER_ONLY


@pytest.mark.parametrize("supported", [ALL, CASCADE])
def test_a_first_student_begins_unseen_where_the_task_has_a_ramp(supported: events.Policy) -> None:
    nothing = unpromoted("labels")
    assert entered(a_task(), nothing, supported) == supported
    begun = entered(a_task(ramp={"shadow": 0.5}), nothing, supported)
    assert begun == events.Policy(kind=events.POLICY_KIND_SHADOW, share=0.5, min_confidence=supported.min_confidence)


def test_a_student_that_follows_one_that_answers_all_begins_with_all_and_falls_back_to_it() -> None:
    [before] = history(ALL, version=2)
    assert entered(a_task(ramp={}), before, CASCADE) == CASCADE
    decision = Decision("x", "better", CONTROLLER, NOON)
    after = promote(before, CASCADE, events.Run(id="run", student_version=3), decision)
    assert succeeded(after)
    assert not succeeded(before)


def test_a_student_that_follows_one_in_the_middle_of_its_ramp_begins_unseen() -> None:
    [before] = history(a_share(0.25), version=2)
    assert entered(a_task(ramp={}), before, ALL).kind == events.POLICY_KIND_SHADOW
