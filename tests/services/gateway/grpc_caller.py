"""Callers of the gateway's gRPC without a socket: h2's client, which judges what it is sent, and raw bytes."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event
from h2.settings import SettingCodes

from services.gateway.frames import PREFACE, SETTINGS
from services.gateway.grpc_connection import Connection
from services.gateway.grpc_messages import Unreadable
from services.gateway.grpc_streams import Stream

NONE: Final[Mapping[str, str]] = MappingProxyType({})
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/tests.Echo/Say"),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


def raw(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


GREETING = PREFACE + raw(SETTINGS)


def grpc_bytes(*messages: bytes, flag: int = 0) -> bytes:
    """Messages as gRPC puts them into a stream."""
    return b"".join(struct.pack(">BI", flag, len(message)) + message for message in messages)


@dataclass
class Kept:
    """Answers nothing and keeps what was asked. A call's work lasts until `Connection.forget`, as a real one's does."""

    connection: Connection = field(init=False)
    begun: list[Stream] = field(default_factory=list)
    messages: dict[int, list[bytes]] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    went: list[int] = field(default_factory=list)
    refused: list[tuple[int, Unreadable]] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)
    times_overfull: int = 0

    def begin(self, stream: Stream) -> None:
        self.begun.append(stream)
        self.messages[stream.id] = []

    def waits(self, stream: Stream) -> None:
        self.waited.append(stream.id)

    def message(self, stream: Stream, message: bytes) -> None:
        self.messages[stream.id].append(message)

    def half_closed(self, stream: Stream) -> None:
        self.ended.append(stream.id)

    def gone(self, stream: Stream) -> None:
        self.went.append(stream.id)

    def unreadable(self, stream: Stream, error: Unreadable) -> None:
        self.refused.append((stream.id, error))
        self.connection.finish(stream)

    def sent(self, stream: Stream) -> None:
        pass

    def overfull(self) -> None:
        self.times_overfull += 1


class Pair:
    """A connection and h2's client of it, with bytes carried both ways."""

    def __init__(self, *, message_most: int = 100_000, streams_most: int = 100, **settings: int) -> None:
        """`settings`: the client's, by the names of h2's `SettingCodes`."""
        self._out = bytearray()
        self.calls = Kept()
        self.connection = Connection(self._out.extend, self.calls, message_most=message_most, streams_most=streams_most)
        self.calls.connection = self.connection
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.client.update_settings({SettingCodes[name.upper()]: value for name, value in settings.items()})
        self.events: list[Event] = []
        self.carry()

    def carry(self) -> None:
        """Until neither has more to say."""
        while (asked := self.client.data_to_send()) or self._out:
            self.connection.receive(asked)
            said = bytes(self._out)
            self._out.clear()
            self.events += self.client.receive_data(said)

    def call(self, *messages: bytes, ends: bool = True, headers: Mapping[str, str] = NONE) -> Stream:
        """A call that has come with these messages."""
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, [*HEADERS, *headers.items()])
        for message in messages:
            self.client.send_data(number, grpc_bytes(message))
        if ends:
            self.client.end_stream(number)
        self.carry()
        return next(stream for stream in self.calls.begun if stream.id == number)

    def heard(self, kind: type[Event], stream: Stream | None = None) -> list[Any]:
        """What of this kind the client was told, of one call or all."""
        return [
            event
            for event in self.events
            if isinstance(event, kind) and (stream is None or getattr(event, "stream_id", None) == stream.id)
        ]

    def data(self, stream: Stream) -> bytes:
        """What the call was sent."""
        return b"".join(event.data for event in self.heard(DataReceived, stream))
