"""The part of service Control that tells gateways what serves the tasks, as soon as it is decided."""

from collections.abc import Mapping
from typing import Any

from protos import control_pb2 as control
from services.controller.answering import answered
from services.controller.checks import known_task
from services.controller.state import State
from services.tasks import Task


class Watching:
    """`WatchPromotions`. NOT_FOUND names a task that is not defined."""

    _tasks: Mapping[str, Task]
    _state: State

    @answered
    async def WatchPromotions(self, request: control.WatchPromotionsRequest, context: Any) -> None:
        """What was decided last of each task, then every change; of tasks without a decision nothing."""
        watched = {known_task(self._tasks, name).name for name in request.tasks} or set(self._tasks)
        with self._state.watchers.watch() as changes:
            for name in sorted(watched):
                if (promotion := self._state.promotion(name)).id:
                    await context.write(promotion)
            async for promotion in changes:
                if promotion.task in watched:
                    await context.write(promotion)
