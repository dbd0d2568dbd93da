"""The teacher's API over HTTP: requests to its one path, and their answers, whole or event by event."""

from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from services.gateway.teacher_failures import TeacherFailed
from services.gateway.teacher_heard import Heard, OnEvent
from services.gateway.teacher_http1 import Http1
from services.gateway.teacher_http2 import Http2
from services.gateway.teacher_wire import HttpVersion

SCHEMES: Final = ("http://", "https://")


class Carrier(Protocol):
    """Posts bodies, and has the answer heard."""

    async def ask(self, body: bytes, timeout_s: float, heard: Heard) -> None:
        """Return at the answer's end. Raises TeacherFailed if it has none. To cancel it ends the call at the API."""

    def close(self) -> None:
        """Let go of the idle connections; one in use goes with its call."""


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
        """Raises ValueError for a `base_url` or key that can't be sent, OSError for a `ca_file` that can't be read."""
        url = _url(base_url)
        self._key = api_key.get_secret_value()
        if not (self._key.isascii() and self._key.isprintable()):
            raise ValueError("TEACHER_API_KEY: has a character that no header can carry, such as the end of a line")
        key = self._key or "none"  # Servers without keys want the header nevertheless.
        self._max_answer_bytes = max_answer_bytes
        is_plain = base_url.startswith("http://")
        self._carrier: Carrier = (
            Http1(url, key, ca_file)
            if version == "1.1" or (version == "auto" and is_plain)
            else Http2(url, key, version, calls_per_connection, ca_file)
        )

    async def whole(self, body: bytes, timeout_s: float) -> bytes:
        """The body of the answer. Raises TeacherFailed."""
        heard = Heard(self._max_answer_bytes)
        await self._ask(body, timeout_s, heard)
        return bytes(heard.body)

    async def stream(self, body: bytes, timeout_s: float, on_event: OnEvent) -> None:
        """Hand the events of the answer to `on_event` as they come. Raises TeacherFailed."""
        await self._ask(body, timeout_s, Heard(self._max_answer_bytes, on_event))

    async def _ask(self, body: bytes, timeout_s: float, heard: Heard) -> None:
        try:
            await self._carrier.ask(body, timeout_s, heard)
        except TeacherFailed:
            if heard.status in {0, 200}:
                raise  # Else it is a refusal, of which not all was heard.
        if heard.status != 200:
            raise heard.refusal(self.masked)

    def masked(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._key, "***") if self._key else text

    def close(self) -> None:
        """Let go of the idle connections; one in use goes with its call."""
        self._carrier.close()


def _url(base_url: str) -> str:
    """Of the API's one path; what the base asks by a query comes behind it. Raises ValueError."""
    try:
        parts = urlsplit(base_url)
        host, _port = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:
        raise ValueError("TEACHER_BASE_URL: is no address, or its port is no number") from error
    if "@" in parts.netloc:
        raise ValueError("TEACHER_BASE_URL: names a user, who would not be told; a key goes into TEACHER_API_KEY")
    if not (base_url.startswith(SCHEMES) and host):
        raise ValueError("TEACHER_BASE_URL: does not begin with http:// or https:// and a host")
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions"))
