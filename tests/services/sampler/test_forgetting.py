"""What a worker that runs forgets, as topic `forgotten` tells it."""

import asyncio
from contextlib import suppress

import pytest

from services.sampler import forgetting
from services.sampler.memory import Kind, Memory
from services.topics import FORGOTTEN, Record
from tests.fakes.kafka import FakeBroker, FakeFollower


async def test_what_the_topic_names_is_forgotten_whether_it_comes_before_the_worker_or_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forgetting, "POLL_S", 0.01)
    broker, memory, forgotten = FakeBroker(), Memory({}, 100, 100.0), asyncio.Queue[bytes]()

    def forget(key: bytes) -> bool:
        forgotten.put_nowait(key)
        return memory.erase(key)

    for name in ("before", "after", "kept"):
        memory.put(Kind.EXCHANGE, name, b"said", 0, 0.0)
    broker.append(Record(FORGOTTEN, b"exchange:before", b""))
    follows = asyncio.create_task(forgetting.follow(FakeFollower(broker, FORGOTTEN), forget))
    async with asyncio.timeout(10):
        assert await forgotten.get() == b"exchange:before"
        broker.append(Record(FORGOTTEN, b"exchange:after", b""))
        assert await forgotten.get() == b"exchange:after"
    assert [memory.get(Kind.EXCHANGE, name) for name in ("before", "after", "kept")] == [None, None, b"said"]
    follows.cancel()
    with suppress(asyncio.CancelledError):
        await follows
