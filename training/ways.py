"""Three ways of answering the golden set, the teacher's, the student's and the cascade's, and what each is worth; pure.

A cascade's latency is the student's, and the teacher's on top where it is asked. An example that was not timed counts
with the time of one that stands at the same place by answer length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from training import intervals, labels, scoring
from training.answers import Answer
from training.contract import Amount, Job, Score
from training.data import Row
from training.scoring import Flags


@dataclass(frozen=True)
class Way:
    """One way of answering the golden set: per example, what it said and what that took."""

    answers: Sequence[str]
    wrong: Flags
    latency_ms: Sequence[float]
    seen_ms: Sequence[Sequence[float]]
    """Independent samples whose means add up to the mean latency: fewer were timed than have a time."""
    cost_usd: Sequence[Decimal]
    prompt_tokens: Sequence[int]
    completion_tokens: Sequence[int]
    teacher_share: float


def _wrong(job: Job, golden: Sequence[Row], said: Sequence[str]) -> Flags:
    pairs = zip(golden, said, strict=True)
    return np.array([not scoring.right(job.answer_kind, row["truth"], answer) for row, answer in pairs], dtype=bool)


def teacher(job: Job, golden: Sequence[Row]) -> Way:
    """As the exchanges with the teacher recorded it."""
    said = [row["teacher_answer"] for row in golden]
    latency_ms = [row["teacher_latency_us"] / 1000 for row in golden]
    return Way(
        answers=said,
        wrong=_wrong(job, golden, said),
        latency_ms=latency_ms,
        seen_ms=[latency_ms],
        cost_usd=[Decimal(row["teacher_cost_usd"]) for row in golden],
        prompt_tokens=[row["teacher_prompt_tokens"] for row in golden],
        completion_tokens=[row["teacher_completion_tokens"] for row in golden],
        teacher_share=1.0,
    )


def student(job: Job, golden: Sequence[Row], said: Sequence[Answer], timed_ms: Sequence[float]) -> Way:
    """As the engine answered, at the prices of the task. `timed_ms`: what some of the answers took."""
    read, write = job.student_input_usd_per_million, job.student_output_usd_per_million
    return Way(
        answers=[answer.text for answer in said],
        wrong=_wrong(job, golden, [answer.text for answer in said]),
        latency_ms=spread(timed_ms, said),
        seen_ms=[timed_ms],
        cost_usd=[(read * answer.prompt_tokens + write * answer.completion_tokens) / 1_000_000 for answer in said],
        prompt_tokens=[answer.prompt_tokens for answer in said],
        completion_tokens=[answer.completion_tokens for answer in said],
        teacher_share=0.0,
    )


def cascade(student: Way, teacher: Way, kept: Flags) -> Way:
    """The student is always asked and paid; the teacher on top where the student's answer is not kept."""
    pairs = list(zip(student.answers, teacher.answers, kept, strict=True))
    asked = [int(not keep) for keep in kept]
    waited_ms = [b * ask for b, ask in zip(teacher.latency_ms, asked, strict=True)]
    return Way(
        answers=[ours if keep else theirs for ours, theirs, keep in pairs],
        wrong=np.where(kept, student.wrong, teacher.wrong),
        latency_ms=[a + b for a, b in zip(student.latency_ms, waited_ms, strict=True)],
        seen_ms=[*student.seen_ms, waited_ms],
        cost_usd=[a + b * ask for a, b, ask in zip(student.cost_usd, teacher.cost_usd, asked, strict=True)],
        prompt_tokens=[a + b * k for a, b, k in zip(student.prompt_tokens, teacher.prompt_tokens, asked, strict=True)],
        completion_tokens=[
            a + b * ask for a, b, ask in zip(student.completion_tokens, teacher.completion_tokens, asked, strict=True)
        ],
        teacher_share=float(np.mean(asked)),
    )


def score(job: Job, golden: Sequence[Row], way: Way, teacher: Way) -> Score:
    """The way's figures over the golden set, and what it saves beside the teacher."""
    error, low, high = scoring.error_interval(way.wrong)
    latency_ms = scoring.quantiles(way.latency_ms)
    truths = [row["truth"] for row in golden]
    return Score(
        error=error,
        error_low=low,
        error_high=high,
        p50_ms=latency_ms[50],
        p99_ms=latency_ms[99],
        usd_per_million=float(1_000_000 * sum(way.cost_usd) / len(way.cost_usd)),
        prompt_tokens=float(np.mean(way.prompt_tokens)),
        completion_tokens=float(np.mean(way.completion_tokens)),
        teacher_share=way.teacher_share,
        fields=scoring.fields(truths, way.answers) if job.answer_kind == "json" else {},
        labels=labels.each(truths, way.answers) if job.answer_kind == "label" else {},
        confusion=labels.confusion(truths, way.answers) if job.answer_kind == "label" else [],
        kinds=scoring.kinds(way.wrong, [row["kind"] for row in golden]),
        latency_quantiles_ms=latency_ms,
        cost=intervals.amount(_per_million(way.cost_usd)),
        mean_ms=intervals.amount(*way.seen_ms),
        saved=_saved(way, teacher),
    )


def _saved(way: Way, teacher: Way) -> Amount:
    """Of the same requests, and so below 0 where the way is the dearer one."""
    pairs = zip(teacher.cost_usd, way.cost_usd, strict=True)
    gap = intervals.mean_interval(_per_million([theirs - ours for theirs, ours in pairs]))
    known = math.isfinite(gap.low)  # of one request alone nothing is
    return Amount(value=gap.difference, low=gap.low if known else None, high=gap.high if known else None)


def _per_million(usd: Sequence[Decimal]) -> list[float]:
    return [float(1_000_000 * one) for one in usd]


def spread(latency_ms: Sequence[float], said: Sequence[Answer]) -> list[float]:
    """A latency for every answer, from those of some: the longer the answer, the longer the time it is given."""
    order = sorted(range(len(said)), key=lambda index: said[index].completion_tokens)
    times = sorted(latency_ms)
    spread = [0.0] * len(said)
    for place, index in enumerate(order):
        spread[index] = times[place * len(times) // len(order)]
    return spread
