"""The cache over gRPC: what callers and the ledger see of it."""

import asyncio

import pytest

from protos import events_pb2 as events
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, a_task, until

pytestmark = pytest.mark.contract


@pytest.fixture
def cached(gateway: Gateway) -> Gateway:
    task = a_task(cache={"ttl_s": 60})
    gateway.reception.tasks = {task.name: task}
    return gateway


async def test_a_hit_is_written_down_as_an_exchange_without_attempts(cached: Gateway) -> None:
    first, again = [await cached.inference.Complete(a_request()) for _ in range(2)]
    assert again.cached
    assert again.message == first.message
    one, other = cached.spool.exchanges
    assert (other.id, other.reply.cached, other.outcome) == (again.exchange_id, True, events.OUTCOME_ANSWERED)
    assert (len(one.attempts), len(other.attempts)) == (1, 0)
    assert len(cached.teacher.asks) == 1


async def test_a_stream_has_what_is_kept_in_one_piece(cached: Gateway) -> None:
    await cached.inference.Complete(a_request())
    chunks = [chunk async for chunk in cached.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the teacher says so", ""]
    assert chunks[-1].reply.cached


async def test_a_promotion_takes_the_kept_answers_out_of_use(cached: Gateway) -> None:
    await cached.inference.Complete(a_request())
    cached.promote(events.POLICY_KIND_STUDENT_ONLY)
    cached.promotions["say"].id = "another"
    assert (await cached.inference.Complete(a_request())).message.content == "the student says so"


async def test_where_the_caller_who_came_first_goes_away_another_takes_over(cached: Gateway) -> None:
    cached.teacher.delay_s = 60
    first = asyncio.ensure_future(cached.inference.Complete(a_request()))
    await until(lambda: cached.teacher.asks)
    second = asyncio.ensure_future(cached.inference.Complete(a_request()))
    await until(lambda: cached.door.open_calls == 2)
    cached.teacher.delay_s = 0
    first.cancel()
    reply = await second
    assert (reply.message.content, reply.cached) == ("the teacher says so", False)
    assert len(cached.teacher.asks) == 2
    await until(lambda: len(cached.spool.exchanges) == 2)
    assert {exchange.outcome for exchange in cached.spool.exchanges} == {
        events.OUTCOME_CANCELLED,
        events.OUTCOME_ANSWERED,
    }
