"""How events come from Faust to the sampler: whole batches of its raw messages, at a third of Faust's own price.

Of the 65 us of processor time that Faust takes for an event, 25 go into four tasks that watch over its way into the
agent's queue, 12 into iterating the stream, a turn of the event loop each, and 8 into decoding what we decode later.
Here a message whose way is free goes it at once, and the queue is emptied in batches. All else is Faust's: the group,
which worker has which partition, the table's recovery, and what is committed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from inspect import iscoroutine
from types import coroutine
from typing import Any, Final

import faust
from faust.transport.drivers.aiokafka import Consumer, Transport

LINGER_S: Final = 0.02
"""How long a batch waits for more when the queue is dry: one event in 20 ms is not worth a round trip to Kafka."""


class DirectConsumer(Consumer):  # type: ignore[misc]
    """Hands a message on without tasks where nothing holds it up."""

    async def wait_first(self, *waited: Any, **limits: Any) -> Any:
        """Faust lets the handing over of each message race against a rebalance.

        Its first step is nearly always its last: done here, none of it can be in a rebalance's way. Where it has to
        wait after all (the queue is full, the flow is stopped), the race is run from there.
        """
        if len(waited) != 2 or not iscoroutine(waited[0]):
            return await super().wait_first(*waited, **limits)
        handing, rebalance = waited
        try:
            waits_for = handing.send(None)
        except BaseException as ended:
            rebalance.close()
            if isinstance(ended, StopIteration):
                return None
            raise
        return await super().wait_first(_carried_on(handing, waits_for), rebalance, **limits)


async def _carried_on(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    return await _rest(begun, waits_for)


@coroutine
def _rest(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """What a coroutine does after its first wait, which is on `waits_for`."""
    while True:
        try:
            try:
                value = yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancellation too, as `yield from` would
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(value)
        except StopIteration as end:
            return end.value


class DirectTransport(Transport):  # type: ignore[misc]
    """Faust's connection to Kafka, with the consumer above."""

    Consumer = DirectConsumer


class KeepingApp(faust.App):  # type: ignore[misc]
    """Never empties a queue of events that were read and not yet handled.

    Faust reads on while it goes back to the committed offsets after a recovery, and then clears the queues: what came
    between was marked as read, never handled, and committed over by the next batch. Kept, it is handled, some of it
    twice, which folds.
    """

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> Any:  # noqa: ARG002
        return super().FlowControlQueue(maxsize, clear_on_resume=False)

    def _new_transport(self) -> DirectTransport:
        return DirectTransport(self.conf.broker_consumer, self)


class Undecoded(faust.Schema):  # type: ignore[misc]
    """Puts Faust's messages themselves into the queue, in the place of its events."""

    def compile(self, *_: Any, **__: Any) -> Callable[..., Awaitable[Any]]:
        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return message

        return decode


async def batches(stream: Any, max_messages: int, within_s: float) -> AsyncIterator[list[Any]]:
    """Messages in batches, an incomplete one soon after the queue has run dry. Whoever takes them acknowledges them.

    As in Faust's own streams nothing is taken during a rebalance, when the memory is not whole, and what was read
    before it is passed over: it is read again, by whoever has the partition now.

    Instead of Faust's `noack_take`, which asks the stream for its current event after an await: by then it may be the
    next one, which then comes twice while the one before is lost.
    """
    await stream.maybe_start()
    app, queue = stream.app, stream.channel.queue
    with suppress(StopAsyncIteration):  # What the queue raises when the worker stops.
        while True:
            batch = await _gathered(queue, max_messages, within_s)
            await app.flow_control.acquire()
            generation = app.consumer_generation_id
            if current := [message for message in batch if message.generation_id == generation]:
                yield current
            await asyncio.sleep(0)  # Faust commits what was acknowledged and reads on, also while the queue is full.


async def _gathered(queue: Any, max_messages: int, within_s: float) -> list[Any]:
    batch = [await queue.get()]
    until_s = time.monotonic() + within_s
    while len(batch) < max_messages:
        if queue.empty():
            await asyncio.sleep(LINGER_S)
        if queue.empty() or time.monotonic() >= until_s:
            break
        batch.append(queue.get_nowait())
    return batch


def acknowledge(app: faust.App, batch: Iterable[Any]) -> None:
    """Let Faust commit these messages, and tell the watch it keeps over slow streams that this one moves."""
    now_s = time.monotonic()
    for message in batch:
        message.ack(app.consumer)
        app.monitor.stream_inbound_time[message.tp] = now_s
