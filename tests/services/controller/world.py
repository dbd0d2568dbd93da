"""A controller whose outside is in memory: what the tests of this package are told with."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from protos import events_pb2 as events
from services.controller.actions import Actions
from services.controller.cycle import Counts
from services.controller.desk import Desk
from services.controller.erasing import Erasing, Kafka
from services.controller.erasure_tables import ErasureTables
from services.controller.errors import Refused
from services.controller.launcher import Launcher
from services.controller.loading import Loading, Serving
from services.controller.outbox import Outbox
from services.controller.repository import Repository
from services.controller.runner import Runner
from services.controller.servicer import Control
from services.controller.state import State
from services.controller.store import Page
from services.erasures import Erasure, digests
from services.errors import Overloaded
from services.kafka import Keeping, everything
from services.tasks import Task
from services.topics import KEY_USAGE, PROMOTIONS, RUNS, Record, decode
from tests.fakes.kafka import FakeBroker, FakeFollower, FakeProducer
from training.contract import Difference, Paired, Report, Score

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SECRET = "known to this installation alone"
TEMPLATE = Path(__file__).parents[3] / "deploy/triton/config.pbtxt"


def a_task(**changes: Any) -> Task:
    prices = {"input_usd_per_million": "30", "output_usd_per_million": "60"}
    fields = {
        "name": "labels",
        "answer": "label",
        "instructions": "Say which of the labels fits." * 10,
        "teacher": {"model": "big", "prices": prices, "may_be_trained_on": True},
        "student": {"prices": prices, "training": "tiny", "overrides": {"epochs": 1}},
        "error_ceiling": 0.09,
        "validators": [{"kind": "one_of", "values": ["yes", "no"]}],
    }
    return Task.model_validate(fields | changes)


def a_score(error: float, low: float, high: float, teacher_share: float = 0.0) -> Score:
    return Score(
        error=error,
        error_low=low,
        error_high=high,
        p50_ms=10,
        p99_ms=50,
        usd_per_million=1,
        prompt_tokens=10,
        completion_tokens=2,
        teacher_share=teacher_share,
    )


def a_report(**changes: Any) -> Report:
    """The issue's figures: the student alone is too weak, the cascade is good."""
    fields = {
        "task": "labels",
        "golden": 500,
        "train": 4000,
        "eval": 400,
        "threshold": -0.5,
        "teacher": a_score(0.112, 0.084, 0.146, 1.0),
        "student": a_score(0.14, 0.11, 0.173),
        "cascade": a_score(0.041, 0.026, 0.062, 0.19),
        "paired": Paired(
            student_minus_teacher=Difference(difference=0.028, low=-0.01, high=0.066),
            cascade_minus_teacher=Difference(difference=-0.071, low=-0.096, high=-0.047),
        ),
        "learning_curve": [],
        "threshold_curve": [],
        "mistakes": [],
        "seconds": {},
        "train_tokens_per_s": 500,
        "engine": "openvino",
        "base_model": "tiny",
        "error_ceiling": 0.09,
    }
    return Report.model_validate(fields | changes)


def a_candidate(number: int, **changes: Any) -> dict[str, Any]:
    question = f"question {number}?"
    fields = {
        "id": f"{number:036d}",
        "request": json.dumps({"task": "labels", "messages": [{"role": "ROLE_USER", "content": question}]}),
        "question": question,
        "kind": "common",
        "group_key": f"group {number}",
        "answer": "yes",
        "corrected": False,
        "reason": "kept at rate 0.5",
        "probability": 0.5,
        "teacher_answer": "yes",
        "teacher_model": "big",
        "decided_at": NOON + timedelta(seconds=number),
    }
    return fields | changes


def a_golden(number: int, *, answered: bool = True, **changes: Any) -> dict[str, Any]:
    text = f"golden {number}?"
    request = json.dumps({"task": "labels", "messages": [{"role": "ROLE_USER", "content": text}]})
    fields = {
        "id": f"{number:032x}",
        "input": text,
        "truth": "no",
        "group_key": "",
        "kind": "rare",
        "answered": answered,
        "teacher": ("yes", 900_000, "0.0021", 700, 2, request),
    }
    return fields | changes


def a_preference(number: int, **changes: Any) -> dict[str, Any]:
    """An answer that a person corrected."""
    candidate = a_candidate(number)
    fields = {key: candidate[key] for key in ("id", "request", "question", "kind", "group_key")}
    unknown = {"liked": "", "liked_request": "", "liked_group_key": ""}
    return {**fields, **unknown, "split": "train", "rejected": "yes", "correction": "no"} | changes


@dataclass
class FakeStore:
    """ClickHouse as the controller sees it."""

    rows: dict[str, Page] = field(default_factory=lambda: {"train": [], "eval": [], "golden": []})
    added: list[Sequence[Any]] = field(default_factory=list)
    away: bool = False

    def counts(self, task: str) -> Counts:
        self._there()
        candidates = self.rows["train"] + self.rows["eval"]
        uncorrected = sum(not row["corrected"] for row in candidates)
        return Counts(len(self.rows["train"]), len(self.rows["eval"]), len(self.rows["golden"]), uncorrected)

    def new_candidates(self, task: str, since: datetime) -> int:
        self._there()
        return sum(row["decided_at"] > since for row in self.rows["train"])

    def requests_per_day(self, task: str) -> float:
        self._there()
        return 4_000.0

    def candidates(self, task: str, split: str, page_rows: int) -> Iterator[Page]:
        yield from self._pages(self.rows[split], page_rows)

    def golden(self, task: str, page_rows: int) -> Iterator[Page]:
        yield from self._pages(self.rows["golden"], page_rows)

    def teachers(self, task: str, page_rows: int) -> Iterator[Page]:
        yield from self._pages(self.rows.get("teachers", []), page_rows)

    def preferences(self, task: str, page_rows: int) -> Iterator[Page]:
        yield from self._pages(self.rows.get("preferences", []), page_rows)

    def secret(self) -> str:
        self._there()
        return SECRET

    def add_golden(self, rows: Sequence[Sequence[Any]]) -> None:
        self._there()
        self.added.extend(rows)

    def _pages(self, rows: Page, page_rows: int) -> Iterator[Page]:
        self._there()
        for start in range(0, len(rows), page_rows):
            yield rows[start : start + page_rows]

    def _there(self) -> None:
        if self.away:
            raise Overloaded("ClickHouse can't be used now")


class FakeErasureTables(ErasureTables):
    """ClickHouse as an erasure sees it: the candidates of a FakeStore and the erasures' own table."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.begun: dict[str, tuple[Erasure, str]] = {}
        self.receipts: dict[str, str] = {}
        self.noted: set[str] = set()
        self.refuses = ""

    def secret(self) -> str:
        return self.store.secret()

    def counts(self, erasure: Erasure) -> dict[str, int]:
        return {"candidates": len(self._theirs(erasure))}

    def exchange_ids(self, erasure: Erasure) -> set[str]:
        return {row["id"] for row in self._theirs(erasure)} | self.noted

    def remembered(self, erasure: Erasure) -> list[tuple[str, int]]:
        return [(f"exchange:{row['id']}", 0) for row in self._theirs(erasure)]

    def begin(self, erasure: Erasure, decided_by: str, now: datetime) -> None:
        self.store._there()
        self.begun[erasure.id] = (erasure, decided_by)

    def delete(self, erasure: Erasure) -> None:
        self.store._there()
        self.noted |= self.exchange_ids(erasure)
        for split in ("train", "eval"):
            theirs = self._theirs(erasure)
            self.store.rows[split] = [row for row in self.store.rows[split] if row not in theirs]
        if self.refuses:
            raise Refused(self.refuses)

    def finish(self, erasure: Erasure, decided_by: str, receipt: str, now: datetime) -> None:
        self.receipts[erasure.id] = receipt

    def pending(self) -> list[tuple[Erasure, str]]:
        return [begun for erasure_id, begun in self.begun.items() if erasure_id not in self.receipts]

    def _theirs(self, erasure: Erasure) -> Page:
        rows = self.store.rows["train"] + self.store.rows["eval"]
        return [row for row in rows if erasure.digest in digests(row["group_key"], SECRET)]


@dataclass
class FakeTriton:
    """Serves what the repository holds as soon as it is told to."""

    repository: Path
    ready: set[tuple[str, int]] = field(default_factory=set)
    answers: str = "yes"
    away: bool = False
    loads: int = 0
    asked: list[str] = field(default_factory=list)

    def serves(self, task: str, version: int) -> bool:
        self._there()
        return (task, version) in self.ready

    def load(self, task: str) -> None:
        self._there()
        self.loads += 1
        config = (self.repository / task / "config.pbtxt").read_text(encoding="utf-8")
        named = config.partition("versions: [")[2].partition("]")[0]
        self.ready = {entry for entry in self.ready if entry[0] != task} | {
            (task, int(v)) for v in named.split(",") if v.strip()
        }

    def unload(self, task: str) -> None:
        self._there()
        self.ready = {entry for entry in self.ready if entry[0] != task}

    def answer(self, task: str, version: int, prompt: str) -> str:
        self._there()
        self.asked.append(prompt)
        return self.answers

    def _there(self) -> None:
        if self.away:
            raise Overloaded("Triton is away")


class FakeLauncher(Launcher):
    """Training in no time: leaves a report and a student, or ends with a status."""

    def __init__(self, report: Report) -> None:
        super().__init__((), "")
        self.report = report
        self.status = 0
        self.student: Path | None = None
        self.jobs: list[Mapping[str, Any]] = []

    async def run(self, job: Path) -> int:
        return self._train(job)

    def _train(self, job: Path) -> int:
        self.jobs.append(json.loads(job.read_text(encoding="utf-8")))
        job.with_name("launcher.log").write_text("loading\nout of memory\n", encoding="utf-8")
        if self.status == 0:
            student = job.with_name("triton")
            student.mkdir(exist_ok=True)
            (student / "student.json").write_text("{}", encoding="utf-8")
            if self.student:
                shutil.copytree(self.student, student, dirs_exist_ok=True)
            job.with_name("report.html").write_text("<html>", encoding="utf-8")
            job.with_name("report.json").write_text(self.report.model_dump_json(), encoding="utf-8")
        return self.status


class World:
    """A controller over the fakes. `restarted` is the same outside with a new controller."""

    def __init__(self, directory: Path, *tasks: Task) -> None:
        self.directory = directory
        self.tasks = {task.name: task for task in tasks or (a_task(),)}
        self.broker = FakeBroker()
        self.broker.create_topics()
        self.store = FakeStore()
        self.triton = FakeTriton(directory / "triton")
        self.launcher = FakeLauncher(a_report())
        self.clock = count()
        self.ids = (f"{number:08d}-0000-7000-8000-000000000000" for number in count(1))
        self.repository = Repository(directory / "triton", TEMPLATE)
        self.serving: Serving = self.triton
        self.buried: list[tuple[str, int]] = []
        self.erasure_tables = FakeErasureTables(self.store)
        self.restarted()

    def restarted(self) -> "World":
        self.state = State(FakeProducer(self.broker), ack_timeout_s=0.01)
        self.state.rebuild(*(FakeFollower(self.broker, topic) for topic in ("runs", "promotions", "keys")))
        self.actions = Actions(
            tasks=self.tasks,
            store=self.store,
            launcher=self.launcher,
            loading=Loading(self.repository, self.serving, versions_kept=2),
            now=lambda: NOON + timedelta(minutes=next(self.clock)),
            snapshots_dir=self.directory / "snapshots",
            runs_dir=self.directory / "runs",
            page_rows=3,
        )
        self.outbox = Outbox(self.directory / "runs" / ".decisions")
        self.desk = Desk(self.state, lambda: next(self.ids), self.actions.now, self.outbox)
        self.runner = Runner(self.tasks, self.state, self.desk, self.actions, runs_at_once=2)
        self.erasing = Erasing(
            self.erasure_tables,
            self.actions,
            self.state,
            self.desk,
            Kafka(lambda: [Keeping("exchanges", False, True, 7 * 86_400_000, 3_600_000)], self._bury),
            directory=self.directory / "erasures",
            new_id=lambda: next(self.ids),
        )
        self.control = Control(self.tasks, self.state, self.actions, self.desk, self.erasing, usage=self.usage)
        return self

    def usage(self) -> Iterator[Record]:
        """All that the gateways told."""
        follower = FakeFollower(self.broker, KEY_USAGE.name)
        follower.start(1.0)
        yield from everything(follower, 1.0)

    def _bury(self, keys: Sequence[tuple[str, int]]) -> int:
        self.buried += keys
        return len(keys)

    def filled(self, train: int = 5, eval: int = 2, golden: int = 4) -> "World":  # noqa: A002
        self.store.rows = {
            "train": [a_candidate(number) for number in range(train)],
            "eval": [a_candidate(number) for number in range(1000, 1000 + eval)],
            "golden": [a_golden(number) for number in range(golden)],
        }
        return self

    async def a_run(self, task: str = "labels") -> events.Run:
        """Started and carried to its end."""
        run = await self.desk.start(self.tasks[task], {}, self.actions.snapshots(task), self.actions.versions(task))
        await self.runner.finished()
        return self.state.known_run(run.id)

    def promotions(self) -> list[events.Promotion]:
        """All that were ever recorded."""
        return [decode(record) for record in self.broker.records(PROMOTIONS.name)]

    def states(self, run: events.Run) -> list[str]:
        """The states that a run was recorded in, in order."""
        told = [decode(record) for record in self.broker.records(RUNS.name)]
        return [events.RunState.Name(event.state).removeprefix("RUN_STATE_") for event in told if event.id == run.id]
