"""What a student shows on Triton's own metrics page."""

from typing import Any

import triton_python_backend_utils as pb_utils

from services.student.engine import Finish, Load

ERROR = "error"
_STATES = ("running", "waiting")
_FINISHES = (Finish.STOP.value, Finish.LENGTH.value, Finish.CANCELLED.value, ERROR)


class Metrics:
    """`tutelage_student_requests{task, version, state}`: how many requests are `running` and `waiting` now;
    `tutelage_student_answers_total{task, version, finish}`: how many ended as `stop`, `length`, `cancelled` or `error`.
    """

    def __init__(self, task: str, version: str) -> None:
        labels = {"task": task, "version": version}
        kinds = pb_utils.MetricFamily
        # The families are kept, because their metrics are dead once they are gone.
        self._requests = kinds(
            name="tutelage_student_requests", description="Requests that a student has, by state.", kind=kinds.GAUGE
        )
        self._answers = kinds(
            name="tutelage_student_answers_total", description="Answers of a student, by end.", kind=kinds.COUNTER
        )
        self._states = {state: self._requests.Metric(labels={**labels, "state": state}) for state in _STATES}
        self._finishes: dict[str, Any] = {
            finish: self._answers.Metric(labels={**labels, "finish": finish}) for finish in _FINISHES
        }

    def show(self, load: Load) -> None:
        self._states["running"].set(load.running)
        self._states["waiting"].set(load.waiting)

    def count(self, finish: str) -> None:
        """One answer more that ended like this."""
        self._finishes[finish].increment(1)
