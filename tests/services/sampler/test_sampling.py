"""What may be trained on."""

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.sampler.sampling import KEPT, NOTHING, Past, Said, Verdict, candidate, decide, fingerprint, side
from services.topics import CUT_FROM
from tests.services.sampler.makers import PROVES, a_task, an_exchange

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = Timestamp(seconds=int(NOW.timestamp()))


def verdict(exchange: events.Exchange, said: Said = NOTHING, *, duplicate: bool = False, **task: object) -> Verdict:
    return decide(a_task(**task), exchange, said, Past(duplicate)).verdict


def test_a_whole_answer_of_the_teacher_is_chosen():
    assert verdict(an_exchange()) is Verdict.CHOSEN


def test_an_answer_that_only_calls_tools_is_whole():
    exchange = an_exchange(answer="", finish=inference.FINISH_TOOL_CALLS)
    exchange.reply.message.tool_calls.add(id="1", name="find", arguments="{}")
    assert verdict(exchange, validators=[]) is Verdict.CHOSEN


@pytest.mark.parametrize("finish", [inference.FINISH_LENGTH, inference.FINISH_CONTENT_FILTER, 0])
def test_a_truncated_answer_is_not_learnt_from(finish):
    assert verdict(an_exchange(finish=finish)) is Verdict.UNFINISHED


@pytest.mark.parametrize("end", [inference.END_TRUNCATED, inference.END_FAILED, inference.END_CANCELLED])
def test_an_answer_is_not_learnt_from_whose_end_says_that_it_is_not_complete(end):
    exchange = an_exchange(finish=inference.FINISH_STOP)
    exchange.reply.end = end
    assert verdict(exchange) is Verdict.UNFINISHED
    exchange.reply.end = inference.END_COMPLETE
    assert verdict(exchange) is Verdict.CHOSEN


def test_another_calls_answer_is_no_new_candidate_unless_a_person_says_that_it_is_right():
    exchange = an_exchange()
    exchange.reply.cached = True
    assert verdict(exchange) is Verdict.CACHED
    assert verdict(exchange, Said(rating=1.0)) is Verdict.CONFIRMED
    assert verdict(exchange, Said(correction="{}")) is Verdict.CORRECTED


def test_an_answer_that_the_student_began_is_not_learnt_from():
    exchange = an_exchange()
    exchange.attempts.add(backend=inference.BACKEND_STUDENT, refusal="stall: nothing for 0.50 s")
    exchange.attempts.add(backend=inference.BACKEND_TEACHER, resumed_characters=7)
    assert verdict(exchange, Said(rating=1.0)) is Verdict.MIXED


def test_the_students_own_answer_is_not_learnt_from_even_if_it_is_liked():
    exchange = an_exchange(answered_by=inference.BACKEND_STUDENT)
    assert verdict(exchange) is Verdict.STUDENTS_OWN
    assert verdict(exchange, Said(rating=1.0)) is Verdict.STUDENTS_OWN


def test_a_correction_of_the_students_answer_is_learnt_from():
    exchange = an_exchange(answered_by=inference.BACKEND_STUDENT)
    assert verdict(exchange, Said(correction='{"street": "Main"}')) is Verdict.CORRECTED


def test_a_correction_makes_a_failed_exchange_useful():
    assert verdict(an_exchange(outcome=events.OUTCOME_FAILED), Said(correction="{}")) is Verdict.CORRECTED


def test_a_teacher_that_forbids_training_is_obeyed_unless_a_person_wrote_the_answer():
    closed = a_task().teacher.model_copy(update={"may_be_trained_on": False}).model_dump()
    assert verdict(an_exchange(), teacher=closed) is Verdict.NOT_LICENSED
    assert verdict(an_exchange(), Said(rating=1.0), teacher=closed) is Verdict.NOT_LICENSED
    assert verdict(an_exchange(), Said(correction="{}"), teacher=closed) is Verdict.CORRECTED


def test_an_answer_that_the_validators_refuse_is_a_wrong_label():
    decision = decide(a_task(), an_exchange(answer='{"street": "Elm St"}'), NOTHING)
    assert decision.verdict is Verdict.INVALID
    assert "grounded" in decision.reason


def test_a_person_may_know_better_than_the_validators_of_content():
    assert verdict(an_exchange(), Said(correction='{"street": "Main Street"}')) is Verdict.CORRECTED
    assert verdict(an_exchange(answer='{"street": "Elm"}'), Said(rating=1.0)) is Verdict.CONFIRMED


def test_a_correction_that_is_no_answer_at_all_excludes():
    decision = decide(a_task(), an_exchange(), Said(correction="that's wrong!"))
    assert decision.verdict is Verdict.EXCLUDED
    assert "json_schema" in decision.reason


@pytest.mark.parametrize("answer", ["that's fine!", '["Main St"]', ""])
def test_praise_makes_no_answer_of_what_is_none(answer):
    decision = decide(a_task(), an_exchange(answer=answer), Said(rating=1.0))
    assert decision.verdict is Verdict.INVALID
    assert decision.reason.startswith("rated 1, and yet no answer to this task: ")


def test_a_correction_outweighs_a_bad_rating():
    assert verdict(an_exchange(), Said(rating=-1.0, correction="{}")) is Verdict.CORRECTED


def test_a_bad_rating_excludes():
    assert verdict(an_exchange(), Said(rating=-0.5)) is Verdict.EXCLUDED


def test_a_duplicate_is_dropped_unless_a_person_judged_it():
    assert verdict(an_exchange(), duplicate=True) is Verdict.DUPLICATE
    assert verdict(an_exchange(), Said(correction="{}"), duplicate=True) is Verdict.CORRECTED
    assert verdict(an_exchange(), Said(rating=1.0), duplicate=True) is Verdict.CONFIRMED


@given(st.sampled_from([0.0, -1.0, 1.0]), st.sampled_from(["", "{}"]), st.booleans())
def test_a_group_that_proves_is_never_trained_on(rating, correction, duplicate):
    said = Said(rating, correction)
    assert verdict(an_exchange(group_key=PROVES), said, duplicate=duplicate) is Verdict.GOLDEN


@given(
    st.sampled_from(events.Outcome.values()),
    st.sampled_from(inference.Finish.values()),
    st.sampled_from(inference.Backend.values()),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_what_nobody_corrected_is_kept_only_as_the_teachers_whole_answer(outcome, finish, answered_by, rating):
    exchange = an_exchange(outcome=outcome, finish=finish, answered_by=answered_by)
    whole = finish in {inference.FINISH_STOP, inference.FINISH_TOOL_CALLS}
    teachers = answered_by == inference.BACKEND_TEACHER
    expected = outcome == events.OUTCOME_ANSWERED and whole and teachers
    assert (verdict(exchange, Said(rating)) in KEPT) is expected


@given(st.text(max_size=20), st.text(), st.text(), st.sampled_from(events.Outcome.values()))
def test_the_side_of_the_wall_depends_on_the_group_alone(group, question, answer, outcome):
    one = an_exchange("a", question, answer, group_key=group or "g", outcome=outcome)
    assert side(a_task(), one) == side(a_task(), an_exchange("b", group_key=group or "g"))


def test_without_a_group_the_id_decides_the_side():
    assert side(a_task(), an_exchange(PROVES, group_key="")) == events.SPLIT_GOLDEN


def test_the_share_that_is_kept_is_the_rate_and_the_probability_says_so():
    task = a_task(sampling={"rate": 0.3}, validators=[])
    decisions = [decide(task, an_exchange(f"e{n}", f"{n} Main St"), NOTHING) for n in range(4000)]
    kept = [decision for decision in decisions if decision.verdict is Verdict.CHOSEN]
    assert {decision.verdict for decision in decisions} == {Verdict.CHOSEN, Verdict.LEFT_OUT}
    assert 0.27 < len(kept) / len(decisions) < 0.33
    assert {decision.probability for decision in kept} == {0.3}


def test_an_answer_that_the_rate_leaves_out_is_not_looked_at():
    assert verdict(an_exchange(answer="not even JSON"), sampling={"rate": 1e-12}) is Verdict.LEFT_OUT


def test_the_same_question_has_one_chance_however_often_it_is_asked():
    verdicts = {verdict(an_exchange(f"e{n}"), sampling={"rate": 0.5}) for n in range(50)}
    assert len(verdicts) == 1


def test_white_space_does_not_make_another_question():
    one, other = an_exchange(question="12  Main\nSt "), an_exchange(question="12 Main St")
    assert fingerprint(a_task(), one.request) == fingerprint(a_task(), other.request)


def test_another_task_is_another_question():
    request = an_exchange().request
    assert fingerprint(a_task(), request) != fingerprint(a_task(name="other"), request)


def test_a_transcript_task_compares_the_whole_transcript():
    task = a_task(student={**a_task().student.model_dump(), "prompt": "transcript"})
    one, other = an_exchange(question="yes").request, an_exchange(question="yes").request
    other.messages.insert(0, inference.Message(role=inference.ROLE_ASSISTANT, content="Really?"))
    assert fingerprint(task, one) != fingerprint(task, other)


def make(exchange: events.Exchange, said: Said = NOTHING) -> events.Candidate | None:
    return candidate(a_task(), exchange, said, decide(a_task(), exchange, said), MOMENT)


def test_a_candidate_carries_the_request_the_answer_and_the_teacher():
    made = make(an_exchange())
    assert made is not None
    assert (made.id, made.task, made.split) == ("e1", "address", events.SPLIT_TRAIN)
    assert made.request == an_exchange().request
    assert made.answer == made.teacher_answer == '{"street": "Main St"}'
    assert (made.teacher_model, made.corrected, made.excluded, made.probability) == ("gpt-4", False, False, 1.0)
    assert made.decided_at.ToDatetime(UTC) == NOW


def test_a_correction_takes_the_answers_place_and_keeps_the_teachers_beside_it():
    made = make(an_exchange(), Said(correction="{}"))
    assert made is not None
    assert (made.answer, made.teacher_answer, made.corrected) == ("{}", '{"street": "Main St"}', True)


def test_a_teachers_answer_that_was_not_kept_is_still_told():
    exchange = an_exchange(answered_by=inference.BACKEND_STUDENT)
    exchange.attempts.add(backend=inference.BACKEND_TEACHER, model="gpt-4o").message.content = "late"
    made = make(exchange, Said(correction="{}"))
    assert made is not None
    assert (made.teacher_answer, made.teacher_model) == ("late", "gpt-4o")


def test_nothing_is_told_of_what_was_not_chosen():
    assert make(an_exchange(outcome=events.OUTCOME_FAILED)) is None


def test_a_newer_producers_fields_survive_in_the_candidate():
    exchange = an_exchange()
    newer = exchange.request.SerializeToString() + b"\xfa\x3e\x03new"  # field 1007, which nobody here knows
    exchange.request.ParseFromString(newer)
    made = make(exchange)
    assert made is not None
    assert b"\xfa\x3e\x03new" in made.request.SerializeToString()


def test_what_was_cut_to_fit_kafka_is_not_learnt_from_whoever_corrects_it() -> None:
    exchange = an_exchange()
    exchange.request.metadata[CUT_FROM] = "5000000"
    assert verdict(exchange) is Verdict.CUT
    assert verdict(exchange, Said(correction='{"street": "Main"}')) is Verdict.CUT
    assert candidate(a_task(), exchange, NOTHING, decide(a_task(), exchange, NOTHING), MOMENT) is None
