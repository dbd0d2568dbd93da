"""Who has a part in a call: shares that only grow, and a fair sample of what is compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from protos import events_pb2 as events
from services.gateway.router import Budget, keep, plan
from services.gateway.shares import compared
from tests.services.gateway.examples import a_promotion, a_request, a_task, an_attempt

AMPLE = Budget(remaining_s=10.0, teacher_needs_s=1.5)
SHARES = some.floats(0, 1)
SERVED = (events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_SHARE, events.POLICY_KIND_CASCADE)


def by_kind(share: float, **kinds: float) -> events.Promotion:
    policy = events.Policy(kind=events.POLICY_KIND_SHARE, share=share, share_of_kind=kinds)
    return events.Promotion(task="say", policy=policy, student_version=3)


def is_students(promotion: events.Promotion, group_key: str, kind: str = "") -> bool:
    request = a_request(group_key=group_key, metadata={"kind": kind} if kind else {})
    return len(plan(a_task(), promotion, request, "an id", AMPLE).steps) == 2


@given(some.text(min_size=1), SHARES, SHARES, SHARES)
def test_a_kind_with_a_share_of_its_own_does_not_heed_the_common_one(group: str, own: float, one: float, other: float):
    assert is_students(by_kind(one, osm=own), group, "osm") == is_students(by_kind(other, osm=own), group, "osm")


@given(some.text(min_size=1), SHARES, SHARES)
def test_kinds_without_one_have_the_common_share(group: str, own: float, share: float):
    alone = is_students(by_kind(share), group)
    assert is_students(by_kind(share, osm=own), group) == alone
    assert is_students(by_kind(share, osm=own), group, "people") == alone


@given(some.text(min_size=1), SHARES, SHARES)
def test_a_group_keeps_its_student_when_the_share_of_its_kind_grows(group: str, one: float, other: float):
    smaller, larger = sorted((one, other))
    if is_students(by_kind(0, osm=smaller), group, "osm"):
        assert is_students(by_kind(0, osm=larger), group, "osm")


def test_asking_for_a_kind_leaves_the_policy_as_it_was():
    promotion = by_kind(0.5, osm=0.1)
    before = promotion.SerializeToString(deterministic=True)
    is_students(promotion, "group", "people")
    assert promotion.SerializeToString(deterministic=True) == before


@given(some.text(min_size=1), SHARES, SHARES)
def test_a_group_that_is_compared_stays_so_and_is_the_first_to_be_the_students(group: str, one: float, other: float):
    smaller, larger = sorted((max(one, 0.001), max(other, 0.001)))
    request = a_request(group_key=group)
    shadow = [a_promotion(events.POLICY_KIND_SHADOW, share=share) for share in (smaller, larger)]
    in_smaller, in_larger = (compared(a_task(), each, request, "an id") is not None for each in shadow)
    assert in_larger or not in_smaller
    assert in_smaller == is_students(a_promotion(events.POLICY_KIND_SHARE, share=smaller), group)


def test_a_shadow_without_a_share_is_compared_in_all_calls():
    assert compared(a_task(), a_promotion(events.POLICY_KIND_SHADOW), a_request(), "an id") == 1.0


def test_under_a_shadow_the_teacher_alone_answers():
    made = plan(a_task(), a_promotion(events.POLICY_KIND_SHADOW), a_request(), "an id", AMPLE)
    assert [len(made.steps), made.why] == [1, "shadow: the teacher answers"]


@pytest.mark.parametrize("kind", SERVED)
def test_where_a_student_serves_the_tasks_share_of_the_calls_is_compared(kind: events.PolicyKind):
    task, promotion = a_task(compare={"share": 0.25}), a_promotion(kind, share=0.5)
    found = [compared(task, promotion, a_request(group_key="one customer"), f"call {n}") for n in range(4_000)]
    assert {one for one in found if one} == {0.25}
    assert sum(one is not None for one in found) / 4_000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "promotion", [None, a_promotion(events.POLICY_KIND_TEACHER_ONLY), a_promotion(events.POLICY_KIND_SHADOW, version=0)]
)
def test_without_a_student_nothing_is_compared(promotion: events.Promotion | None):
    assert compared(a_task(compare={"share": 1.0}), promotion, a_request(), "an id") is None


def test_a_share_with_a_least_confidence_is_a_cascade_for_its_part():
    policy = events.Policy(kind=events.POLICY_KIND_SHARE, share=1.0, min_confidence=-0.5)
    unsure, sure = an_attempt(confidence=-0.6), an_attempt(confidence=-0.4)
    assert not keep(a_task(), policy, a_request(), unsure).kept
    assert keep(a_task(), policy, a_request(), sure).kept
    promotion = events.Promotion(task="say", policy=policy, student_version=3)
    assert not plan(a_task(), promotion, a_request(), "an id", AMPLE).steps[0].streams


def test_a_share_without_one_keeps_what_is_valid():
    policy = events.Policy(kind=events.POLICY_KIND_SHARE, share=1.0)
    assert keep(a_task(), policy, a_request(), an_attempt(confidence=-9.0)).kept
