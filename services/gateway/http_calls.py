"""What is done for a call by HTTP: the same as for one by gRPC, in OpenAI's shapes. Bytes in, bytes out."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from protos import inference_pb2 as inference
from services.gateway import http_reply
from services.gateway.door import Door, refused
from services.gateway.exchanges import Arrival, Exchanges
from services.gateway.feedback import keep
from services.gateway.fields import UnknownTask
from services.gateway.http_events import Events
from services.gateway.http_feedback import read_feedback
from services.gateway.http_fields import task_name
from services.gateway.http_request import Asked, read_chat
from services.gateway.outlet import streamed
from services.gateway.reception import Reception
from services.gateway.spool import Spool

CHAT: Final = "chat.completions"
FEEDBACK: Final = "feedback"
IGNORED: Final = "x-tutelage-ignored"
Send = Callable[[bytes], Awaitable[None]]
Headers = Callable[[Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON body with its headers."""

    data: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Calls:
    """Answers calls. All raise Refusal."""

    def __init__(self, exchanges: Exchanges, reception: Reception, door: Door, spool: Spool) -> None:
        self._exchanges = exchanges
        self._reception = reception
        self._door = door
        self._spool = spool
        self._started_s = int(time.time())

    def know(self, method: str, authorization: str) -> None:
        """Refuse, by the head of a call, whom nothing is answered, before the rest of it has come."""
        try:
            self._reception.know(authorization)
        except Exception as error:
            raise refused(method, error) from error

    def read(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        """What a call asks."""
        try:
            return read_chat(body, headers)
        except Exception as error:
            raise refused(CHAT, error) from error

    async def complete(self, asked: Asked) -> Answer:
        """One request, one whole answer."""
        created_s = int(time.time())
        reply = await self._door.visit(CHAT, self._complete, asked, priority=asked.request.priority)
        headers = http_reply.headers(reply) | _ignored(asked)
        return Answer(http_reply.completion(reply, asked.request.task, created_s), headers)

    async def stream(self, asked: Asked, begin: Headers, send: Send) -> None:
        """The same as server-sent events, each given to `send`; `begin` is given the headers before the first.

        What is refused before the first was never begun.
        """
        await self._door.visit(CHAT, self._stream, asked, begin, send, priority=asked.request.priority)

    async def feedback(self, body: bytes, authorization: str) -> Answer:
        """What a caller says of an answer, once it is on disk."""
        return await self._door.visit(FEEDBACK, self._feedback, body, authorization)

    async def models(self, authorization: str) -> Answer:
        """The tasks that the caller may ask for."""
        return await self._door.visit("models", self._models, authorization)

    async def model(self, name: str, authorization: str) -> Answer:
        """One of them."""
        return await self._door.visit("models", self._model, name, authorization)

    async def ready(self) -> None:
        """Return if a call would be taken now."""
        await self._door.visit("ready", self._ready)

    async def _complete(self, asked: Asked) -> inference.Reply:
        return await self._exchanges.reply(self._arrival(asked))

    async def _stream(self, asked: Asked, begin: Headers, send: Send) -> None:
        arrival = self._arrival(asked)._replace(bears_restart=asked.bears_restart)
        begin(_stream_headers(asked, arrival.exchange_id))
        events = Events(arrival.exchange_id, asked)
        async with streamed(self._exchanges, arrival) as chunks:
            async for chunk in chunks:
                if event := events.of(chunk):
                    await send(event)

    async def _feedback(self, body: bytes, authorization: str) -> Answer:
        record = read_feedback(body)
        self._reception.feedback(record, authorization)
        kept = await keep(record, self._spool)
        return Answer({"id": kept, "object": "feedback", "exchange_id": record.exchange_id.lower()})

    async def _models(self, authorization: str) -> Answer:
        return Answer(http_reply.models(self._reception.open_to(authorization), self._started_s))

    async def _model(self, name: str, authorization: str) -> Answer:
        task = task_name(name)
        if task not in self._reception.open_to(authorization):
            raise UnknownTask(f"model: {name[:64]!r} is not defined; GET /v1/models tells which there are")
        return Answer(http_reply.model(task, self._started_s))

    async def _ready(self) -> None:
        self._spool.admit()

    def _arrival(self, asked: Asked) -> Arrival:
        task = self._reception.tasks.get(asked.request.task)
        remaining_s = asked.remaining_s(task.latency_budget_ms) if task else None
        return self._reception.arrival(
            asked.request,
            origin="http",
            remaining_s=remaining_s,
            authorization=asked.authorization,
            traceparent=asked.traceparent,
        )


def _stream_headers(asked: Asked, exchange_id: str) -> dict[str, str]:
    """What is known when a stream begins."""
    return {"x-request-id": exchange_id, "x-tutelage-exchange-id": exchange_id} | _ignored(asked)


def _ignored(asked: Asked) -> dict[str, str]:
    names = ",".join(asked.ignored).encode("ascii", "replace").decode()[:1024]
    return {IGNORED: names.translate(http_reply.NOT_A_HEADER)} if names else {}
