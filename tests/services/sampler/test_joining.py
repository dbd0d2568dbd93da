"""Exchanges and feedback, in whatever order they come."""

import itertools

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.sampler.joining import Joiner
from services.sampler.memory import Kind, Memory
from services.sampler.sampling import fingerprint
from services.tasks import Task
from tests.services.sampler.makers import PROVES, a_task, an_exchange, feedback

LATER_CORRECTION = '{"street": "Main"}'


def a_joiner(max_count: int = 1000) -> tuple[Joiner, Memory]:
    return a_joiner_of(a_task(), max_count)


def a_joiner_of(task: Task, max_count: int = 1000) -> tuple[Joiner, Memory]:
    memory = Memory({}, max_count, max_age_s=100.0)
    return Joiner({"address": task}, memory), memory


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


def test_that_the_student_began_the_answer_is_remembered():
    joiner, _ = a_joiner()
    exchange = an_exchange()
    exchange.attempts.add(backend=inference.BACKEND_TEACHER, resumed_characters=7)
    assert list(joiner.take(exchange, 0, 0.0)) == []
    assert list(joiner.take(feedback(rating=1.0), 0, 1.0)) == []


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


LONG = (
    "The parcel is for the people at number {} of the road that runs along the river, behind the second bridge as you"
    " come from the station, in the town that they call Main St, and nobody knows who had that idea a hundred years ago"
)


def chosen(*messages: events.Exchange | events.FeedbackRecord, in_stream: bool = True) -> list[str]:
    joiner, _ = a_joiner_of(a_task(sampling={"near_duplicates_in_stream": in_stream}))
    return list({made.id: made for message in messages for made in joiner.take(message, 0, 1.0)})


def test_nearly_the_same_question_with_the_same_answer_is_chosen_once_where_the_task_wants_it():
    asked = [an_exchange(f"e{n}", LONG.format(n)) for n in (7, 8, 9)]
    assert chosen(*asked) == ["e7"]
    assert chosen(*asked, in_stream=False) == ["e7", "e8", "e9"]


def test_with_another_answer_or_a_persons_word_it_is_chosen_again():
    other = an_exchange("e8", LONG.format(8), '{"street": "Main St", "city": "town"}')
    assert chosen(an_exchange("e7", LONG.format(7)), other) == ["e7", "e8"]
    judged = [an_exchange("e9", LONG.format(9)), feedback("e9", rating=1.0)]
    assert chosen(an_exchange("e7", LONG.format(7)), *judged) == ["e7", "e9"]


def test_of_each_sort_so_many_are_kept_a_day():
    joiner, _ = a_joiner_of(a_task(sampling={"strata": {"per_day": 20}}))
    often = [an_exchange(f"a{n}", f"{n * 7919} Main St") for n in range(500)]
    rarely = [an_exchange(f"b{n}", f"{n * 104729} Main St", f'{{"number": "{n * 104729}"}}') for n in range(1, 11)]
    made = [one for exchange in (*often, *rarely) for one in joiner.take(exchange, 0, 1.0)]
    sorts = [one.stratum for one in made]
    assert sorts.count("number") == 10
    assert 20 < sorts.count("street") < 150
    assert sum(1 / one.probability for one in made if one.stratum == "street") == pytest.approx(500, rel=0.4)


def test_what_was_kept_stays_kept_with_its_probability_whatever_comes_after():
    joiner, _ = a_joiner_of(a_task(sampling={"strata": {"per_day": 5}}))
    made = {}
    for number in range(200):
        for one in joiner.take(an_exchange(f"a{number}", f"{number * 7919} Main St"), 0, 1.0):
            made[one.id] = one
    rarest = min(made.values(), key=lambda one: one.probability)
    assert rarest.probability < 0.2
    for one in (rarest, made["a0"]):
        [again] = joiner.take(feedback(one.id, rating=0.0), 0, 2.0)
        assert (again.probability, again.reason) == (one.probability, one.reason)


def test_what_older_versions_remembered_of_a_question_is_understood():
    joiner, memory = a_joiner()
    [made] = joiner.take(an_exchange(), 0, 1.0)
    mark = fingerprint(a_task(), an_exchange().request)
    memory.put(Kind.QUESTION, mark, b"e1", 0, 2.0)
    [again] = joiner.take(an_exchange(), 0, 3.0)
    assert (again.id, again.probability) == (made.id, 1.0)
    assert list(joiner.take(an_exchange("e2"), 0, 4.0)) == []
