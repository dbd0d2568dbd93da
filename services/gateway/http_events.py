"""A streamed answer as OpenAI's server-sent events. Pure.

OpenAI's streams have no way to take text back. So where another backend takes over and begins anew, its answer is
followed only as far as it is the one that was begun; for those who ask for it there is an event of our own instead.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from protos import inference_pb2 as inference
from services.gateway.fields import BegunOtherwise
from services.gateway.http_reply import WORDS, calls, encode, extension, head, usage
from services.gateway.http_request import Asked

DONE: Final = b"data: [DONE]\n\n"
OTHERWISE: Final = (
    "another backend has taken over, and its answer is not the one that was begun: drop the text so far and ask again"
)


class Events:
    """The events of one stream, as bytes, one after the other."""

    def __init__(self, exchange_id: str, asked: Asked) -> None:
        self._head = head("chat.completion.chunk", exchange_id, asked.request.task, int(time.time()))
        self._usage: dict[str, Any] = {"usage": None} if asked.includes_usage else {}
        self._splice = None if asked.bears_restart else Splice()
        self._begun = False

    def of(self, chunk: inference.Chunk) -> bytes:
        """What a chunk says, b'' if nothing. Raises BegunOtherwise."""
        if chunk.restart:
            return self._restart()
        events = self._text(chunk.delta) + (self._last(chunk.reply) if chunk.HasField("reply") else b"")
        if self._begun or not events:
            return events
        self._begun = True
        return self._delta({"role": "assistant", "content": "", "refusal": None}) + events

    def _text(self, delta: str) -> bytes:
        new = self._splice.text(delta) if self._splice else delta
        return self._delta({"content": new}) if new else b""

    def _restart(self) -> bytes:
        if self._splice:
            self._splice.restart()
            return b""
        return event({**self._head, "choices": [], **self._usage, "tutelage": {"restart": True}})

    def _last(self, reply: inference.Reply) -> bytes:
        """The tool calls, why it ended, who answered, what was used, and that nothing comes any more."""
        if self._splice:
            self._splice.end()
        called = [self._delta({"tool_calls": [{"index": i, **call}]}) for i, call in enumerate(calls(reply.message))]
        end = self._delta({}, finish_reason=WORDS[reply.finish], tutelage=extension(reply))
        used = event({**self._head, "choices": [], "usage": usage(reply.usage)}) if self._usage else b""
        return b"".join((*called, end, used, DONE))

    def _delta(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head, "choices": [choice], **self._usage, **more})


class Splice:
    """Passes text on. After a restart it passes on only what goes beyond the text that was sent, if it begins so."""

    def __init__(self) -> None:
        self._sent = ""
        self._place = 0

    def text(self, delta: str) -> str:
        """What of a piece is to be sent. Raises BegunOtherwise."""
        again = self._sent[self._place : self._place + len(delta)]
        if not delta.startswith(again):
            raise BegunOtherwise(OTHERWISE)
        new = delta[len(again) :]
        self._place += len(delta)
        self._sent += new
        return new

    def restart(self) -> None:
        """The next piece is the beginning of an answer."""
        self._place = 0

    def end(self) -> None:
        """Raises BegunOtherwise where the whole answer is shorter than what was sent."""
        if self._place < len(self._sent):
            raise BegunOtherwise(OTHERWISE)


def event(data: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + encode(data) + b"\n\n"
