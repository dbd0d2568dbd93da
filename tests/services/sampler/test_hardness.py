"""Hard cases: noted, over-sampled, and told with their probability."""

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.sampler.hardness import HARD, note, reasons
from services.sampler.sampling import NOTHING, Verdict, decide
from tests.services.sampler.makers import a_task, an_exchange
from tests.services.sampler.test_joining import a_joiner_of

RIGHT = '{"street": "Main St"}'


def asked_first(said: str, refusal: str, number: int = 1, question: str = "12 Main St") -> events.Exchange:
    """An exchange whose student said that, and was not heard for that."""
    exchange = an_exchange(f"e{number}", question, RIGHT)
    student = exchange.attempts.add(backend=inference.BACKEND_STUDENT, refusal=refusal, confidence=-2.0)
    student.message.content = said
    exchange.attempts.add(backend=inference.BACKEND_TEACHER)
    return exchange


@pytest.mark.parametrize(
    ("said", "refusal", "expected"),
    [
        (RIGHT, "confidence: -2.00 below -1.00", ["unsure"]),
        ('{"street":"Main St"}', "", []),
        ('{"street": "Main"}', "", ["disagreed"]),
        ("{", "json_schema: not JSON", ["refused", "disagreed"]),
        ("", "timeout: no answer within 5.00 s", []),
    ],
)
def test_what_the_student_said_makes_a_case_hard(said: str, refusal: str, expected: list[str]) -> None:
    exchange = asked_first(said, refusal)
    note(exchange)
    assert reasons(exchange.request) == expected


def test_the_beginning_of_an_answer_that_broke_off_makes_no_case_hard() -> None:
    exchange = asked_first("{", "stall: nothing for 0.50 s")
    exchange.attempts[0].end = inference.END_REPLACED
    note(exchange)
    assert reasons(exchange.request) == []


def test_what_a_student_said_unseen_makes_none() -> None:
    exchange = asked_first('{"street": "Main"}', "json_schema: not JSON")
    exchange.attempts[0].shadow = True
    note(exchange)
    assert reasons(exchange.request) == []


def test_a_caller_can_not_say_so_himself() -> None:
    exchange = an_exchange()
    exchange.request.metadata[HARD] = "disagreed"
    note(exchange)
    assert reasons(exchange.request) == []


def test_a_student_that_answers_alone_makes_no_hard_case() -> None:
    exchange = asked_first(RIGHT, "")
    exchange.reply.answered_by = inference.BACKEND_STUDENT
    note(exchange)
    assert reasons(exchange.request) == []


def test_hard_cases_are_kept_so_many_times_as_often_and_the_probability_says_so() -> None:
    task = a_task(sampling={"rate": 0.1, "hard_weight": 5})
    found = {}
    for name, refusal in (("hard", "confidence: low"), ("easy", "")):
        decisions = []
        for number in range(2_000):
            exchange = asked_first(RIGHT, refusal, question=f"{number} Main St")
            note(exchange)
            decisions.append(decide(task, exchange, NOTHING))
        found[name] = [one for one in decisions if one.verdict is Verdict.CHOSEN]
    assert {one.probability for one in found["hard"]} == {0.5}
    assert {one.probability for one in found["easy"]} == {0.1}
    assert len(found["hard"]) == pytest.approx(1_000, rel=0.1)
    assert len(found["easy"]) == pytest.approx(200, rel=0.25)
    assert found["hard"][0].reason == "the teacher's answer, kept at rate 0.5, a hard case: unsure"


def test_a_candidate_tells_its_sort_and_why_it_is_hard_also_when_it_is_told_again() -> None:
    joiner, _ = a_joiner_of(a_task(sampling={"strata": {"per_day": 100}}))
    [made] = joiner.take(asked_first('{"street": "Main"}', "confidence: low"), 0, 1.0)
    assert (made.stratum, list(made.hard)) == ("street", ["unsure", "disagreed"])
    liked = events.FeedbackRecord(id="f", exchange_id="e1", rating=1.0)
    [again] = joiner.take(liked, 0, 2.0)
    assert (again.stratum, list(again.hard), again.corrected) == ("street", ["unsure", "disagreed"], True)
