"""Measure what will be served: the exported student on the eval split and the golden set, and the cascade of both.

The threshold comes from the eval split alone; the golden set only judges, without what leaked into training. Latencies
of the student are of golden prompts asked one at a time on this machine.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from services.validators import refusal
from training import answers, calibration, data, judging, leaking, metrics, progress, proof, scoring, threshold, ways
from training.answers import Answer, Done
from training.config import Config
from training.contract import (
    Calibration,
    Difference,
    Job,
    Judgement,
    Leaks,
    Metric,
    Mistake,
    Paired,
    Proof,
    Score,
    ThresholdRow,
)
from training.data import Row
from training.judge import Judge
from training.scoring import Flags

JUDGED = "eval.json"
WRONG = "golden.json"
MISTAKES = 30
NONE = Answer("", float("-inf"), 0, 0)
LEAST = -1000.0  # a confidence in a report: JSON knows no infinity


@dataclass(frozen=True)
class Measured:
    """What the evaluation found."""

    threshold: float
    threshold_curve: list[ThresholdRow]
    teacher: Score
    student: Score
    cascade: Score
    paired: Paired
    metrics: list[Metric]
    proof: Proof
    leaks: Leaks
    judgement: Judgement | None
    calibration: Calibration | None
    mistakes: list[Mistake]
    golden: int
    eval: int


def evaluate(job: Job, config: Config, judge: Judge | None = None) -> Measured:
    """Ask the student in `<output>/triton` everything, and score it beside the teacher; `judge` compares texts."""
    judged = data.rows(job.dataset, "eval", config.unread)
    golden, leaks = leaking.apart(job.dataset, data.rows(job.dataset, "golden", config.unread), job.answer_kind)
    said, latency_ms = _asked(job, config, judged, golden)
    on_eval = _judged(job, judged, said[: len(judged)])
    (job.output / JUDGED).write_text(json.dumps([asdict(row) for row in on_eval]))
    limit, curve = threshold.choose(on_eval)
    student_said = said[len(judged) :]
    kept = np.array(
        [
            threshold.keeps(limit, answer.confidence, _refusal(job, row, answer))
            for row, answer in zip(golden, student_said, strict=True)
        ]
    )
    teacher = ways.teacher(job, golden)
    student = ways.student(job, golden, student_said, latency_ms)
    cascade = ways.cascade(student, teacher, kept)
    (job.output / WRONG).write_text(json.dumps(student.wrong.tolist()))
    return Measured(
        threshold=limit,
        threshold_curve=curve,
        teacher=ways.score(job, golden, teacher, teacher),
        student=ways.score(job, golden, student, teacher),
        cascade=ways.score(job, golden, cascade, teacher),
        paired=Paired(cascade_minus_teacher=_less(cascade, teacher), student_minus_teacher=_less(student, teacher)),
        metrics=metrics.measured(job.answer_kind, job.validators, golden, _says(teacher, student, cascade)),
        proof=proof.proof(job.look, teacher.wrong, student.wrong, cascade.wrong, job.among),
        leaks=leaks,
        judgement=_judgement(job, config, golden, student.answers, judge) if judge else None,
        calibration=calibration.calibration([answer.confidence for answer in student_said], student.wrong),
        mistakes=_mistakes(golden, student_said, student.wrong, kept),
        golden=len(golden),
        eval=len(judged),
    )


def judged(output: Path) -> list[threshold.Judged]:
    """The student's answers to the eval split, as an evaluation left them."""
    return [threshold.Judged(**row) for row in json.loads((output / JUDGED).read_text())]


def wrong(output: Path) -> Flags:
    """Which golden examples the student got wrong, as an evaluation left it."""
    return np.array(json.loads((output / WRONG).read_text()), dtype=bool)


def _asked(job: Job, config: Config, judged: Sequence[Row], golden: Sequence[Row]) -> tuple[list[Answer], list[float]]:
    """The answers to both splits, and the milliseconds of some golden ones, asked first, while no cache knows them.

    A prompt that is empty is one that the student refuses.
    """
    engine = answers.engine(config.engine, job.output, job.max_tokens)
    asked = [row["prompt"] for row in golden if row["prompt"]]
    if not asked:
        raise ValueError("the student refuses every golden prompt, so nothing can be measured")
    some = asked[:: max(1, len(asked) // (config.timed_answers + 1))]
    latency_ms = answers.timed(engine, some, _told(job.output, "one at a time", max(1, len(some) - 1)))
    prompts = [row["prompt"] for row in [*judged, *golden]]
    read = [prompt for prompt in prompts if prompt]
    said = iter(engine.answers(read, _told(job.output, "all at once", len(read))))
    return [next(said) if prompt else NONE for prompt in prompts], latency_ms


def _told(output: Path, message: str, total: int) -> Done:
    """Writes a progress line at every twentieth of the way."""
    last = 0

    def told(done: int) -> None:
        nonlocal last
        if done - last >= total / 20 or (done == total and done > last):
            last = done
            progress.write(output, "evaluate", message=message, done=done, total=total)

    return told


def _refusal(job: Job, row: Row, answer: Answer) -> str:
    """Why the gateway would not keep the answer, '' if it would: it refuses what was cut at the limit, too."""
    if not row["prompt"]:
        return "refused: the prompt lacks what the student leaves out"
    if answer.cut:
        return f"length: cut at {answer.completion_tokens} tokens"
    return refusal(job.validators, row["question"], answer.text)


def _judged(job: Job, rows: Sequence[Row], said: Sequence[Answer]) -> list[threshold.Judged]:
    return [
        threshold.Judged(
            confidence=answer.confidence,
            refused=bool(_refusal(job, row, answer)),
            differs=not scoring.right(job.answer_kind, row["completion"], answer.text),
            corrected=row["corrected"],
            teacher_differs=not scoring.right(job.answer_kind, row["completion"], row["teacher_answer"]),
            weight=row["weight"],
        )
        for row, answer in zip(rows, said, strict=True)
    ]


def _says(teacher: ways.Way, student: ways.Way, cascade: ways.Way) -> metrics.Says:
    return {"teacher": teacher.answers, "student": student.answers, "cascade": cascade.answers}


def _judgement(job: Job, config: Config, golden: Sequence[Row], said: Sequence[str], judge: Judge) -> Judgement | None:
    """Of texts, and of as many as the config wants. People's own preferences, where there are some, try the judge."""
    if job.answer_kind != "text" or not config.judged_pairs:
        return None
    pairs = [judging.Pair(row["question"], ours, row["teacher_answer"]) for row, ours in zip(golden, said, strict=True)]
    people = [judging.Pair(row["prompt"], row["chosen"], row["rejected"]) for row in data.preferences(job.dataset)]
    return judging.judgement(judge, _some(pairs, config.judged_pairs), _some(people, config.judged_pairs))


def _some(pairs: Sequence[judging.Pair], most: int) -> Sequence[judging.Pair]:
    """So many at most, from everywhere."""
    return pairs[:: max(1, -(-len(pairs) // most))]


def _less(way: ways.Way, reference: ways.Way) -> Difference:
    return scoring.difference(way.wrong, reference.wrong)


def _mistakes(golden: Sequence[Row], said: Sequence[Answer], wrong: Flags, kept: Flags) -> list[Mistake]:
    """The worst first: those that the cascade lets through, then those that the student was surest of."""
    worst = sorted(np.nonzero(wrong)[0], key=lambda index: (not kept[index], -said[index].confidence))[:MISTAKES]
    return [
        Mistake(
            question=golden[index]["question"],
            truth=golden[index]["truth"],
            answer=said[index].text,
            confidence=max(LEAST, said[index].confidence),
            kind=golden[index]["kind"],
            kept=bool(kept[index]),
        )
        for index in worst
    ]
