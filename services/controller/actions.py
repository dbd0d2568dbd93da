"""What a run does to the world, a step at a time. Each can be done again after a kill."""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import yaml

from protos import events_pb2 as events
from services.controller import launcher, reports, snapshot
from services.controller.cycle import Facts, decided_since
from services.controller.errors import Refused
from services.controller.launcher import Launcher
from services.controller.loading import Loading, Student
from services.controller.looks import look
from services.controller.snapshot import Order
from services.controller.store import Store
from services.controller.verdict import judge
from services.pruning import Rule, pruned
from services.tasks import Task
from training.contract import Job, Report

PROMPTS_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Actions:
    """The outside, and where things lie."""

    tasks: Mapping[str, Task]
    store: Store
    launcher: Launcher
    loading: Loading
    now: Callable[[], datetime]
    snapshots_dir: Path
    runs_dir: Path
    page_rows: int
    datasets: threading.Lock = field(default_factory=threading.Lock)
    """Held while a dataset is written, and between looking whether one is trained on and changing that."""

    def facts(self, run: events.Run, current: events.Promotion) -> Facts:
        """What can be seen of a run; `current` is its task's promotion."""
        if run.task not in self.tasks:
            return Facts(failure=f"task {run.task} is no longer defined")
        report = self.report(run)
        verdict = judge(report, self.tasks[run.task]) if report else None
        return Facts(self.dataset(run).is_dir(), verdict, decided_since(run, current))

    def snapshots(self, task: str) -> list[int]:
        """The numbers of a task's snapshots on disk."""
        return [int(path.name) for path in (self.snapshots_dir / task).glob("*") if path.name.isdigit()]

    def versions(self, task: str) -> list[int]:
        """A task's student versions in Triton's repository."""
        return self.loading.repository.versions(task)

    def latest_snapshot_at(self, run: events.Run) -> datetime:
        """When the run's dataset was frozen; when the run was started, if it never was."""
        manifest = self.dataset(run) / "manifest.json"
        if not manifest.is_file():
            return run.started_at.ToDatetime(tzinfo=UTC)
        return datetime.fromisoformat(json.loads(manifest.read_text(encoding="utf-8"))["created_at"])

    def snapshot(self, run: events.Run) -> None:
        """Freeze the dataset."""
        task = self.tasks[run.task]
        with self.datasets:
            snapshot.take(self.store, Order(task, run.snapshot, self.dataset(run), self.now(), self.page_rows))

    async def train(self, run: events.Run, runs: Sequence[events.Run]) -> None:
        """Train, export and measure; `runs` are the task's. Raises Refused with the last lines of the log."""
        job = await asyncio.to_thread(self._written_job, run, runs)
        status = await self.launcher.run(job)
        if status != 0 or not (self.output(run) / "report.json").is_file():
            raise Refused(f"training ended with {status}: {launcher.last_lines(job) or 'it said nothing'}")

    def report(self, run: events.Run) -> Report | None:
        """The run's report, once there is one. Raises Refused if it is not one."""
        return reports.read(self.output(run) / "report.json")

    def resolved_config(self, run: events.Run) -> str:
        """The config as training resolved it, as JSON; as it was asked for where training left none."""
        path = self.output(run) / "model" / "training.yaml"
        return json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else run.config

    def report_path(self, run: events.Run) -> str:
        """Where report.html lies; '' where training left none."""
        path = self.output(run) / "report.html"
        return str(path) if path.is_file() else ""

    def load(self, run: events.Run, current: events.Promotion) -> None:
        """Have Triton serve the run's student beside what serves now, and see it answer. Raises Refused."""
        self.loading.load(self._student(run), current, self._first_prompt(run))

    def tend(self, current: events.Promotion, run: events.Run | None) -> None:
        """Have Triton serve what is promoted, if it does not; `run` made it."""
        self.loading.tend(current, self._student(run) if run else None)

    def dataset(self, run: events.Run) -> Path:
        """Where the run's snapshot lies, or will."""
        return (self.snapshots_dir / run.task / str(run.snapshot)).resolve()

    def output(self, run: events.Run) -> Path:
        """Where the run's files lie, or will. By id: numbers may be taken again after a broker lost its topics."""
        return (self.runs_dir / run.task / run.id).resolve()

    def _first_prompt(self, run: events.Run) -> str:
        """A golden prompt that the student reads, not one that it leaves to the teacher."""
        path = self.dataset(run) / "golden.parquet"
        if not path.is_file():
            raise Refused(f"student version {run.student_version} can't be tried: its snapshot {path} is gone")
        unread = _unread(self._student(run).exported)
        for batch in pq.ParquetFile(path).iter_batches(PROMPTS_AT_ONCE, columns=["prompt"]):
            for prompt in batch.column(0).to_pylist():
                if pruned(prompt, unread) is not None:
                    return str(prompt)
        raise Refused(f"student version {run.student_version} can't be tried: it refuses every golden prompt")

    def _student(self, run: events.Run) -> Student:
        return Student(run.task, run.student_version, self.output(run) / "triton")

    def _written_job(self, run: events.Run, runs: Sequence[events.Run]) -> Path:
        """The job's file. One that is there stays: an interrupted training goes on as it began."""
        path = self.output(run) / "job.json"
        with self.datasets:
            self._write_job(run, runs, path)
        return path

    def _write_job(self, run: events.Run, runs: Sequence[events.Run], path: Path) -> None:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(self._job(run, runs).model_dump_json(by_alias=True, indent=2), encoding="utf-8")
            unfinished.replace(path)

    def _job(self, run: events.Run, runs: Sequence[events.Run]) -> Job:
        task = self.tasks[run.task]
        return Job(
            task=task.name,
            dataset=self.dataset(run),
            output=self.output(run),
            config=json.loads(run.config),
            answer_kind=task.answer,
            validators=list(task.validators),
            student_input_usd_per_million=task.student.prices.input_usd_per_million,
            student_output_usd_per_million=task.student.prices.output_usd_per_million,
            max_tokens=task.student.max_tokens,
            error_ceiling=task.error_ceiling,
            truth=snapshot.truth(self.dataset(run)),
            look=look(run, runs, lambda one: snapshot.golden_ids(self.dataset(one))),
            description=task.description,
            instructions=task.instructions,
            teacher_proves=task.proof == "teacher",
            requests_per_day=self.store.requests_per_day(task.name),
            training_usd_per_hour=task.student.training_usd_per_hour,
        )


def _unread(exported: Path) -> Rule:
    """What a student does not read; nothing, where its files are not there, which loading will say."""
    written = exported / "student.json"
    found = json.loads(written.read_bytes()).get("pruning") if written.is_file() else None
    return Rule.model_validate(found or {})
