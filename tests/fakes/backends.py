"""A backend in memory: says what the test scripts, remembers what it was asked."""

import asyncio
from dataclasses import dataclass, field

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask, BackendFailed, FailureKind, OnText


@dataclass
class FakeBackend:
    """Answers `text` in pieces of one word, after `delay_s`; `failure` is raised after `fails_after` pieces instead.

    After `stalls_after` pieces nothing comes any more. Where it `resumes`, it says what follows `partial` in its text.
    """

    backend: inference.Backend
    text: str = "an answer of the fake"
    finish: inference.Finish = inference.FINISH_STOP
    tells_usage: bool = True
    confidence: float | None = None
    model: str = "fake"
    delay_s: float = 0.0
    failure: BackendFailed | None = None
    fails_after: int = 0
    stalls_after: int | None = None
    resumes: bool = False
    calls: tuple[inference.ToolCall, ...] = ()
    asks: list[Ask] = field(default_factory=list)
    cancelled: int = 0
    slow: int = 0
    """How often it was cancelled because it was too slow."""
    closed: bool = False

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        self.asks.append(ask)
        pieces, finish = self._pieces(ask)
        try:
            await asyncio.sleep(self.delay_s)
            await self._say(pieces, on_text)
        except asyncio.CancelledError:
            self.cancelled += 1
            self.slow += ask.is_slow()
            raise
        if self.failure is not None:
            raise self.failure
        return self._attempt(ask, pieces, finish)

    async def _say(self, pieces: list[str], on_text: OnText | None) -> None:
        most = self.fails_after if self.failure is not None else self.stalls_after
        for piece in pieces[:most] if on_text is not None else ():
            on_text(piece)
        if self.stalls_after is not None:
            await asyncio.Event().wait()

    def _pieces(self, ask: Ask) -> tuple[list[str], inference.Finish]:
        words = self.text.removeprefix(ask.partial).split(" ")
        pieces = [word if place == 0 else f" {word}" for place, word in enumerate(words)]
        most = ask.request.sampling.max_tokens or len(pieces)
        return pieces[:most], inference.FINISH_LENGTH if most < len(pieces) else self.finish

    def _attempt(self, ask: Ask, pieces: list[str], finish: inference.Finish) -> events.Attempt:
        content = "" if self.calls else ask.partial + "".join(pieces)
        attempt = events.Attempt(
            backend=self.backend,
            model=self.model,
            message=inference.Message(role=inference.ROLE_ASSISTANT, content=content, tool_calls=self.calls),
            finish=finish,
        )
        if self.tells_usage:
            attempt.usage.CopyFrom(inference.Usage(prompt_tokens=100, completion_tokens=len(pieces)))
        if self.backend == inference.BACKEND_STUDENT:
            attempt.student_version = ask.student_version
        if self.confidence is not None:
            attempt.confidence = self.confidence
        return attempt

    async def close(self) -> None:
        self.closed = True

    def breaks(self, kind: FailureKind = FailureKind.UNAVAILABLE, after: int = 0) -> None:
        """From now on it fails, once `after` pieces have gone out."""
        self.failure, self.fails_after = BackendFailed(kind, "it is broken"), after
