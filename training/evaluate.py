"""Measure what will be served: the exported student on the eval split and the golden set, and the cascade of both.

The threshold comes from the eval split alone; the golden set only judges. Latencies of the student are of golden
prompts asked one at a time on this machine; an example that was not timed counts with the time of one that stands at
the same place by answer length. A cascade's latency is the student's, and the teacher's on top where it is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from services.validators import refusal
from training import answers, base, data, progress, scoring, threshold
from training.answers import Answer, Done
from training.config import Config
from training.contract import Difference, Job, Mistake, Paired, Score, ThresholdRow
from training.data import Row
from training.scoring import Flags

MISTAKES = 30


@dataclass(frozen=True)
class Way:
    """One way of answering the golden set: per example, what it said and what that took."""

    answers: Sequence[str]
    wrong: Flags
    latency_ms: Sequence[float]
    cost_usd: Sequence[Decimal]
    prompt_tokens: Sequence[int]
    completion_tokens: Sequence[int]
    teacher_share: float


@dataclass(frozen=True)
class Measured:
    """What the evaluation found."""

    threshold: float
    threshold_curve: list[ThresholdRow]
    teacher: Score
    student: Score
    cascade: Score
    paired: Paired
    mistakes: list[Mistake]
    golden: int
    eval: int


def evaluate(job: Job, config: Config) -> Measured:
    """Ask the student in `<output>/triton` everything, and score it beside the teacher."""
    judged, golden = data.rows(job.dataset, "eval"), data.rows(job.dataset, "golden")
    said, latency_ms = _asked(job, config, judged, golden)
    limit, curve = threshold.choose(_judged(job, judged, said[: len(judged)]))
    student_said = said[len(judged) :]
    kept = np.array(
        [
            threshold.keeps(limit, answer.confidence, refusal(job.validators, row["question"], answer.text))
            for row, answer in zip(golden, student_said, strict=True)
        ]
    )
    teacher = _teacher(job, golden)
    student = _student(job, golden, student_said, _spread(latency_ms, student_said))
    cascade = _cascade(student, teacher, kept)
    return Measured(
        threshold=limit,
        threshold_curve=curve,
        teacher=_score(job, golden, teacher),
        student=_score(job, golden, student),
        cascade=_score(job, golden, cascade),
        paired=Paired(cascade_minus_teacher=_less(cascade, teacher), student_minus_teacher=_less(student, teacher)),
        mistakes=_mistakes(golden, student_said, student.wrong, kept),
        golden=len(golden),
        eval=len(judged),
    )


def _asked(
    job: Job, config: Config, judged: Sequence[Row], golden: Sequence[Row]
) -> tuple[list[Answer], list[float]]:
    """The answers to both splits, and the milliseconds of some golden ones, asked first, while no cache knows them."""
    tokenizer = Tokenizer.from_file(str(job.output / "triton" / "tokenizer.json"))
    limits = answers.Limits(base.end_tokens(job.output / "model"), job.max_tokens)
    engine = answers.engine(config.engine, job.output / "triton", tokenizer, limits)
    prompts = data.encode([row["prompt"] for row in [*judged, *golden]], tokenizer)
    asked = prompts[len(judged) :]
    some = asked[:: max(1, len(asked) // (config.timed_answers + 1))]
    latency_ms = answers.timed(engine, some, _told(job.output, "one at a time", len(some) - 1))
    return engine.answers(prompts, _told(job.output, "all at once", len(prompts))), latency_ms


def _told(output: Path, message: str, total: int) -> Done:
    """Writes a progress line at every twentieth of the way."""
    last = 0

    def told(done: int) -> None:
        nonlocal last
        if done - last >= total / 20 or (done == total and done > last):
            last = done
            progress.write(output, "evaluate", message=message, done=done, total=total)

    return told


def _judged(job: Job, rows: Sequence[Row], said: Sequence[Answer]) -> list[threshold.Judged]:
    return [
        threshold.Judged(
            confidence=answer.confidence,
            refused=bool(refusal(job.validators, row["question"], answer.text)),
            differs=not scoring.right(job.answer_kind, row["completion"], answer.text),
            corrected=row["corrected"],
            teacher_differs=not scoring.right(job.answer_kind, row["completion"], row["teacher_answer"]),
            weight=row["weight"],
        )
        for row, answer in zip(rows, said, strict=True)
    ]


def _wrong(job: Job, golden: Sequence[Row], said: Sequence[str]) -> Flags:
    pairs = zip(golden, said, strict=True)
    return np.array([not scoring.right(job.answer_kind, row["truth"], answer) for row, answer in pairs], dtype=bool)


def _teacher(job: Job, golden: Sequence[Row]) -> Way:
    said = [row["teacher_answer"] for row in golden]
    return Way(
        answers=said,
        wrong=_wrong(job, golden, said),
        latency_ms=[row["teacher_latency_us"] / 1000 for row in golden],
        cost_usd=[Decimal(row["teacher_cost_usd"]) for row in golden],
        prompt_tokens=[row["teacher_prompt_tokens"] for row in golden],
        completion_tokens=[row["teacher_completion_tokens"] for row in golden],
        teacher_share=1.0,
    )


def _student(job: Job, golden: Sequence[Row], said: Sequence[Answer], latency_ms: Sequence[float]) -> Way:
    read, write = job.student_input_usd_per_million, job.student_output_usd_per_million
    return Way(
        answers=[answer.text for answer in said],
        wrong=_wrong(job, golden, [answer.text for answer in said]),
        latency_ms=latency_ms,
        cost_usd=[(read * answer.prompt_tokens + write * answer.completion_tokens) / 1_000_000 for answer in said],
        prompt_tokens=[answer.prompt_tokens for answer in said],
        completion_tokens=[answer.completion_tokens for answer in said],
        teacher_share=0.0,
    )


def _cascade(student: Way, teacher: Way, kept: Flags) -> Way:
    """The student is always asked and paid; the teacher on top where the student's answer is not kept."""
    pairs = list(zip(student.answers, teacher.answers, kept, strict=True))
    asked = [int(not keep) for keep in kept]
    return Way(
        answers=[ours if keep else theirs for ours, theirs, keep in pairs],
        wrong=np.where(kept, student.wrong, teacher.wrong),
        latency_ms=[a + b * ask for a, b, ask in zip(student.latency_ms, teacher.latency_ms, asked, strict=True)],
        cost_usd=[a + b * ask for a, b, ask in zip(student.cost_usd, teacher.cost_usd, asked, strict=True)],
        prompt_tokens=[a + b * k for a, b, k in zip(student.prompt_tokens, teacher.prompt_tokens, asked, strict=True)],
        completion_tokens=[
            a + b * ask for a, b, ask in zip(student.completion_tokens, teacher.completion_tokens, asked, strict=True)
        ],
        teacher_share=float(np.mean(asked)),
    )


def _score(job: Job, golden: Sequence[Row], way: Way) -> Score:
    error, low, high = scoring.error_interval(way.wrong)
    latency_ms = scoring.quantiles(way.latency_ms)
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
        fields=scoring.fields([row["truth"] for row in golden], way.answers) if job.answer_kind == "json" else {},
        kinds=scoring.kinds(way.wrong, [row["kind"] for row in golden]),
        latency_quantiles_ms=latency_ms,
    )


def _less(way: Way, reference: Way) -> Difference:
    return scoring.difference(way.wrong, reference.wrong)


def _spread(latency_ms: Sequence[float], said: Sequence[Answer]) -> list[float]:
    """A latency for every answer, from those of some: the longer the answer, the longer the time it is given."""
    order = sorted(range(len(said)), key=lambda index: said[index].completion_tokens)
    times = sorted(latency_ms)
    spread = [0.0] * len(said)
    for place, index in enumerate(order):
        spread[index] = times[place * len(times) // len(order)]
    return spread


def _mistakes(golden: Sequence[Row], said: Sequence[Answer], wrong: Flags, kept: Flags) -> list[Mistake]:
    """The worst first: those that the student was surest of."""
    worst = sorted(np.nonzero(wrong)[0], key=lambda index: -said[index].confidence)[:MISTAKES]
    return [
        Mistake(
            question=golden[index]["question"],
            truth=golden[index]["truth"],
            answer=said[index].text,
            confidence=said[index].confidence,
            kind=golden[index]["kind"],
            kept=bool(kept[index]),
        )
        for index in worst
    ]
