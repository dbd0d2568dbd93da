"""What a ramp decides, as sentences."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protos import events_pb2 as events
from services.controller.confidence import Sample
from services.controller.ramp import Claim, Climb, Decision, Move, decide, level_of_try, share_at, stage
from services.ramp import Ramp
from tests.services.controller.world import NOON, a_task

RAMP = Ramp(margin=0.02, least_pairs=100, least_s=600)
ALONE = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)
CASCADE = events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=-0.5)
GOOD, BAD, TERRIBLE = [-1, 0, 0, 0] * 100, [1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 1] * 60, [1, 0] * 100


def a_climb(values: list[int], share: float = 0.05, **changes: Any) -> Climb:
    proof = Claim("more wrong than the teacher", Sample.of(values, -1, 1), RAMP.margin, "points")
    return replace(Climb("", share, NOON - timedelta(hours=1), 0, proof), **changes)


def decided(*climbs: Climb, guards: tuple[Claim, ...] = (), final: events.Policy = ALONE) -> Decision:
    return decide(RAMP, final, climbs, guards, NOON)


def guard(part: float, *, hard: bool = False) -> Claim:
    return Claim(
        "answers refused", Sample.of([1] * round(100 * part) + [0] * round(100 - 100 * part), 0, 1), 0.1, hard=hard
    )


def a_share(policy: events.Policy | None) -> float:
    assert policy is not None
    assert policy.kind == events.POLICY_KIND_SHARE
    return policy.share


def test_a_good_student_goes_up_one_stage() -> None:
    decision = decided(a_climb(GOOD))
    assert (decision.move, a_share(decision.policy)) == (Move.ADVANCE, 0.25)
    assert decision.reason == ("5 % -> 25 %, more wrong than the teacher -25.0 points [-32.4, -18.9] of 400, 2 allowed")


def test_at_the_end_it_gets_what_the_report_supports() -> None:
    decision = decided(a_climb(GOOD, 0.25), final=CASCADE)
    assert (decision.move, decision.policy) == (Move.FINISH, CASCADE)


def test_on_the_way_a_cascade_is_one_already() -> None:
    policy = decided(a_climb(GOOD, 0.0), final=CASCADE).policy
    assert policy == events.Policy(kind=events.POLICY_KIND_SHARE, share=0.01, min_confidence=-0.5)


def test_few_pairs_are_waited_for() -> None:
    decision = decided(a_climb(GOOD[:60]))
    assert (decision.move, decision.policy) == (Move.HOLD, None)
    assert decision.reason.startswith("5 %, waits for 40 more pairs: more wrong than the teacher -25.0 points")


def test_the_least_time_is_waited_for() -> None:
    decision = decided(a_climb(GOOD, since=NOON - timedelta(seconds=100)))
    assert decision.reason.startswith("5 %, waits for 500 s more")


def test_what_is_not_sure_stays() -> None:
    decision = decided(a_climb([0, 0, 1, -1] * 50))
    assert decision.reason.startswith("5 %, not sure yet: more wrong than the teacher 0.0 points [")


def test_where_there_are_too_many_pairs_to_settle_it_a_person_must_decide() -> None:
    assert "so a person must decide" in decided(a_climb(GOOD, crowded=True)).reason


def test_a_worse_student_goes_back_one_stage() -> None:
    decision = decided(a_climb(BAD, 0.25))
    assert (decision.move, a_share(decision.policy)) == (Move.ROLL_BACK, 0.05)
    assert decision.reason.startswith("25 % -> 5 %, surely too much: more wrong than the teacher 8.3 points [")


def test_a_much_worse_one_goes_back_unseen() -> None:
    decision = decided(a_climb(TERRIBLE, 0.25))
    assert (decision.move, decision.policy) == (
        Move.ROLL_BACK,
        events.Policy(kind=events.POLICY_KIND_SHADOW, share=1.0),
    )


def test_unseen_it_can_go_back_no_further() -> None:
    assert decided(a_climb(TERRIBLE, 0.0)).move is Move.HOLD


def test_at_the_end_it_is_still_watched() -> None:
    assert decided(a_climb(GOOD, 1.0)).move is Move.HOLD
    assert a_share(decided(a_climb(BAD, 1.0)).policy) == 0.25


def test_more_wrong_answers_than_the_ceiling_take_it_back_although_the_teacher_is_no_better() -> None:
    wrong = Claim("wrong", Sample.of([1, 0, 0] * 50, 0, 1), 0.09)
    decision = decided(a_climb(GOOD, limits=(wrong,)))
    assert decision.move is Move.ROLL_BACK
    assert "surely too much: wrong 33.3 %" in decision.reason


def test_each_kind_climbs_by_itself() -> None:
    decision = decided(a_climb(GOOD, kind="short"), a_climb([], 0.0, kind="long"))
    assert decision.policy is not None
    assert dict(decision.policy.share_of_kind) == {"short": 0.25, "long": 0.0}
    assert decision.policy.share == 0.0
    assert decision.reason.startswith("kind short: 5 % -> 25 %, ")
    assert decision.reason.endswith(
        "; kind long: unseen, waits for 100 more pairs: more wrong than the teacher: nothing yet"
    )


def test_while_one_kind_goes_back_no_other_goes_up() -> None:
    decision = decided(a_climb(GOOD, kind="short"), a_climb(TERRIBLE, kind="long"))
    assert decision.policy is not None
    assert dict(decision.policy.share_of_kind) == {"short": 0.05, "long": 0.0}


def test_others_have_their_own_share_where_they_climb_too() -> None:
    decision = decided(a_climb(GOOD, kind="short"), a_climb([], 0.01))
    assert decision.policy is not None
    assert (dict(decision.policy.share_of_kind), decision.policy.share) == ({"short": 0.25}, 0.01)


def test_one_kind_left_behind_keeps_the_rest_a_share() -> None:
    decision = decided(a_climb(GOOD, 0.25, kind="short"), a_climb([], 0.0, kind="long"))
    assert decision.move is Move.ADVANCE
    assert decision.policy is not None
    assert dict(decision.policy.share_of_kind) == {"short": 1.0, "long": 0.0}


def test_a_kind_that_was_set_back_too_often_goes_unseen_and_stays_there() -> None:
    assert decided(a_climb(BAD, 0.25, setbacks=2)).policy == events.Policy(kind=events.POLICY_KIND_SHADOW, share=1.0)
    decision = decided(a_climb(GOOD, 0.0, setbacks=3))
    assert decision.reason.startswith("unseen, set back 3 times, so another student or a person must come")


def test_each_further_try_must_be_surer_and_all_together_use_up_alpha() -> None:
    levels = [level_of_try(0.05, setbacks) for setbacks in range(60)]
    assert levels == sorted(levels, reverse=True)
    assert sum(levels) == pytest.approx(0.05)


def test_a_broken_guard_takes_all_kinds_back() -> None:
    decision = decided(a_climb(GOOD, 0.25, kind="short"), a_climb(GOOD, 0.01, kind="long"), guards=(guard(0.5),))
    assert decision.policy is not None
    assert dict(decision.policy.share_of_kind) == {"short": 0.05, "long": 0.0}
    assert decision.reason.startswith(
        "kind short: 25 % -> 5 %; kind long: 1 % -> unseen, as a guard is broken: answers refused 50.0 % ["
    )


def test_a_hard_guard_leaves_the_teacher_alone() -> None:
    decision = decided(a_climb(GOOD), guards=(guard(0.5, hard=True),))
    assert decision.policy == events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY)


def test_a_guard_is_not_broken_by_bad_luck() -> None:
    assert decided(a_climb(GOOD), guards=(guard(0.13),)).move is Move.ADVANCE


def test_unseen_a_broken_guard_only_keeps_it_where_it_is() -> None:
    decision = decided(a_climb(GOOD, 0.0), guards=(guard(0.5, hard=True),))
    assert (decision.move, decision.policy) == (Move.HOLD, None)
    assert decision.reason.startswith("nothing goes up while a guard is broken")


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=200), st.sampled_from((0.0, *RAMP.stages)), st.integers(0, 3))
def test_without_enough_evidence_nothing_moves(values: list[int], share: float, setbacks: int) -> None:
    """The simulations ask only where the evidence is enough."""
    climb = a_climb(values, share, setbacks=setbacks)
    up = climb.proof.holds(level_of_try(RAMP.alpha, setbacks)) and len(values) >= RAMP.least_pairs
    down = climb.proof.broken(RAMP.alpha) and share > 0
    if not (up and setbacks <= RAMP.setbacks and share < 1) and not down:
        assert decided(climb).policy is None


def test_a_share_between_two_stages_is_at_the_lower() -> None:
    assert [share_at(RAMP, stage(RAMP, share)) for share in (0, 0.005, 0.01, 0.1, 1)] == [0, 0, 0.01, 0.05, 1]


@pytest.mark.parametrize("stages", [[], [0.5], [0.0, 1.0], [0.5, 0.1, 1.0], [0.1, 0.1, 1.0]])
def test_stages_that_do_not_ascend_to_all_are_refused(stages: list[float]) -> None:
    with pytest.raises(ValidationError, match="must ascend from above 0 to 1"):
        Ramp(stages=tuple(stages))


def test_a_ramp_of_texts_is_refused_as_they_can_not_be_compared() -> None:
    with pytest.raises(ValidationError, match="ramp: needs answers that can be compared"):
        a_task(answer="text", ramp={})
