"""The way to the teacher's API over HTTP/2, or over what it offers by TLS. The only importer of ry (Rust's reqwest).

reqwest keeps one HTTP/2 connection to a host and lets calls wait for a place in it, so there is a client for every
`calls_per_connection` calls.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import ry

from services.gateway.teacher_dialing import CONNECT_S
from services.gateway.teacher_failures import (
    BROKE_BEFORE,
    BROKE_OFF,
    NOT_TRUSTED,
    OWN_AUTHORITY,
    UNREACHABLE,
    TeacherFailed,
    broke_off,
    no_time,
    unavailable,
)
from services.gateway.teacher_heard import END_S, Heard
from services.gateway.teacher_wire import HttpVersion

# Read by ry's runtime when it starts. A gateway process has one core; a second thread would fight for the GIL, for a
# tenth of a call's cost.
os.environ.setdefault("TOKIO_WORKER_THREADS", "1")

PING_INTERVAL_S: Final = 20.0
"""A connection of a hundred calls that died without a word is found out before their time is over."""
PING_TIMEOUT_S: Final = 10.0


class _Client:
    """One reqwest client, and how many calls it has open."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.http = ry.Client(**options)
        self.calls = 0


class Http2:
    """Shares connections among calls; see `teacher_http.Carrier`."""

    def __init__(
        self, url: str, key: str, version: HttpVersion, calls_per_connection: int, ca_file: Path | None
    ) -> None:
        """Raises OSError for a `ca_file` that can't be read."""
        self._url = url
        self._key = key
        self._options = _options(url, version, ca_file)
        self._calls_per_client = calls_per_connection
        self._free: list[_Client] = []

    async def ask(self, body: bytes, timeout_s: float, heard: Heard) -> None:
        client = self._take()
        timeout = ry.Duration.from_secs_f64(max(timeout_s, 0.0))
        try:
            response = await client.http.post(self._url, body=body, bearer_auth=self._key, timeout=timeout)
            heard.begin(response.status, response.headers.get)
            await _listen(response.bytes_stream(), heard)
        except ry.ReqwestError as error:
            raise _failed(error) from error
        finally:
            self._give(client)

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
        self._free.clear()


def _options(url: str, version: HttpVersion, ca_file: Path | None) -> dict[str, Any]:
    # A proxy for the scheme that is not asked turns off those of the environment, which reqwest would take unasked.
    plain = url.startswith("http://")
    no_proxy = ry.Proxy.https("http://127.0.0.1:9") if plain else ry.Proxy.http("http://127.0.0.1:9")
    options: dict[str, Any] = {
        "headers": {"content-type": "application/json"},
        "user_agent": "tutelage",
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


async def _listen(pieces: AsyncIterator[ry.Bytes], heard: Heard) -> None:
    async for piece in pieces:
        heard.piece(bytes(piece))
        if heard.is_enough:
            await _end(pieces)
            return


async def _end(pieces: AsyncIterator[ry.Bytes]) -> None:
    """A connection can be used again once its answer is over; a server that leaves it open is not waited for."""
    with suppress(TimeoutError, ry.ReqwestError):
        async with asyncio.timeout(END_S):
            async for _ in pieces:
                pass


def _failed(error: ry.ReqwestError) -> TeacherFailed:
    if error.is_builder():
        return unavailable("the request can't be made: check TEACHER_BASE_URL and TEACHER_API_KEY")
    if error.is_connect():
        return _not_connected(str(error))
    if error.is_timeout():
        return no_time()
    return unavailable(BROKE_BEFORE, passes=True) if error.is_request() else broke_off(BROKE_OFF)


def _not_connected(why: str) -> TeacherFailed:
    if "CaUsedAsEndEntity" in why:
        return unavailable(OWN_AUTHORITY)
    return unavailable(NOT_TRUSTED) if "ertificate" in why else unavailable(UNREACHABLE, passes=True)
