"""Who asks exactly the same has the same answer, for as long as the task allows it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.alike import KEEPING_BYTES, Alike, digest
from services.gateway.answering import NoAnswer
from services.gateway.backends import FailureKind
from services.gateway.listening import Clock, Told
from services.tasks import Cache, Task
from tests.services.gateway.examples import a_request, a_task, until

A_MINUTE = {"ttl_s": 60}


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def text(self, delta: str) -> None:
        self.pieces.append(delta)

    def restart(self) -> None:
        self.pieces.append("restart")


class Asked:
    """A backend that says its count, and a clock that is set by hand."""

    def __init__(self, **fields: Any) -> None:
        self.now_s = 0.0
        self.task = a_task(**fields)
        self.alike = Alike(lambda: self.now_s)
        self.answers = 0
        self.finish = inference.FINISH_STOP
        self.text_bytes = 0
        self.failure: NoAnswer | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def ask(self, text: str = "what is it?", **given: Any) -> inference.Reply:
        return (await self.exchange(text, **given)).reply

    async def exchange(
        self, text: str = "what is it?", promotion: str = "", key_id: str = "", timeout_s: float = 30.0, **fields: Any
    ) -> events.Exchange:
        exchange = events.Exchange(id="an id", request=a_request(text, **fields), key_id=key_id)
        self.heard = Heard()
        told = Told(Clock(timeout_s), self.heard)
        found = self.alike.find(exchange, self.task, promotion)
        exchange.reply.CopyFrom(await self.alike.reply(exchange, self.task, found, told, self.answer))
        return exchange

    async def answer(self) -> inference.Reply:
        self.answers += 1
        number = self.answers
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        message = inference.Message(role=inference.ROLE_ASSISTANT, content=f"{number}".rjust(self.text_bytes))
        return inference.Reply(exchange_id="first", message=message, finish=self.finish, cost_usd="0.01", model="m")


async def test_without_a_cache_each_call_is_answered_anew() -> None:
    asked = Asked()
    assert [(await asked.ask()).cached for _ in range(2)] == [False, False]
    assert asked.answers == 2


async def test_the_same_again_costs_nothing_and_is_an_exchange_of_its_own() -> None:
    asked = Asked(cache=A_MINUTE)
    first = await asked.ask()
    asked.now_s = 12
    again = await asked.ask()
    assert (first.cached, first.cost_usd, again.cached, again.cost_usd) == (False, "0.01", True, "0")
    assert again.message == first.message
    assert (again.exchange_id, again.model, again.why) == ("an id", "m", "cache: answered 12 s ago")
    assert asked.answers == 1
    assert asked.heard.pieces == ["1"]


async def test_what_is_handed_out_can_be_changed_without_harm() -> None:
    asked = Asked(cache=A_MINUTE)
    for _ in range(2):
        (await asked.ask()).message.content = "changed"
    assert (await asked.ask()).message.content == "1"


async def test_an_answer_is_kept_for_its_time_and_no_longer() -> None:
    asked = Asked(cache=A_MINUTE)
    await asked.ask()
    asked.now_s = 59.9
    assert (await asked.ask()).cached
    asked.now_s = 60.0
    assert not (await asked.ask()).cached


async def test_a_promotion_makes_all_answers_old() -> None:
    asked = Asked(cache=A_MINUTE)
    await asked.ask(promotion="one")
    assert not (await asked.ask(promotion="two")).cached
    assert (await asked.ask(promotion="one")).cached


@pytest.mark.parametrize("finish", [inference.FINISH_LENGTH, inference.FINISH_CONTENT_FILTER])
async def test_what_is_not_the_whole_answer_is_not_kept(finish: inference.Finish) -> None:
    asked = Asked(cache=A_MINUTE)
    asked.finish = finish
    await asked.ask()
    assert not (await asked.ask()).cached


async def test_what_was_not_asked_for_longest_goes_when_there_is_no_more_room() -> None:
    asked = Asked(cache={"ttl_s": 60, "max_bytes": 3 * (KEEPING_BYTES + 600)})
    asked.text_bytes = 500
    for text in ("a", "b", "c", "a", "d"):
        await asked.ask(text)
    assert [(await asked.ask(text)).cached for text in ("a", "d", "c")] == [True, True, True]
    assert not (await asked.ask("b")).cached


async def test_an_answer_larger_than_all_the_room_is_given_but_not_kept() -> None:
    asked = Asked(cache={"ttl_s": 60, "max_bytes": 2_000})
    asked.text_bytes = 2_000
    assert (await asked.ask()).message.content
    assert not (await asked.ask()).cached


@pytest.mark.parametrize("one", [{"group_key": "a"}, {"key_id": "k"}])
async def test_each_customer_has_answers_of_its_own_unless_the_task_shares_them(one: Any) -> None:
    apart, shared = Asked(cache=A_MINUTE), Asked(cache={**A_MINUTE, "per_group": False})
    for asked in (apart, shared):
        await asked.ask(**one)
    assert not (await apart.ask()).cached
    assert (await apart.ask(**one)).cached
    assert (await shared.ask()).cached


@pytest.mark.parametrize(
    "unlike",
    [
        {"text": "what else?"},
        {"sampling": inference.Sampling(max_tokens=7)},
        {"sampling": inference.Sampling(seed=7)},
        {"response_schema": "{}"},
        {"tools": [inference.Tool(name="look")]},
        {"metadata": {"kind": "other"}},
    ],
)
async def test_what_may_change_the_answer_is_asked_anew(unlike: Any) -> None:
    asked = Asked(cache=A_MINUTE)
    await asked.ask()
    assert not (await asked.ask(**unlike)).cached


@pytest.mark.parametrize("same", [{"metadata": {"trace": "7"}}, {"request_id": "x"}, {"priority": 1}])
async def test_what_the_answer_does_not_depend_on_is_not_looked_at(same: Any) -> None:
    asked = Asked(cache=A_MINUTE)
    await asked.ask()
    assert (await asked.ask(**same)).cached


async def test_a_drawn_answer_is_drawn_anew_unless_the_task_says_otherwise() -> None:
    drawn = inference.Sampling(temperature=0.7)
    anew, kept = Asked(cache=A_MINUTE), Asked(cache={**A_MINUTE, "sampled": True})
    for asked in (anew, kept):
        await asked.ask(sampling=drawn)
    assert not (await anew.ask(sampling=drawn)).cached
    assert (await kept.ask(sampling=drawn)).cached


@given(st.lists(st.text(max_size=3), min_size=6, max_size=6))
def test_no_two_customers_have_one_key(texts: list[str]) -> None:
    def key(promotion: str, key_id: str, group: str) -> bytes | None:
        exchange = events.Exchange(request=a_request(group_key=group), key_id=key_id)
        return digest(exchange, a_task(cache=A_MINUTE), promotion)

    one, other = texts[:3], texts[3:]
    assert (key(*one) == key(*other)) == (one == other)


async def test_calls_that_ask_the_same_at_once_share_one_answer() -> None:
    asked = Asked(coalesce=True)
    asked.free.clear()
    calls = [asyncio.create_task(asked.ask()) for _ in range(3)]
    await until(lambda: asked.answers)
    asked.free.set()
    replies = await asyncio.gather(*calls)
    assert [reply.cached for reply in replies] == [False, True, True]
    assert replies[1].why == "coalesced: another call asked the same just then"
    assert {reply.message.content for reply in replies} == {"1"}
    assert not (await asked.ask()).cached


@pytest.mark.parametrize(("outcome", "answers"), [(events.OUTCOME_FAILED, 1), (events.OUTCOME_DEADLINE_EXCEEDED, 3)])
async def test_what_nobody_could_answer_is_asked_once_and_who_was_out_of_time_speaks_for_himself(
    outcome: events.Outcome, answers: int
) -> None:
    asked = Asked(coalesce=True)
    asked.free.clear()
    asked.failure = NoAnswer(outcome, FailureKind.REFUSED, "it is refused", 7.0)
    calls = [asyncio.create_task(asked.ask()) for _ in range(3)]
    await until(lambda: asked.answers)
    asked.free.set()
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [(f.outcome, f.kind, f.retry_after_s) for f in failures if isinstance(f, NoAnswer)] == [
        (outcome, FailureKind.REFUSED, 7.0)
    ] * 3
    assert asked.answers == answers


async def test_who_waits_for_another_waits_no_longer_than_his_deadline() -> None:
    asked = Asked(cache=A_MINUTE)
    asked.free.clear()
    first = asyncio.create_task(asked.ask())
    await until(lambda: asked.answers)
    with pytest.raises(NoAnswer, match="the call that asked the same first") as late:
        await asked.ask(timeout_s=0.02)
    assert late.value.outcome == events.OUTCOME_DEADLINE_EXCEEDED
    asked.free.set()
    assert (await first).message.content == "1"


def test_a_cache_of_more_than_a_day_is_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal to 86400"):
        Cache(ttl_s=86_401)
    assert isinstance(a_task(cache=A_MINUTE), Task)
