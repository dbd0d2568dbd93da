"""Sets the thresholds of cascades anew as judgements come, every few minutes, beside the runs.

It never harms the controller's other work: whatever it meets is logged, and the next look comes.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import structlog
from prometheus_client import Gauge

from protos import events_pb2 as events
from services.controller.calibration import Calibration, Point, at, calibrate
from services.controller.deciders import CONTROLLER
from services.controller.desk import Desk
from services.controller.judged import JudgedCalls
from services.controller.recalibration import Change, change, concerns
from services.controller.state import State
from services.errors import Overloaded
from services.tasks import Cascade, Task
from training.contract import Report

log = structlog.stdlib.get_logger("tutelage")

CASCADE: Final = Gauge(
    "tutelage_cascade",
    "Of a task with a target for its cascade: judged calls, error at the threshold in force, its upper bound, the part "
    "of the calls that the student keeps, dollars a million, and 1 while the target is shown to be met.",
    ("task", "figure"),
)


class Recalibrating:
    """Looks at the tasks that have a target."""

    def __init__(
        self, tasks: Mapping[str, Task], state: State, desk: Desk, calls: JudgedCalls, now: Callable[[], datetime]
    ) -> None:
        self._targets = {name: (task, task.cascade) for name, task in tasks.items() if task.cascade is not None}
        self._state = state
        self._desk = desk
        self._calls = calls
        self._now = now
        self._noted: dict[str, Calibration] = {}

    async def go_on(self, every_s: float) -> None:
        """Look every so often, until cancelled."""
        while self._targets:
            for task, target in self._targets.values():
                error: BaseException | None
                [error] = await asyncio.gather(self.look(task, target), return_exceptions=True)
                if isinstance(error, Exception):
                    known = isinstance(error, Overloaded)
                    log.warning("will calibrate later", reason=str(error), exc_info=None if known else error)
            await asyncio.sleep(every_s)

    async def look(self, task: Task, target: Cascade) -> None:
        """Calibrate one task's cascade, if one serves it, and promote what follows."""
        current = self._state.promotion(task.name)
        if not concerns(current):
            return
        run = next((run for run in self._state.runs(task.name) if run.student_version == current.student_version), None)
        rows = await asyncio.to_thread(self._calls.judged, task, current.student_version, self._now())
        found = await asyncio.to_thread(calibrate, rows, target, _first(run))
        serving = at(rows, target, current.policy.min_confidence)
        _show(task.name, found, serving)
        await self._note(current, found)
        if (wanted := change(current, found, serving)) is not None:
            await self._promote(current, wanted)

    async def _promote(self, looked_at: events.Promotion, wanted: Change) -> None:
        async with self._desk.deciding:
            if self._state.promotion(looked_at.task).id == looked_at.id:  # Else somebody has decided meanwhile.
                await self._desk.adjust(looked_at, wanted.policy, wanted.reason, CONTROLLER, set_back=wanted.sets_back)

    async def _note(self, current: events.Promotion, found: Calibration) -> None:
        """Where it says something else than before."""
        known = self._noted.get(current.task)
        if known is not None and (known.outcome, known.point) == (found.outcome, found.point):
            return
        await asyncio.to_thread(self._calls.note, current, found, self._now())
        self._noted[current.task] = found
        log.info("calibrated", task=current.task, outcome=found.outcome.value, reason=found.reason)


def _first(run: events.Run | None) -> float:
    """Where the run's report would set the threshold; 0 where there is none."""
    return Report.model_validate_json(run.report).threshold if run is not None and run.report else 0.0


def _show(task: str, found: Calibration, serving: Point) -> None:
    figures = {
        "judged": found.rows,
        "error": serving.error,
        "bound": serving.bound,
        "kept": serving.kept,
        "usd_per_million": serving.usd_per_million,
        "met": float(found.point is not None),
    }
    for figure, value in figures.items():
        CASCADE.labels(task, figure).set(value)
