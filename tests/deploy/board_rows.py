"""What the board is shown: exchanges that came twice, failed, were answered at the second try, or are missing."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference

NOON: Final = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())
TASK: Final = "address-extraction"


def exchange(number: int, second: int, sequence: int, **given: Any) -> events.Exchange:
    """One that the teacher answered in a second for a cent, but for what is given."""
    backend = given.get("backend", inference.BACKEND_TEACHER)
    outcome = given.get("outcome", events.OUTCOME_ANSWERED)
    made = events.Exchange(id=_id(number), source="gateway-1", sequence=sequence, outcome=outcome)
    made.request.task = given.get("task", TASK)
    made.started_at.seconds = made.finished_at.seconds = NOON + second
    if refusal := given.get("refusal"):
        made.attempts.add(backend=inference.BACKEND_STUDENT, refusal=refusal)
    if outcome == events.OUTCOME_ANSWERED:
        made.reply.answered_by, made.reply.message.content = backend, "the answer"
        made.reply.cost_usd, made.reply.timings.total_us = given.get("cost_usd", "0.01"), given.get("us", 1_000_000)
    else:
        made.attempts.add(backend=inference.BACKEND_TEACHER, cost_usd="0.002")
    return made


def _id(number: int) -> str:
    return f"019b79d5-5000-7000-8000-{number:012d}"


def feedback(number: int, of: int, **said: Any) -> events.FeedbackRecord:
    made = events.FeedbackRecord(id=_id(number), exchange_id=_id(of), task=TASK, **said)
    made.created_at.seconds = NOON + 600
    return made


STUDENT: Final = inference.BACKEND_STUDENT
TWICE = exchange(1, 10, 1)
EXCHANGES = [
    TWICE,
    exchange(2, 20, 2, backend=STUDENT, cost_usd="0.0001", us=100_000),
    exchange(3, 30, 3, us=1_200_000, cost_usd="0.0102", refusal="covers: 'Main' is in no field"),
    exchange(4, 70, 4, outcome=events.OUTCOME_FAILED),
    exchange(5, 80, 5, outcome=events.OUTCOME_CANCELLED),
    exchange(5, 85, 6),  # The caller sent it again, and now it was answered.
    exchange(6, 40, 9, task="another"),  # Its source's 7 and 8 are nowhere.
    TWICE,
]
WRONG = feedback(101, of=1, correction="another answer")
FEEDBACK = [
    WRONG,
    WRONG,
    feedback(102, of=3, correction="the answer"),  # The user wrote what was answered: no error.
    feedback(103, of=2, rating=1.0),
]


def _run(seconds: int, state: events.RunState, **more: Any) -> events.Run:
    run = events.Run(id="run-1", task=TASK, state=state, snapshot=1, student_version=3, **more)
    run.updated_at.seconds = NOON + seconds
    return run


def promotion() -> events.Promotion:
    made = events.Promotion(id="p-1", task=TASK, student_version=3, decided_by="controller", reason="fewer errors")
    made.policy.kind, made.previous_policy.kind = events.POLICY_KIND_CASCADE, events.POLICY_KIND_TEACHER_ONLY
    made.decided_at.seconds = NOON + 900
    return made


REPORT: Final = {
    "golden": 500,
    "teacher": {"error": 0.11},
    "student": {"error": 0.14},
    "cascade": {"error": 0.04, "error_low": 0.026, "error_high": 0.061},
    "error_ceiling": 0.08,
}
RUNS = [
    _run(700, events.RUN_STATE_TRAINING),
    _run(900, events.RUN_STATE_DONE, promoted=True, reason="fewer errors", report=json.dumps(REPORT)),
]
