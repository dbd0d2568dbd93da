"""What every call passes before anybody is asked, however it came: gRPC, HTTP or intake."""

from collections.abc import Mapping

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.checks import RequestLimits, check_request
from services.gateway.exchanges import Arrival
from services.gateway.feedback_checks import check_feedback
from services.tasks import Task


class Reception:
    """Knows the tasks and the limits of requests."""

    def __init__(self, tasks: Mapping[str, Task], limits: RequestLimits) -> None:
        self.tasks = tasks
        self.limits = limits

    def arrival(
        self,
        request: inference.Request,
        *,
        origin: str,
        remaining_s: float | None,
        authorization: str = "",  # noqa: ARG002 - keys come next
    ) -> Arrival:
        """The request, checked. Raises BadInput or UnknownTask.

        `remaining_s` until the caller's deadline, None where there is none; `authorization` as the header has it.
        """
        task = check_request(request, self.tasks, self.limits)
        timeout_s = task.latency_budget_ms / 1000 if remaining_s is None else remaining_s
        return Arrival(request, task, origin, timeout_s)

    def feedback(self, record: events.FeedbackRecord, authorization: str = "") -> None:  # noqa: ARG002 - keys come next
        """Check feedback as a request is checked; raises the same."""
        check_feedback(record, self.tasks, self.limits)
