"""What a pair of answers says of the student, as sentences."""

from dataclasses import replace

import pytest

from protos import events_pb2 as events
from services.controller.worth import Errors, Pair, costs, differs, errors, kept
from tests.services.controller.world import NOON

ALONE = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)
CASCADE = events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=-0.5)
RIGHT, WRONG = '{"a": 1}', '{"a": 2}'
PAIR = Pair(
    kind="",
    at=NOON,
    shown="teacher",
    agreed=False,
    silent=False,
    refusal="",
    confidence=-0.1,
    truth=None,
    golden=False,
    audited=True,
    rating=None,
    teacher=WRONG,
    student=RIGHT,
    teacher_usd=0.01,
    student_usd=0.001,
)
GOLDEN = replace(PAIR, truth='{"a":1}', golden=True, audited=False)


def difference(pair: Pair, way: events.Policy = ALONE) -> int | None:
    found = errors(pair, way, "drawn")
    return found.difference if found else None


def test_both_are_compared_with_the_right_answer_by_what_it_means() -> None:
    assert errors(GOLDEN, ALONE, "drawn") == Errors(teachers=True, ways=False)
    assert difference(GOLDEN) == -1
    assert difference(replace(GOLDEN, teacher=RIGHT, student=WRONG)) == 1
    assert difference(replace(GOLDEN, teacher=RIGHT)) == 0


@pytest.mark.parametrize("refused", [{"refusal": "grounded: 2 is not in the input"}, {"silent": True, "student": ""}])
def test_an_answer_that_would_not_be_kept_is_the_teachers(refused: dict[str, object]) -> None:
    pair = replace(GOLDEN, **refused)  # type: ignore[arg-type]
    assert errors(pair, ALONE, "drawn") == Errors(teachers=True, ways=True)
    assert not differs(pair, ALONE)


def test_a_cascade_keeps_what_is_sure_enough() -> None:
    assert kept(PAIR, CASCADE)
    assert not kept(replace(PAIR, confidence=-0.6), CASCADE)
    assert not kept(replace(PAIR, confidence=None), CASCADE)
    assert not kept(PAIR, events.Policy(kind=events.POLICY_KIND_CASCADE)), "0 keeps nothing"
    assert difference(replace(GOLDEN, confidence=-0.6), CASCADE) == 0


@pytest.mark.parametrize(
    ("shown", "rating", "agreed", "expected"),
    [
        ("teacher", 1.0, True, 0),
        ("teacher", 1.0, False, 1),  # what the caller saw was right, so another answer is wrong
        ("teacher", -1.0, True, 0),
        ("teacher", -1.0, False, 0),  # nobody knows of the student's, so it counts as wrong, too
        ("student", 1.0, False, -1),
        ("student", 1.0, True, 0),
        ("student", -1.0, False, 1),  # nobody knows of the teacher's, so it counts as right
        ("student", -1.0, True, 0),
        ("teacher", 0.0, False, None),
        ("teacher", None, False, None),
    ],
)
def test_a_rating_tells_of_what_was_shown(shown: str, rating: float | None, agreed: bool, expected: int | None) -> None:
    pair = replace(PAIR, shown=shown, rating=rating, agreed=agreed)  # type: ignore[arg-type]
    assert difference(pair) == expected


def test_what_callers_complained_of_by_themselves_does_not_count_unless_it_is_to() -> None:
    complained = replace(PAIR, truth=RIGHT, audited=False)
    assert errors(complained, ALONE, "drawn") is None
    assert errors(complained, ALONE, "all") == Errors(teachers=True, ways=False)
    assert errors(replace(complained, audited=True), ALONE, "drawn") is not None


def test_a_call_that_the_teacher_is_asked_behind_costs_both() -> None:
    assert costs(PAIR, ALONE) == pytest.approx(0.1)
    assert costs(replace(PAIR, silent=True), ALONE) == pytest.approx(1.1)
    assert costs(replace(PAIR, student_usd=1.0), ALONE) == 2
    assert costs(replace(PAIR, teacher_usd=0.0), ALONE) is None
