"""The student: a decoupled model in Triton, behind one stream per replica that carries all calls to it."""

import itertools
import secrets
import time
from collections.abc import Sequence

from protos import events_pb2 as events
from services.gateway.backends import Ask, BackendFailed, FailureKind, OnText
from services.gateway.replicas import Replicas, Turn
from services.gateway.student_wire import Growing, cancelling, request


class TritonStudent:
    """A backend; see `backends.Backend`. The model's name is the task's, its version the ask's.

    It resumes: a student that writes goes on from the beginning of another's answer. One that does not (an encoder)
    refuses that by the name of the input, `partial`.
    """

    resumes = True

    def __init__(self, addresses: Sequence[str], max_calls: int) -> None:
        """`addresses` are Tritons' gRPC as host:port, which need not be up; `max_calls` is each one's, at a time."""
        self._replicas = Replicas(addresses, max_calls)
        # Unlike the exchange's id: that may be asked twice at the same time, and of one Triton by several gateways.
        self._ids = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())

    async def answer(self, ask: Ask, on_text: OnText | None) -> events.Attempt:
        until_s = time.monotonic() + ask.timeout_s
        turn, heard = self._replicas.first(ask.timeout_s), Heard(on_text)
        try:
            return await self._ask(turn, ask, heard)
        except BackendFailed as failure:
            if heard or failure.kind is FailureKind.REFUSED:
                raise
            again = self._replicas.other(turn.replica, until_s - time.monotonic())
            if again is None:
                raise
        return await self._ask(again, ask, heard)

    async def close(self) -> None:
        await self._replicas.close()

    async def _ask(self, turn: Turn, ask: Ask, heard: "Heard") -> events.Attempt:
        request_id, growing = next(self._ids), Growing(ask)
        message = request(ask, request_id, stream=heard.listens, timeout_s=turn.timeout_s)
        with self._replicas.taken(turn, ask.is_slow) as replica:
            call = await replica.call(request_id, message)
            try:
                while (response := await call.next()) is not None:
                    heard.text(growing.add(response.tensors))
            finally:
                if not call.over:
                    call.leave(cancelling(ask, request_id))
            return growing.attempt()


class Heard:
    """Passes text on, and is true once it has."""

    def __init__(self, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._any = False
        self.listens = on_text is not None

    def text(self, text: str) -> None:
        """Pass a piece on, unless it is empty or nobody listens."""
        if text and self._on_text is not None:
            self._any = True
            self._on_text(text)

    def __bool__(self) -> bool:
        return self._any
