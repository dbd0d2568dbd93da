"""What every call passes before anybody is asked, however it came: gRPC, HTTP or intake."""

from collections.abc import Mapping

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.callers import Callers
from services.gateway.checks import RequestLimits, check_request
from services.gateway.exchanges import Arrival
from services.gateway.feedback_checks import check_feedback
from services.gateway.identity import exchange_id
from services.tasks import Task


class Reception:
    """Knows the tasks, the limits of requests, and who may call; without `callers` everybody may."""

    def __init__(self, tasks: Mapping[str, Task], limits: RequestLimits, callers: Callers | None = None) -> None:
        self.tasks = tasks
        self.limits = limits
        self._callers = callers

    def arrival(
        self,
        request: inference.Request,
        *,
        origin: str,
        remaining_s: float | None,
        authorization: str = "",
        traceparent: str = "",
    ) -> Arrival:
        """The request, checked. Raises BadInput or UnknownTask, and of the caller what `Callers.admit` does.

        `remaining_s` until the caller's deadline, None where there is none; `authorization` and `traceparent`
        as the headers have them.
        """
        key_id = self._callers.admit(authorization, request.task) if self._callers else ""
        task = check_request(request, self.tasks, self.limits)
        request.request_id = request.request_id.lower()  # However it is written, it is the same.
        timeout_s = task.latency_budget_ms / 1000 if remaining_s is None else remaining_s
        return Arrival(request, task, origin, timeout_s, exchange_id(request, key_id), key_id, traceparent)

    def know(self, authorization: str) -> None:
        """Raise Unauthenticated or KeysUnread where nobody is let in with this, whatever he asks."""
        if self._callers:
            self._callers.know(authorization)

    def feedback(self, record: events.FeedbackRecord, authorization: str = "") -> None:
        """Check feedback. Raises BadInput or UnknownTask, and of the caller what `Callers.hear` does."""
        if self._callers:
            self._callers.hear(authorization, record)
        check_feedback(record, self.tasks, self.limits)

    def open_to(self, authorization: str) -> list[str]:
        """The tasks that a caller may ask for. Raises Unauthenticated or KeysUnread."""
        return [task for task in self.tasks if self._callers is None or self._callers.may(authorization, task)]
