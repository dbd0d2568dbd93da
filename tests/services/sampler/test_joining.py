"""Exchanges and feedback, in whatever order they come."""

import itertools

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.sampler.joining import Joiner
from services.sampler.memory import Kind, Memory
from tests.services.sampler.makers import PROVES, a_task, an_exchange, feedback

LATER_CORRECTION = '{"street": "Main"}'


def a_joiner(max_count: int = 1000) -> tuple[Joiner, Memory]:
    memory = Memory({}, max_count, max_age_s=100.0)
    return Joiner({"address": a_task()}, memory), memory


def folded(*messages: events.Exchange | events.FeedbackRecord) -> dict[str, events.Candidate]:
    """What the table shows in the end: the latest candidate of each id."""
    joiner, _ = a_joiner()
    return {made.id: made for now_s, message in enumerate(messages) for made in joiner.take(message, 0, now_s)}


def test_an_exchange_is_decided_at_once():
    assert folded(an_exchange())["e1"].answer == '{"street": "Main St"}'


def test_order_does_not_matter():
    events_ = [an_exchange(), feedback(rating=-1.0, at_s=1), feedback(correction=LATER_CORRECTION, at_s=2)]
    for order in itertools.permutations(events_):
        made = folded(*order)["e1"]
        assert (made.answer, made.corrected, made.excluded) == (LATER_CORRECTION, True, False)


def test_the_later_of_two_corrections_wins_whichever_comes_first():
    old, new = feedback(correction="{}", at_s=1), feedback(correction=LATER_CORRECTION, at_s=2)
    for order in itertools.permutations([an_exchange(), old, new]):
        assert folded(*order)["e1"].answer == LATER_CORRECTION


def test_a_bad_rating_takes_the_candidate_back():
    assert folded(an_exchange(), feedback(rating=-1.0))["e1"].excluded


def test_a_good_rating_confirms_the_answer():
    made = folded(an_exchange(), feedback(rating=1.0))["e1"]
    assert (made.corrected, made.answer) == (True, '{"street": "Main St"}')


def test_a_rating_that_was_taken_back_excludes_no_longer():
    assert not folded(an_exchange(), feedback(rating=-1.0, at_s=1), feedback(rating=0.5, at_s=2))["e1"].excluded


def test_a_blank_correction_is_none():
    assert not folded(an_exchange(), feedback(correction="  "))["e1"].corrected


def test_the_same_question_is_chosen_once():
    assert set(folded(an_exchange("e1"), an_exchange("e2"))) == {"e1"}


def test_a_redelivered_exchange_is_not_its_own_duplicate():
    joiner, _ = a_joiner()
    for now_s in (1.0, 2.0):
        (made,) = joiner.take(an_exchange(), 0, now_s)
        assert (made.id, made.excluded) == ("e1", False)


def test_a_correction_takes_the_place_of_the_teachers_answer_to_the_same_question():
    made = folded(an_exchange("e1"), an_exchange("e2"), feedback("e2", correction="{}"))
    assert (made["e1"].excluded, made["e2"].excluded, made["e2"].answer) == (True, False, "{}")


def test_one_persons_correction_does_not_take_anothers_away():
    said = [feedback("e1", correction="{}"), feedback("e2", correction=LATER_CORRECTION)]
    made = folded(an_exchange("e1"), an_exchange("e2"), *said)
    assert not made["e1"].excluded
    assert not made["e2"].excluded


def test_a_golden_exchange_makes_nothing_whatever_is_said_of_it():
    assert folded(an_exchange(group_key=PROVES), feedback(correction="{}"), feedback(rating=-1.0)) == {}


def test_feedback_on_a_forgotten_exchange_waits_for_it():
    joiner, memory = a_joiner()
    list(joiner.take(an_exchange(), 0, 0.0))
    memory.forget_old(now_s=101.0)
    assert list(joiner.take(feedback(correction="{}"), 0, 101.0)) == []
    (made,) = joiner.take(an_exchange(), 0, 102.0)
    assert made.corrected


def test_the_students_attempts_are_not_remembered():
    joiner, memory = a_joiner()
    exchange = an_exchange()
    exchange.attempts.add(backend=inference.BACKEND_STUDENT).message.content = "long"
    list(joiner.take(exchange, 0, 0.0))
    assert b"long" not in (memory.get(Kind.EXCHANGE, "e1") or b"")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (an_exchange(id=""), "exchange without id"),
        (feedback(""), "feedback without exchange_id"),
        (an_exchange(task="nowhere"), "task 'nowhere' is not defined; defined are address"),
    ],
)
def test_what_can_not_be_used_is_a_bad_event(message, reason):
    joiner, _ = a_joiner()
    with pytest.raises(BadEvent) as refused:
        list(joiner.take(message, 0, 0.0))
    assert refused.value.reason == reason
