"""How messages come from Faust: at once where nothing holds them up, in whole batches, and not during a rebalance."""

import asyncio
from typing import Any

import pytest
from mode import Service

from services.sampler import feed
from tests.services.sampler.makers import a_message, a_stream


class Consumer(feed.DirectConsumer):
    """Faust's race, without a connection to Kafka."""

    def __init__(self) -> None:
        Service.__init__(self)


async def hand_on(taken: list[int], *gates: asyncio.Event) -> None:
    for gate in gates:
        await gate.wait()
    taken.append(len(gates))


async def test_a_message_whose_way_is_free_goes_it_without_a_turn_of_the_loop() -> None:
    taken: list[int] = []
    racing = Consumer().wait_first(hand_on(taken), asyncio.Event().wait())
    with pytest.raises(StopIteration):
        racing.send(None)
    assert taken == [0]


async def test_one_that_is_held_up_goes_when_it_can() -> None:
    taken: list[int] = []
    first, second = asyncio.Event(), asyncio.Event()
    race = asyncio.create_task(Consumer().wait_first(hand_on(taken, first, second), asyncio.Event().wait()))
    for gate in (first, second):
        await asyncio.sleep(0)
        assert not taken
        gate.set()
    await race
    assert taken == [2]


async def test_one_that_is_held_up_gives_way_to_a_rebalance_and_is_not_handed_on_later() -> None:
    taken: list[int] = []
    gate, rebalance = asyncio.Event(), asyncio.Event()
    race = asyncio.create_task(Consumer().wait_first(hand_on(taken, gate), rebalance.wait()))
    await asyncio.sleep(0)
    rebalance.set()
    await race
    gate.set()
    await asyncio.sleep(0.01)
    assert not taken


@pytest.mark.parametrize("waits", [False, True])
async def test_what_goes_wrong_on_the_way_is_raised(waits: bool) -> None:
    async def breaks() -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("a partition")

    with pytest.raises(KeyError):
        await Consumer().wait_first(breaks(), asyncio.Event().wait())


async def test_batches_are_whole_while_there_is_enough_and_the_rest_comes_soon() -> None:
    found = feed.batches(a_stream(range(25)), max_messages=10, within_s=60.0)
    sizes = [[message.offset for message in await anext(found)] for _ in range(3)]
    assert sizes == [list(range(10)), list(range(10, 20)), list(range(20, 25))]
    await found.aclose()


async def test_nothing_is_taken_during_a_rebalance_and_what_was_read_before_it_is_passed_over() -> None:
    stream = a_stream(range(5))
    stream.app.flow_control.suspend()
    found = feed.batches(stream, max_messages=10, within_s=60.0)
    taking: asyncio.Task[Any] = asyncio.create_task(anext(found))  # type: ignore[arg-type]
    await asyncio.sleep(3 * feed.LINGER_S)
    assert not taking.done()
    stream.app.consumer_generation_id = 2
    stream.app.flow_control.resume()
    stream.channel.queue.put_nowait(a_message(3, generation=2))
    assert [message.offset for message in await taking] == [3]
    await found.aclose()


async def test_a_worker_that_stops_ends_the_batches() -> None:
    stream = a_stream([1])
    found = feed.batches(stream, max_messages=10, within_s=60.0)
    assert len(await anext(found)) == 1
    taking: asyncio.Task[Any] = asyncio.create_task(anext(found, "the end"))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    await stream.channel.queue.throw(StopAsyncIteration())
    assert await taking == "the end"
