"""Who is asked, for how long, and whether the answer is kept. Pure: values in, values with their reasons out.

A request with tools or with a `response_schema` goes the same way as any other: the student may try, and its answer is
checked against them before it is kept. That costs at most the student's budget and never a wrong answer.
"""

import json
from math import inf
from typing import Final, NamedTuple

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import validators
from services.gateway.schemas import schema_refusal
from services.gateway.shares import is_cascade, place, students_share
from services.tasks import Task, answer_text, question

_SAYS_ALL: Final = frozenset({inference.FINISH_STOP, inference.FINISH_UNSPECIFIED})
LEAST_STUDENT_PART: Final = 0.25
"""Of the time that remains, where the teacher could fit: below it asking the student would be for show."""

ALWAYS: Final = {events.POLICY_KIND_STUDENT_ONLY: "student only", events.POLICY_KIND_CASCADE: "cascade"}
NEVER: Final = {
    events.POLICY_KIND_TEACHER_ONLY: "teacher only",
    events.POLICY_KIND_SHADOW: "shadow: the teacher answers",
}


class Budget(NamedTuple):
    """The seconds that remain to the deadline, and what the teacher typically takes of them."""

    remaining_s: float
    teacher_needs_s: float


class Step(NamedTuple):
    """One backend to ask. It has until `until_s` seconds after the plan was made."""

    backend: inference.Backend
    until_s: float
    streams: bool  # Whether its text may reach the caller before the answer is judged.
    first_by_s: float = inf  # When the next is asked if nothing has come of it, though it has time.


class Plan(NamedTuple):
    """The steps in order: the next is taken where the one before brought nothing that is kept."""

    steps: tuple[Step, ...]
    why: str
    policy: events.Policy
    student_version: int


class Verdict(NamedTuple):
    """Whether an answer goes to the caller, and why or why not, for people; a refusal starts with its kind."""

    kept: bool
    why: str


def plan(
    task: Task, promotion: events.Promotion | None, request: inference.Request, exchange_id: str, budget: Budget
) -> Plan:
    """Who is asked about `request`, given what serves its task. The same group_key, else id, is asked of the same."""
    asks_student, why = _asks_student(task, promotion, request, exchange_id)
    teacher = Step(inference.BACKEND_TEACHER, budget.remaining_s, streams=True)
    if promotion is None or not (asks_student or _may_stand_in(promotion, request)):
        return Plan((teacher,), why, events.Policy(kind=events.POLICY_KIND_TEACHER_ONLY), 0)
    until_s = student_budget_s(task.student.timeout_s, budget) if asks_student else budget.remaining_s
    may_stream = not is_cascade(promotion.policy) and not request.tools
    student = Step(inference.BACKEND_STUDENT, until_s, streams=may_stream)
    first_by_s = until_s - behind_s(task, budget.remaining_s)
    steps = (student, teacher) if asks_student else (teacher._replace(first_by_s=first_by_s), student)
    return Plan(steps, why, promotion.policy, promotion.student_version)


def _may_stand_in(promotion: events.Promotion, request: inference.Request) -> bool:
    """Whether the student may answer where the teacher fails: only where it already answers others of that kind.

    Not under `teacher_only` or `shadow`: there it is not proven, or has been taken back for its faults.
    """
    serves = promotion.policy.kind == events.POLICY_KIND_SHARE and students_share(promotion.policy, request) > 0
    return serves and promotion.student_version > 0


def without_restart(plan: Plan) -> Plan:
    """The same for a caller who can't take text back: a student's goes out only once it is kept, if any other follows.

    A teacher's is kept unless it breaks, so it goes out as it is written.
    """
    *before, last = plan.steps
    held = [step._replace(streams=step.streams and step.backend == inference.BACKEND_TEACHER) for step in before]
    return plan._replace(steps=(*held, last))


def _asks_student(
    task: Task, promotion: events.Promotion | None, request: inference.Request, exchange_id: str
) -> tuple[bool, str]:
    if promotion is None or not promotion.student_version:
        return False, "teacher only: no student is promoted"
    match promotion.policy.kind:
        case events.POLICY_KIND_STUDENT_ONLY | events.POLICY_KIND_CASCADE as always:
            return True, ALWAYS[always]
        case events.POLICY_KIND_SHARE:
            at, share = place(task, request, exchange_id), students_share(promotion.policy, request)
            return at < share, f"share: {at:.3f} against {share:.3f}"
        case events.POLICY_KIND_TEACHER_ONLY | events.POLICY_KIND_SHADOW as never:
            return False, NEVER[never]
        case unknown:
            return False, f"teacher only: this gateway does not know policy {unknown}"


def student_budget_s(timeout_s: float, budget: Budget) -> float:
    """The seconds the student gets: its timeout, less where the teacher would not fit behind it.

    Where the teacher could not answer in what remains anyway, the student gets all of it.
    """
    if budget.remaining_s <= budget.teacher_needs_s:
        return min(timeout_s, budget.remaining_s)
    left_over_s = budget.remaining_s - budget.teacher_needs_s
    return min(timeout_s, max(left_over_s, budget.remaining_s * LEAST_STUDENT_PART))


def behind_s(task: Task, left_s: float) -> float:
    """What the teacher leaves of so much time to the student that stands behind it."""
    return min(task.student.timeout_s, left_s * LEAST_STUDENT_PART)


def keep(task: Task, policy: events.Policy, request: inference.Request, attempt: events.Attempt) -> Verdict:
    """Whether an answer goes to the caller. The teacher's need only say something and satisfy the request's schema."""
    if attempt.backend == inference.BACKEND_TEACHER:
        nothing = attempt.finish in _SAYS_ALL and not answer_text(attempt.message).strip()
        refusal = "empty: no text" if nothing else _schema_refusal(request, attempt)
        return Verdict(not refusal, refusal)
    refusal = student_refusal(task, request, attempt)
    if refusal:
        return Verdict(False, refusal)
    if is_cascade(policy):
        return _sure_enough(policy.min_confidence, attempt)
    return Verdict(True, "the student's answer is valid")


def _sure_enough(least: float, attempt: events.Attempt) -> Verdict:
    if not attempt.HasField("confidence"):
        return Verdict(False, "confidence: the student gave none")
    if least < 0 and attempt.confidence >= least:  # 0 keeps nothing, in the proof as here
        return Verdict(True, f"confidence {attempt.confidence:.2f} not below {least:.2f}")
    return Verdict(False, f"confidence: {attempt.confidence:.2f} below {least:.2f}")


def student_refusal(task: Task, request: inference.Request, attempt: events.Attempt) -> str:
    """Why a student's answer must not be kept under any policy; '' if it may."""
    text = answer_text(attempt.message)
    if attempt.finish == inference.FINISH_LENGTH and not _caller_cut(task, request):
        return f"length: cut at {attempt.usage.completion_tokens} tokens"
    return (
        validators.refusal(task.validators, question(request), text)
        or _schema_refusal(request, attempt)
        or _tools_refusal(request, attempt.message)
    )


def _caller_cut(task: Task, request: inference.Request) -> bool:
    """Whether the caller asked for fewer tokens than the student may write, and so gets what he asked for."""
    return request.sampling.HasField("max_tokens") and request.sampling.max_tokens < task.student.max_tokens


def _schema_refusal(request: inference.Request, attempt: events.Attempt) -> str:
    # A cut or withheld answer and a tool call are no answers yet; their finish tells the caller so.
    if not request.response_schema or attempt.finish not in _SAYS_ALL:
        return ""
    return schema_refusal(request.response_schema, attempt.message.content)


def _tools_refusal(request: inference.Request, message: inference.Message) -> str:
    schemas = {tool.name: tool.parameters or "{}" for tool in request.tools}
    for call in message.tool_calls:
        if call.name not in schemas:
            return f"tools: {call.name[:64]!r} is none of the request's"
        if refusal := schema_refusal(schemas[call.name], call.arguments):
            return f"tools: {call.name}: {refusal}"
    return ""


def tool_calls(text: str) -> list[inference.ToolCall]:
    """The tool calls that a student wrote as text, in the form of `services.tasks.answer_text`; none if it did not."""
    try:
        calls = json.loads(text)["tool_calls"]
        return [
            inference.ToolCall(id=f"call_{number}", name=call["name"], arguments=call["arguments"])
            for number, call in enumerate(calls, start=1)
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
