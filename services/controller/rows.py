"""Rows of a dataset from rows of the tables; pure. Columns are training.contract's."""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from google.protobuf import json_format

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.controller.guards import GoldenWall
from services.controller.noise import Judged
from services.controller.redaction import Redactor
from services.similarity import Neighbours, normalised
from services.tasks import Task, split, student_prompt

GOLDEN_REMEMBERED: Final = 10_000_000
"""All of them."""


class GoldenTally:
    """What of the golden set can prove, and what the teacher's and the student's prompts cost on it."""

    def __init__(self, similarity: float, redactor: Redactor) -> None:
        self.wall = GoldenWall(near=Neighbours(similarity, GOLDEN_REMEMBERED))
        self._redactor = redactor
        self.judged = Judged()
        self.rows = 0
        self.without_teacher_answer = 0
        self.kinds: Counter[str] = Counter()
        self._teacher_tokens = 0
        self._student_tokens = 0.0

    def rows_of(self, task: Task, page: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """A page's usable examples as rows of golden.parquet."""
        for example in page:
            self._wall_off(example)
            if not example["answered"]:
                self.without_teacher_answer += 1
                continue
            row = golden_row(task, example)
            self._count(task, row, example)
            yield row

    def counts(self) -> dict[str, Any]:
        """For the manifest."""
        return {"rows": self.rows, "without_teacher_answer": self.without_teacher_answer, "kinds": dict(self.kinds)}

    def prompt_tokens(self) -> dict[str, float]:
        """Mean tokens per prompt, both by the teacher's tokeniser; the student's is in proportion to its length."""
        rows = max(1, self.rows)
        teacher, student = self._teacher_tokens / rows, self._student_tokens / rows
        return {"teacher": round(teacher, 1), "student": round(student, 1), "saved": round(teacher - student, 1)}

    def _wall_off(self, example: Mapping[str, Any]) -> None:
        """As it is, and as it would stand among redacted rows."""
        texts = {"input": example["input"], "truth": example["truth"]}
        if example["answered"]:
            texts["teacher"] = example["teacher"][0]
        for told in {tuple(texts.values()), tuple(self._redactor.redacted(texts).values())}:
            self.wall.add(told[0], example["group_key"], told[1:])

    def _count(self, task: Task, row: Mapping[str, Any], example: Mapping[str, Any]) -> None:
        self.rows += 1
        self.kinds[row["kind"]] += 1
        self.judged.add(row["teacher_answer"], row["truth"])
        self._teacher_tokens += row["teacher_prompt_tokens"]
        whole = max(1, _sent_characters(task, _request(example["teacher"][5])))
        self._student_tokens += row["teacher_prompt_tokens"] * min(1.0, len(row["prompt"]) / whole)


def example_row(task: Task, split: str, candidate: Mapping[str, Any]) -> dict[str, Any]:
    """A candidate as a row of train.parquet or eval.parquet.

    Eval always stands for the traffic: threshold and kept share are of that, however train was mixed.
    """
    of_traffic = split == "eval" or task.sampling.weigh == "traffic"
    return {
        "id": str(candidate["id"]),
        "prompt": prompt(task, candidate["request"]),
        "completion": candidate["answer"],
        "question": candidate["question"],
        "kind": candidate["kind"],
        "weight": 1.0 / candidate["probability"] if of_traffic else 1.0,
        "corrected": bool(candidate["corrected"]),
        "teacher_answer": candidate["teacher_answer"],
    }


def golden_row(task: Task, example: Mapping[str, Any]) -> dict[str, Any]:
    """A golden example with its teacher's answer as a row of golden.parquet."""
    answer, latency_us, recorded, prompt_tokens, completion_tokens, request = example["teacher"]
    usage = inference.Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    priced = task.teacher.prices.cost(usage)  # An imported log says no price.
    return {
        "id": example["id"],
        "prompt": student_prompt(task, _request(request)),
        "question": example["input"],
        "truth": example["truth"],
        "kind": example["kind"],
        "group_key": example["group_key"],
        "teacher_answer": answer,
        "teacher_latency_us": latency_us,
        "teacher_cost_usd": recorded if Decimal(recorded or 0) else str(priced),
        "teacher_prompt_tokens": prompt_tokens,
        "teacher_completion_tokens": completion_tokens,
    }


def prompt(task: Task, request: str) -> str:
    """What the student sees of a request in ClickHouse's JSON."""
    return student_prompt(task, _request(request))


def is_set_aside(task: Task, example: Mapping[str, Any]) -> bool:
    """Whether an exchange stands on the golden side of the wall, and so was never offered for training."""
    return split(task.sampling.split, example["group_key"] or example["id"]) == events.SPLIT_GOLDEN


def first_set_aside(task: Task, page: list[dict[str, Any]], asked: set[str], most: int) -> Iterator[dict[str, Any]]:
    """The exchanges set aside that were not `asked` before, as the student sees them, until `most` were."""
    for row in page:
        if len(asked) < most and is_set_aside(task, row):
            before = len(asked)
            asked.add(normalised(prompt(task, row["teacher"][5])))
            if len(asked) > before:
                yield row


def _sent_characters(task: Task, request: inference.Request) -> int:
    """How long the teacher's prompt was: the gateway adds the instructions where a request has no system message."""
    own = any(message.role == inference.ROLE_SYSTEM for message in request.messages)
    return sum(len(message.content) for message in request.messages) + (0 if own else len(task.instructions))


def _request(text: str) -> inference.Request:
    """A request from its JSON in ClickHouse; fields that a newer writer added are passed over."""
    return json_format.Parse(text, inference.Request(), ignore_unknown_fields=True)
