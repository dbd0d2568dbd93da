"""Whether what the teacher says it used can be true. What can't is estimated, as where it says nothing."""

import time
from collections.abc import Callable
from math import inf
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import telemetry
from services.gateway import estimates
from services.gateway.backends import Ask

SAY_EVERY_S: Final = 60.0
MOST_THOUGHT: Final = 65_536
"""Tokens of reasoning, told as `reasoning_tokens`, that some APIs have written beside the limit: twice what the longest
are known to."""


def doubt(ask: Ask, usage: inference.Usage, thought: int) -> str:
    """Why so much can't have been used; '' where it can. `thought`: of what was written, what it says was reasoning."""
    written_most = estimates.written_most(ask.task, ask.request) + estimates.SLACK_TOKENS + min(thought, MOST_THOUGHT)
    if usage.completion_tokens > written_most:
        return f"{usage.completion_tokens:,} completion tokens, and it could write {written_most:,}"
    if usage.prompt_tokens <= estimates.TEMPLATE_TOKENS:  # Whatever was sent.
        return ""
    read_most = estimates.most(ask.task, ask.request).prompt_tokens + len(ask.partial.encode())
    if usage.prompt_tokens > read_most:
        return f"{usage.prompt_tokens:,} prompt tokens, and it was sent {read_most:,} bytes at most"
    return ""


class Doubts:
    """Takes out of answers the usage that can't be, and says so once a minute at most."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._said_s = -inf

    def look(self, ask: Ask, attempt: events.Attempt, thought: int) -> None:
        """At an answer to `ask`."""
        if not (why := doubt(ask, attempt.usage, thought)):
            return
        attempt.ClearField("usage")
        telemetry.IMPLAUSIBLE.labels(ask.task.name).inc()
        if self._now_s() - self._said_s >= SAY_EVERY_S:
            self._said_s = self._now_s()
            telemetry.log.warning(
                "the teacher tells a usage that can't be: it is estimated",
                task=ask.task.name,
                model=attempt.model,
                why=why,
            )
