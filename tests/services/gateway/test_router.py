"""Who is asked, for how long, and what is kept."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.router import Budget, keep, plan, student_budget_s, tool_calls, without_restart
from services.tasks import answer_text
from tests.services.gateway.examples import a_promotion, a_request, a_task, an_attempt

AMPLE = Budget(remaining_s=10.0, teacher_needs_s=1.5)
TEACHER, STUDENT = inference.BACKEND_TEACHER, inference.BACKEND_STUDENT
SECONDS = some.floats(0, 100)
STUDENT_POLICIES = (events.POLICY_KIND_STUDENT_ONLY, events.POLICY_KIND_CASCADE)
ANY_POLICY = events.Policy(kind=events.POLICY_KIND_STUDENT_ONLY)


def asked(promotion: events.Promotion | None, **fields: object) -> list[inference.Backend]:
    return [step.backend for step in plan(a_task(), promotion, a_request(**fields), "an id", AMPLE).steps]


def cascade(least: float) -> events.Policy:
    return events.Policy(kind=events.POLICY_KIND_CASCADE, min_confidence=least)


def test_without_a_promotion_only_the_teacher_is_asked():
    assert asked(None) == [TEACHER]


def test_a_promotion_to_the_teacher_asks_only_the_teacher():
    assert asked(a_promotion(events.POLICY_KIND_TEACHER_ONLY)) == [TEACHER]


@pytest.mark.parametrize("kind", STUDENT_POLICIES)
def test_the_student_is_asked_first_and_the_teacher_stands_behind_it(kind: events.PolicyKind):
    assert asked(a_promotion(kind)) == [STUDENT, TEACHER]


def test_who_can_not_take_text_back_hears_no_student_whom_the_teacher_may_follow():
    both = plan(a_task(), a_promotion(events.POLICY_KIND_STUDENT_ONLY), a_request(), "an id", AMPLE)
    alone = plan(a_task(), None, a_request(), "an id", AMPLE)
    assert [step.streams for step in both.steps] == [True, True]
    assert [step.streams for step in without_restart(both).steps] == [False, True]
    assert without_restart(alone) == alone


@pytest.mark.parametrize("kind", STUDENT_POLICIES)
def test_a_promotion_without_a_student_version_asks_only_the_teacher(kind: events.PolicyKind):
    assert asked(a_promotion(kind, version=0)) == [TEACHER]


def test_a_policy_of_a_newer_controller_asks_only_the_teacher():
    assert asked(a_promotion(99)) == [TEACHER]  # type: ignore[arg-type]


def test_where_the_student_has_a_share_it_stands_behind_the_teacher_and_is_given_time():
    promotion = a_promotion(events.POLICY_KIND_SHARE, share=1e-9)
    teacher, student = plan(a_task(), promotion, a_request(), "an id", AMPLE).steps
    assert (teacher.backend, teacher.first_by_s, teacher.until_s) == (TEACHER, 8.0, 10.0)  # The student has 2 s.
    assert (student.backend, student.until_s) == (STUDENT, 10.0)


@pytest.mark.parametrize("kind", [events.POLICY_KIND_TEACHER_ONLY, events.POLICY_KIND_SHADOW, 99])
def test_a_student_that_answers_nobody_does_not_stand_in_for_the_teacher_either(kind: events.PolicyKind):
    assert asked(a_promotion(kind, share=0.5)) == [TEACHER]
    assert asked(a_promotion(events.POLICY_KIND_SHARE, share=0.0)) == [TEACHER]


def test_a_student_that_has_no_share_of_a_kind_does_not_stand_in_for_it():
    promotion = a_promotion(events.POLICY_KIND_SHARE, share=1e-9)
    promotion.policy.share_of_kind["hard"] = 0.0
    assert asked(promotion, metadata={"kind": "hard"}) == [TEACHER]
    assert asked(promotion, metadata={"kind": "easy"}) == [TEACHER, STUDENT]


def test_an_empty_answer_of_the_teacher_is_not_kept_unless_it_was_cut():
    def verdict(finish: inference.Finish) -> str:
        return keep(a_task(), ANY_POLICY, a_request(), an_attempt(" \n", backend=TEACHER, finish=finish)).why

    assert verdict(inference.FINISH_STOP) == "empty: no text"
    assert verdict(inference.FINISH_CONTENT_FILTER) == ""


@given(some.text(), some.floats(0, 1))
def test_a_group_is_always_asked_of_the_same(group_key: str, share: float):
    promotion = a_promotion(events.POLICY_KIND_SHARE, share=share)
    assert asked(promotion, group_key=group_key) == asked(promotion, group_key=group_key)


@given(some.text(min_size=1), some.floats(0, 1), some.floats(0, 1))
def test_a_group_that_the_student_has_keeps_it_when_the_share_grows(group_key: str, one: float, other: float):
    smaller, larger = sorted((one, other))
    if asked(a_promotion(events.POLICY_KIND_SHARE, share=smaller), group_key=group_key)[0] == STUDENT:
        assert asked(a_promotion(events.POLICY_KIND_SHARE, share=larger), group_key=group_key)[0] == STUDENT


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_student_gets_its_share_of_the_groups(share: float):
    promotion = a_promotion(events.POLICY_KIND_SHARE, share=share)
    groups = 4_000
    students = sum(asked(promotion, group_key=f"group {number}")[0] == STUDENT for number in range(groups))
    assert students / groups == pytest.approx(share, abs=0.03)  # Four standard deviations of a fair draw.


def test_without_a_group_key_the_exchange_decides():
    promotion = a_promotion(events.POLICY_KIND_SHARE, share=0.5)
    plans = [plan(a_task(), promotion, a_request(), f"exchange {number}", AMPLE) for number in range(50)]
    assert {each.steps[0].backend for each in plans} == {TEACHER, STUDENT}


@given(SECONDS, SECONDS, some.floats(0.001, 100))
def test_nobody_is_asked_past_the_deadline(remaining_s: float, teacher_needs_s: float, timeout_s: float):
    student = {**a_task().student.model_dump(), "timeout_s": timeout_s}
    promotion = a_promotion(events.POLICY_KIND_CASCADE)
    made = plan(a_task(student=student), promotion, a_request(), "an id", Budget(remaining_s, teacher_needs_s))
    assert all(step.until_s <= remaining_s for step in made.steps)


@given(SECONDS, SECONDS, some.floats(0.001, 100))
def test_the_student_never_gets_more_than_its_timeout(remaining_s: float, teacher_needs_s: float, timeout_s: float):
    assert student_budget_s(timeout_s, Budget(remaining_s, teacher_needs_s)) <= timeout_s


def test_the_student_leaves_the_teacher_what_it_needs():
    assert student_budget_s(5.0, Budget(remaining_s=4.0, teacher_needs_s=1.5)) == 2.5


def test_the_student_gets_all_where_the_teacher_could_not_answer_anyway():
    assert student_budget_s(5.0, Budget(remaining_s=0.2, teacher_needs_s=1.5)) == 0.2


def test_the_student_gets_a_quarter_where_the_teacher_needs_nearly_all():
    assert student_budget_s(5.0, Budget(remaining_s=2.0, teacher_needs_s=1.9)) == 0.5


def test_a_cascades_student_is_not_streamed_before_it_is_judged():
    student, teacher = plan(a_task(), a_promotion(events.POLICY_KIND_CASCADE), a_request(), "an id", AMPLE).steps
    assert (student.streams, teacher.streams) == (False, True)


def test_a_student_that_may_call_tools_is_not_streamed_since_a_call_is_no_text():
    request = a_request(tools=[inference.Tool(name="look")])
    student, _teacher = plan(a_task(), a_promotion(events.POLICY_KIND_STUDENT_ONLY), request, "an id", AMPLE).steps
    assert not student.streams


def test_an_answer_as_sure_as_the_threshold_is_kept():
    assert keep(a_task(), cascade(-0.5), a_request(), an_attempt(confidence=-0.5)).kept


def test_a_less_sure_answer_is_not_kept():
    verdict = keep(a_task(), cascade(-0.5), a_request(), an_attempt(confidence=-0.51))
    assert (verdict.kept, verdict.why) == (False, "confidence: -0.51 below -0.50")


def test_an_answer_without_a_confidence_is_not_kept_by_a_cascade():
    assert keep(a_task(), cascade(-0.5), a_request(), an_attempt()).why == "confidence: the student gave none"


def test_an_answer_that_a_validator_refuses_is_not_kept_however_sure():
    task = a_task(validators=[{"kind": "one_of", "values": ["yes", "no"]}])
    assert keep(task, cascade(-0.5), a_request(), an_attempt("maybe", confidence=0.0)).why.startswith("one_of")


def test_an_empty_answer_is_not_kept():
    assert keep(a_task(validators=[]), ANY_POLICY, a_request(), an_attempt(" ")).why == "empty: no text"


def test_an_answer_cut_at_the_tasks_limit_is_not_kept():
    verdict = keep(a_task(), ANY_POLICY, a_request(), an_attempt(finish=inference.FINISH_LENGTH))
    assert verdict.why.startswith("length: cut")


def test_an_answer_cut_where_the_caller_wanted_is_kept():
    request = a_request(sampling=inference.Sampling(max_tokens=3))
    assert keep(a_task(), ANY_POLICY, request, an_attempt(finish=inference.FINISH_LENGTH)).kept


SCHEMA = json.dumps({"type": "object", "required": ["city"]})


@pytest.mark.parametrize("backend", [STUDENT, TEACHER])
def test_an_answer_that_does_not_satisfy_the_requests_schema_is_not_kept(backend: inference.Backend):
    request = a_request(response_schema=SCHEMA)
    assert keep(a_task(), ANY_POLICY, request, an_attempt('{"city":"Rome"}', backend=backend)).kept
    for finish in (inference.FINISH_STOP, inference.FINISH_UNSPECIFIED):
        refused = keep(a_task(), ANY_POLICY, request, an_attempt("{}", backend=backend, finish=finish))
        assert refused.why.startswith("json_schema")


def test_the_teachers_answer_needs_no_validator():
    task = a_task(validators=[{"kind": "one_of", "values": ["yes", "no"]}])
    assert keep(task, ANY_POLICY, a_request(), an_attempt("maybe", backend=TEACHER)).kept


def tool_call(name: str, arguments: str) -> events.Attempt:
    call = inference.ToolCall(id="call_1", name=name, arguments=arguments)
    return an_attempt(message=inference.Message(tool_calls=[call]), finish=inference.FINISH_TOOL_CALLS)


def test_a_students_tool_call_must_be_of_the_requests_tools_with_arguments_that_fit():
    request = a_request(tools=[inference.Tool(name="look", parameters=SCHEMA)])
    task = a_task(validators=[])
    assert keep(task, ANY_POLICY, request, tool_call("look", '{"city":"Rome"}')).kept
    assert "none of the request's" in keep(task, ANY_POLICY, request, tool_call("buy", "{}")).why
    assert "json_schema" in keep(task, ANY_POLICY, request, tool_call("look", "{}")).why


def test_tool_calls_are_read_back_from_the_text_that_a_student_learns():
    message = tool_call("look", '{"city":"Rome"}').message
    assert tool_calls(answer_text(message)) == list(message.tool_calls)


@given(some.text())
def test_any_other_text_is_no_tool_call(text: str):
    assert tool_calls(text) == []


@pytest.mark.parametrize("text", ['{"tool_calls":[1]}', '{"tool_calls":1}', '{"tool_calls":[{"name":1}]}', "[]"])
def test_a_malformed_tool_call_is_none(text: str):
    assert tool_calls(text) == []
