"""What is sent and what comes back, as values; pure."""

import json
from dataclasses import dataclass
from typing import Any

import uuid_utils

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from tutelage.chat import Messages, chat


@dataclass(frozen=True)
class Answer:
    """An answer; everything that the gateway says of it is in `reply`."""

    reply: inference.Reply
    task: str
    group_key: str
    """Feedback must name the request's, so that both reach one partition."""

    @property
    def text(self) -> str:
        """What was answered; empty where tools are to be called."""
        return self.reply.message.content

    @property
    def id(self) -> str:
        """The exchange's id: what feedback speaks of."""
        return self.reply.exchange_id

    def json(self) -> Any:
        """The answer as JSON. Raises ValueError where it is none."""
        return json.loads(self.text)

    def feedback(self, **said: Any) -> events.FeedbackRecord:
        """A record on this answer with `rating`, `correction`, `comment` or `metrics`."""
        return events.FeedbackRecord(exchange_id=self.id, task=self.task, group_key=self.group_key, **said)


def request(task: str, messages: Messages, **fields: Any) -> inference.Request:
    """A request of `task`. `fields` are those of the proto's Request; `sampling` may be a mapping.

    It has a request_id of its own, so that sent again, by hand or by gRPC's retries, it is still the same exchange.
    """
    made = inference.Request(task=task, **fields)
    made.request_id = made.request_id or str(uuid_utils.uuid7())
    made.messages.extend(chat(messages))
    return made


class Growing:
    """What a stream has said so far."""

    def __init__(self, asked: inference.Request) -> None:
        self._asked = asked
        self._pieces: list[str] = []
        self.answer: Answer | None = None
        """The whole answer, once the stream has ended."""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def add(self, chunk: inference.Chunk) -> None:
        """Take the next chunk in. Of what came before `restart` nothing counts: another backend begins anew."""
        if chunk.restart:
            self._pieces.clear()
        self._pieces.append(chunk.delta)
        if chunk.HasField("reply"):
            self.answer = answered(self._asked, chunk.reply)


def feedback(answer: Answer, **said: Any) -> events.FeedbackRecord:
    """A record on the answer. Raises TypeError where it is none."""
    if not isinstance(answer, Answer):
        raise TypeError(f"answer is a {type(answer).__name__}: give the Answer that complete returned, or a stream's")
    return answer.feedback(**said)


def answered(asked: inference.Request, reply: inference.Reply) -> Answer:
    """The answer to that request."""
    return Answer(reply, asked.task, asked.group_key)
