"""The client for asyncio: method by method that of `blocking`."""

from collections.abc import AsyncIterator
from typing import Any, Self

import grpc

from protos import control_pb2_grpc as control_grpc
from protos import inference_pb2 as inference
from protos import inference_pb2_grpc as inference_grpc
from tutelage.channel import OPTIONS, Gateway, PemFile, translated
from tutelage.chat import Messages
from tutelage.messages import Answer, Growing, answered, feedback, request


class AsyncAnswerStream(Growing):
    """An answer while it grows: `async for` over its chunks; `text` is what there is, `answer` the whole at the end."""

    def __init__(self, asked: inference.Request, chunks: Any) -> None:
        super().__init__(asked)
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[inference.Chunk]:
        with translated():
            async for chunk in self._chunks:
                self.add(chunk)
                yield chunk

    def cancel(self) -> None:
        """Let it go: the backend stops, too."""
        self._chunks.cancel()


class AsyncClient:
    """A connection to a gateway: `async with AsyncClient("127.0.0.1:50051") as client`.

    `ca`, `certificate` and `private_key` are paths of PEM files. Without any the connection is plain; the last two are
    for mTLS and need `ca`. What can't be so raises ValueError, a file that can't be read OSError.
    Every method raises TutelageError, whose `code` is gRPC's and whose text says what to change.
    """

    def __init__(
        self,
        address: str,
        *,
        api_key: str = "",
        ca: PemFile | None = None,
        certificate: PemFile | None = None,
        private_key: PemFile | None = None,
    ) -> None:
        gateway = Gateway(address, api_key, ca, certificate, private_key)
        made = gateway.credentials()
        self._channel = _channel(address, made)
        self._inference = inference_grpc.InferenceStub(self._channel)
        self._feedback = control_grpc.FeedbackStub(self._channel)
        self._metadata = gateway.metadata

    async def complete(self, task: str, messages: Messages, *, timeout_s: float = 30.0, **fields: Any) -> Answer:
        """A whole answer. `fields`: group_key, metadata, sampling, tools, response_schema, priority, request_id."""
        asked = request(task, messages, **fields)
        with translated():
            return answered(asked, await self._inference.Complete(asked, timeout=timeout_s, metadata=self._metadata))

    def stream(self, task: str, messages: Messages, *, timeout_s: float = 30.0, **fields: Any) -> AsyncAnswerStream:
        """The same, piece by piece. A chunk with `restart` says to forget the text so far."""
        asked = request(task, messages, **fields)
        return AsyncAnswerStream(
            asked, self._inference.CompleteStream(asked, timeout=timeout_s, metadata=self._metadata)
        )

    async def correct(self, answer: Answer, correction: str, comment: str = "") -> str:
        """Say what the right answer is. Returns the feedback's id, as the others do."""
        return await self._record(answer, correction=correction, comment=comment)

    async def rate(self, answer: Answer, rating: float, comment: str = "") -> str:
        """Say how good it was: -1 (useless) to 1 (right)."""
        return await self._record(answer, rating=rating, comment=comment)

    async def measure(self, answer: Answer, **metrics: float) -> str:
        """Say what it was worth to you, by measurements of your own."""
        return await self._record(answer, metrics=metrics)

    async def _record(self, answer: Answer, **said: Any) -> str:
        with translated():
            record = feedback(answer, **said)
            return str((await self._feedback.Record(record, timeout=10.0, metadata=self._metadata)).id)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, OPTIONS)
    return grpc.aio.secure_channel(address, credentials, OPTIONS)
