"""What a run does to the world, a step at a time. Each can be done again after a kill."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from protos import events_pb2 as events
from services.controller import launcher, promotions, snapshot
from services.controller.cycle import Facts
from services.controller.errors import Refused
from services.controller.launcher import Launcher
from services.controller.repository import Repository
from services.controller.snapshot import Order
from services.controller.store import Store
from services.controller.verdict import judge
from services.errors import Overloaded
from services.tasks import Task
from training.contract import Job, Report

MAX_REPORT_BYTES = 900_000
"""Of report.json in a Run event: brokers refuse messages above 1 MB by default."""


class Serving(Protocol):
    """services.controller.triton.Triton, or its fake."""

    def serves(self, task: str, version: int) -> bool:
        """Whether this version can answer now."""

    def load(self, task: str) -> None:
        """Load what the repository names."""

    def unload(self, task: str) -> None:
        """Let go of every version."""

    def answer(self, task: str, version: int, prompt: str) -> str:
        """The student's whole text for one prompt."""


@dataclass(frozen=True)
class Actions:
    """The outside, and where things lie."""

    tasks: Mapping[str, Task]
    store: Store
    launcher: Launcher
    repository: Repository
    triton: Serving
    now: Callable[[], datetime]
    snapshots_dir: Path
    runs_dir: Path
    versions_kept: int
    page_rows: int
    _loading: threading.Lock = field(default_factory=threading.Lock)

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
        return self.repository.versions(task)

    def latest_snapshot_at(self, run: events.Run) -> datetime:
        """When the run's dataset was frozen; when the run was started, if it never was."""
        manifest = self.dataset(run) / "manifest.json"
        if not manifest.is_file():
            return run.started_at.ToDatetime(tzinfo=UTC)
        return datetime.fromisoformat(json.loads(manifest.read_text(encoding="utf-8"))["created_at"])

    def snapshot(self, run: events.Run) -> None:
        """Freeze the dataset."""
        task = self.tasks[run.task]
        snapshot.take(self.store, Order(task, run.snapshot, self.dataset(run), self.now(), self.page_rows))

    async def train(self, run: events.Run) -> None:
        """Train, export and measure. Raises Refused with the last lines of the log."""
        job = self._written_job(run)
        status = await self.launcher.run(job)
        if status != 0 or not (self.output(run) / "report.json").is_file():
            raise Refused(f"training ended with {status}: {launcher.last_lines(job) or 'it said nothing'}")

    def report(self, run: events.Run) -> Report | None:
        """The run's report, once there is one. Raises Refused if it is not one."""
        path = self.output(run) / "report.json"
        try:
            return Report.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise Refused(f"{path} is not a report: {error}") from error

    def resolved_config(self, run: events.Run) -> str:
        """The config as training resolved it, as JSON; as it was asked for where training left none."""
        path = self.output(run) / "model" / "training.yaml"
        return json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else run.config

    def load(self, run: events.Run, current: events.Promotion) -> None:
        """Have Triton serve the run's student beside what serves now, and see it answer. Raises Refused."""
        task, version = run.task, run.student_version
        live = {current.student_version} - {0}  # beside it one more must fit, not two
        with self._loading:
            self.repository.install(task, version, self.output(run) / "triton")
            self.repository.serve(task, {*live, version})
            try:
                self._load_and_try(run)
            except Refused:
                self._take_back(task, version, live)
                raise
            self.repository.keep(task, {*live, version}, self.versions_kept)

    def tend(self, current: events.Promotion, run: events.Run | None) -> None:
        """Have Triton serve what is promoted, if it does not: it may have been restarted."""
        task, version = current.task, current.student_version
        with self._loading:
            if version == 0 or self.triton.serves(task, version):
                return
            if run is not None:
                self.repository.install(task, version, self.output(run) / "triton")
            self._serve(task, promotions.versions_in_use(current))

    def dataset(self, run: events.Run) -> Path:
        """Where the run's snapshot lies, or will."""
        return (self.snapshots_dir / run.task / str(run.snapshot)).resolve()

    def output(self, run: events.Run) -> Path:
        """Where the run's files lie, or will. By id: numbers may be taken again after a broker lost its topics."""
        return (self.runs_dir / run.task / run.id).resolve()

    def _load_and_try(self, run: events.Run) -> None:
        task, version = run.task, run.student_version
        if not self.triton.serves(task, version):
            self.triton.load(task)
        if not self.triton.answer(task, version, self._first_prompt(run)).strip():
            raise Refused(f"student version {version} is loaded, but answers its first prompt with nothing")

    def _first_prompt(self, run: events.Run) -> str:
        path = self.dataset(run) / "golden.parquet"
        if not path.is_file():
            raise Refused(f"student version {run.student_version} can't be tried: its snapshot {path} is gone")
        prompt: str = next(pq.ParquetFile(path).iter_batches(1, columns=["prompt"])).column(0)[0].as_py()
        return prompt

    def _take_back(self, task: str, version: int, live: set[int]) -> None:
        """Leave Triton and its repository as they were before a bad version came; the live one never goes."""
        if version in live:
            return
        with suppress(Refused, Overloaded):  # what it was taken back for is the news; looking mends the rest
            self.triton.unload(task) if not live else self._serve(task, live)
        self.repository.remove(task, version)

    def _serve(self, task: str, versions: set[int]) -> None:
        self.repository.serve(task, versions)
        self.triton.load(task)

    def _written_job(self, run: events.Run) -> Path:
        """The job's file. One that is there stays: an interrupted training goes on as it began."""
        path = self.output(run) / "job.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(self._job(run).model_dump_json(by_alias=True, indent=2), encoding="utf-8")
            unfinished.replace(path)
        return path

    def _job(self, run: events.Run) -> Job:
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
        )


def decided_since(run: events.Run, current: events.Promotion) -> bool:
    """Whether the task's promotion is this run's own, or was decided after the run came to loading."""
    loading = run.state == events.RUN_STATE_LOADING
    later = current.decided_at.ToNanoseconds() > run.updated_at.ToNanoseconds()
    return current.run_id == run.id or bool(loading and later)


def report_text(report: Report) -> str:
    """report.json, with fewer mistakes and curve points where it would not fit into an event."""
    text = report.model_dump_json()
    while len(text.encode()) > MAX_REPORT_BYTES and (report.mistakes or report.learning_curve):
        shorter = {
            "mistakes": report.mistakes[: len(report.mistakes) // 2],
            "learning_curve": report.learning_curve[::2] if len(report.learning_curve) > 1 else [],
        }
        report = report.model_copy(update=shorter)
        text = report.model_dump_json()
    return text
