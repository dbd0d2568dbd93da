"""The second way to what serves each task: the controller's own word, which does not wait for Kafka."""

import asyncio
from collections.abc import Callable
from typing import Final

import grpc
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random

from protos import control_pb2 as control
from protos import control_pb2_grpc
from protos import events_pb2 as events
from services import client, telemetry
from services.errors import BadEvent
from services.settings import ControlTrust

AGAIN_WITHIN_S: Final = 2.0
"""All gateways lose a controller that restarts at once: each comes back after a time of its own, up to this."""
OPTIONS: Final = (  # A connection that died without a word is noticed within fifteen seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Ended(Exception):  # noqa: N818 - it says what happened
    """The controller tells no more: it stops, is away, or does not know the method."""


class Watch:
    """Follows `Control.WatchPromotions` as long as it is open. Without it, topic `promotions` tells all the same."""

    def __init__(
        self, address: str, take: Callable[[events.Promotion], None], trust: ControlTrust | None = None
    ) -> None:
        """`address` is the controller's host:port; `take` is given each promotion, and may raise BadEvent."""
        self._address = address
        self._trust = trust or ControlTrust()
        self._said_to_it = client.control_metadata(self._trust)
        self._take = take
        self._following: asyncio.Task[None] | None = None
        self._said = ""

    def start(self) -> None:
        """Begin, in the background. The controller need not be up."""
        self._following = asyncio.get_running_loop().create_task(self._go_on())
        self._following.add_done_callback(_ended)

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def _go_on(self) -> None:
        again = AsyncRetrying(
            retry=retry_if_exception_type(Ended), wait=wait_random(0, AGAIN_WITHIN_S), before_sleep=self._say_once
        )
        await again(self._connect)

    async def _connect(self) -> None:
        """Anew for each stream: a TLS file may have been renewed, or mended. Raises Ended."""
        try:
            channel = client.control_channel(self._trust, self._address, OPTIONS)
        except (ValueError, OSError) as error:
            raise Ended(str(error)) from error
        async with channel:
            await self._follow(control_pb2_grpc.ControlStub(channel))

    async def _follow(self, stub: control_pb2_grpc.ControlStub) -> None:
        """Until the stream ends. Raises Ended."""
        try:
            async for promotion in stub.WatchPromotions(control.WatchPromotionsRequest(), metadata=self._said_to_it):
                self._said = ""
                self._read(promotion)
        except grpc.aio.AioRpcError as error:
            raise Ended(f"{error.code().name}: {error.details()}") from error
        raise Ended("the controller has ended the stream")

    def _read(self, promotion: events.Promotion) -> None:
        try:
            self._take(promotion)
        except BadEvent as bad:
            telemetry.log.error("the controller tells what is not a promotion: skipped", reason=bad.reason)

    def _say_once(self, state: RetryCallState) -> None:
        reason = str(state.outcome.exception()) if state.outcome is not None else ""
        if reason != self._said:
            self._said = reason
            telemetry.log.warning("the controller tells nothing; promotions come by Kafka alone", reason=reason)


def _ended(following: "asyncio.Task[None]") -> None:
    """It goes on until it is cancelled: whatever else ends it is a fault that nobody would see."""
    if not following.cancelled() and (fault := following.exception()) is not None:
        telemetry.log.error("the controller is not heard any more; promotions come by Kafka alone", exc_info=fault)
