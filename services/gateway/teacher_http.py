"""The teacher's API over HTTP/1.1 or HTTP/2. The gateway's only importer of ry (Rust's reqwest); its errors end here.

reqwest keeps one HTTP/2 connection to a host and lets calls wait for a place in it, so there is a client for every
`calls_per_connection` calls. One client has as many HTTP/1.1 connections as calls.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import ry
from pydantic import SecretStr

from services.gateway.backends import FailureKind
from services.gateway.teacher_answer import said
from services.gateway.teacher_failures import TeacherFailed, of_status, retry_after_s, unavailable
from services.gateway.teacher_wire import HttpVersion

# Read by ry's runtime when it starts. A gateway process has one core; a second thread would fight for the GIL, for a
# tenth of a call's cost.
os.environ.setdefault("TOKIO_WORKER_THREADS", "1")

OnEvent = Callable[[str], bool]
"""Takes the data of each event of a stream; says whether it was the last that matters."""
CONNECT_S: Final = 5.0
"""A host that takes no connection for this long is down; what is left of the call's time serves another try."""
PING_INTERVAL_S: Final = 20.0
"""A connection of a hundred calls that died without a word is found out before their time is over."""
PING_TIMEOUT_S: Final = 10.0
END_S: Final = 0.2
"""How long after a stream's last event its end may take."""
MAX_REFUSAL_BYTES: Final = 64 * 1024
"""Of an error's body; its first 300 characters are told."""


class _Event(Protocol):
    """One of a stream."""

    @property
    def data(self) -> str: ...


class _Client:
    """One reqwest client, and how many calls it has open."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.http = ry.Client(**options)
        self.calls = 0


class TeacherHttp:
    """Posts requests to the API's one path. Cancelling a call ends it at the API, too."""

    def __init__(  # noqa: PLR0913
        self,
        base_url: str,
        api_key: SecretStr,
        *,
        version: HttpVersion = "auto",
        calls_per_connection: int = 100,
        max_answer_bytes: int = 8 * 1024**2,
        ca_file: Path | None = None,
    ) -> None:
        """Raises ValueError for a `base_url` that is none, OSError for a `ca_file` that can't be read."""
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"TEACHER_BASE_URL: {base_url!r} does not begin with http:// or https://")
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        # Servers without keys want the header nevertheless.
        self._key = api_key.get_secret_value() or "none"
        self._options = _options(base_url, version, ca_file)
        multiplexed = version == "2" or (version == "auto" and base_url.startswith("https://"))
        self._calls_per_client = calls_per_connection if multiplexed else None
        self._max_answer_bytes = max_answer_bytes
        self._free: list[_Client] = []

    async def whole(self, body: bytes, timeout_s: float) -> bytes:
        """The body of the answer. Raises TeacherFailed."""
        client = self._take()
        try:
            response = await self._post(client, body, timeout_s)
            return await _read(response, self._max_answer_bytes)
        except ry.ReqwestError as error:
            raise _failed(error) from error
        finally:
            self._give(client)

    async def stream(self, body: bytes, timeout_s: float, on_event: OnEvent) -> None:
        """Hand the events of the answer to `on_event` as they come. Raises TeacherFailed."""
        client = self._take()
        try:
            response = await self._post(client, body, timeout_s)
            await self._listen(response, on_event)
        except ry.ReqwestError as error:
            raise _failed(error) from error
        finally:
            self._give(client)

    async def _post(self, client: _Client, body: bytes, timeout_s: float) -> ry.Response:
        timeout = ry.Duration.from_secs_f64(max(timeout_s, 0.0))
        response = await client.http.post(self._url, body=body, bearer_auth=self._key, timeout=timeout)
        if response.status != 200:
            raise await self._refusal(response)
        return response

    async def _refusal(self, response: ry.Response) -> TeacherFailed:
        try:
            told = said(await _read(response, MAX_REFUSAL_BYTES))
        except (ry.ReqwestError, TeacherFailed):
            told = "its refusal can't be read"
        headers = response.headers
        wait_s = retry_after_s(headers.get("retry-after-ms"), headers.get("retry-after"), datetime.now(UTC))
        return of_status(response.status, self.masked(told), wait_s)

    async def _listen(self, response: ry.Response, on_event: OnEvent) -> None:
        left_bytes = self._max_answer_bytes
        async with response.sse(max_event_size=self._max_answer_bytes) as events:
            while (data := await self._next(events)) is not None:
                left_bytes -= len(data)
                if left_bytes < 0:
                    raise _too_large(self._max_answer_bytes)
                if on_event(data):
                    await _end(events)
                    break

    async def _next(self, events: AsyncIterator[_Event]) -> str | None:
        try:
            return (await anext(events)).data
        except StopAsyncIteration:
            return None
        except ValueError as error:
            raise _too_large(self._max_answer_bytes) from error

    def masked(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._key, "***")

    def _take(self) -> _Client:
        if not self._free:
            self._free.append(_Client(self._options))
        client = self._free[-1]
        client.calls += 1
        if client.calls == self._calls_per_client:
            self._free.pop()
        return client

    def _give(self, client: _Client) -> None:
        if client.calls == self._calls_per_client:
            self._free.append(client)
        client.calls -= 1

    def close(self) -> None:
        """Let go of the idle connections; one in use goes with its call."""
        self._free.clear()


def _options(base_url: str, version: HttpVersion, ca_file: Path | None) -> dict[str, Any]:
    # A proxy for the scheme that is not asked turns off those of the environment, which reqwest would take unasked.
    plain = base_url.startswith("http://")
    no_proxy = ry.Proxy.https("http://127.0.0.1:9") if plain else ry.Proxy.http("http://127.0.0.1:9")
    options: dict[str, Any] = {
        "headers": {"content-type": "application/json"},
        "user_agent": "tutelage",
        "http1_only": version == "1.1",
        "http2_prior_knowledge": version == "2",
        "http2_keep_alive_interval": ry.Duration.from_secs_f64(PING_INTERVAL_S),
        "http2_keep_alive_timeout": ry.Duration.from_secs_f64(PING_TIMEOUT_S),
        "connect_timeout": ry.Duration.from_secs_f64(CONNECT_S),
        "redirect": None,  # It would carry the key elsewhere.
        "referer": False,
        "proxy": no_proxy,
        "hickory_dns": False,  # The system's resolver, as everywhere else.
        # What is taken is bounded by its size on the wire.
        **dict.fromkeys(("gzip", "brotli", "zstd", "deflate"), False),
    }
    if ca_file is not None:
        options["tls_certs_only"] = ry.Certificate.from_pem_bundle(ca_file.read_bytes())
    elif plain:
        options["tls_certs_only"] = []  # To read the system's takes ten milliseconds a client.
    return options


async def _end(events: AsyncIterator[_Event]) -> None:
    """A connection can be used again once its answer is over; a server that leaves it open is not waited for."""
    with suppress(TimeoutError, ValueError, ry.ReqwestError):
        async with asyncio.timeout(END_S):
            async for _ in events:
                pass


async def _read(response: ry.Response, max_bytes: int) -> bytes:
    length = response.content_length
    if length is not None and length <= max_bytes:
        return bytes(await response.bytes())
    parts, left_bytes = bytearray(), max_bytes
    async for part in response.bytes_stream():
        left_bytes -= len(part)
        if left_bytes < 0:
            raise _too_large(max_bytes)
        parts += part
    return bytes(parts)


def _too_large(max_bytes: int) -> TeacherFailed:
    return unavailable(f"its answer is larger than TEACHER_MAX_ANSWER_BYTES, {max_bytes}")


def _failed(error: ry.ReqwestError) -> TeacherFailed:
    if error.is_builder():
        return unavailable("the request can't be made: check TEACHER_BASE_URL and TEACHER_API_KEY")
    if error.is_connect():
        why = "its certificate is not trusted: check TEACHER_CA_FILE" if "ertificate" in str(error) else ""
        return unavailable(why or "it can't be reached: check TEACHER_BASE_URL", passes=not why)
    if error.is_timeout():
        return TeacherFailed(FailureKind.TIMEOUT, "no answer in time")
    if error.is_request():
        return unavailable("its connection broke before it answered", passes=True)
    return unavailable("its answer broke off")
