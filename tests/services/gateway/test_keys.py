"""Who is let in, for what, and how soon no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from hashlib import sha256

import pytest

from protos import events_pb2 as events
from services.gateway.keys import Holder, Keys, KeysUnread, NotAllowed, Unauthenticated
from services.settings import KafkaSettings
from services.topics import KEYS, Record, encode
from tests.fakes.kafka import FakeBroker, FakeFollower

SECRET = "tt_ann_a-secret"
BEARER = f"Bearer {SECRET}"


def a_key(secret: str = SECRET, updated_s: int = 10, revoked: bool = False, **fields: object) -> events.ApiKey:
    key = events.ApiKey(**{"id": "ann", "digest": sha256(secret.encode()).digest(), **fields})
    key.updated_at.seconds = updated_s
    if revoked:
        key.revoked_at.seconds = updated_s
    return key


def broker_with(*keys: events.ApiKey) -> FakeBroker:
    broker = FakeBroker()
    broker.create_topics()
    for key in keys:
        broker.append(encode(KEYS, key))
    return broker


@asynccontextmanager
async def following(broker: FakeBroker, wait_s: float = 5.0) -> AsyncIterator[Keys]:
    keys = Keys(KafkaSettings(), FakeFollower(broker, "keys"))
    await keys.start(wait_s)
    try:
        yield keys
    finally:
        await keys.close()


async def until_refused(keys: Keys) -> str:
    while True:
        try:
            keys.holder(BEARER)
        except Unauthenticated as error:
            return str(error)
        await asyncio.sleep(0.01)


async def test_a_call_with_a_good_key_is_its_holders() -> None:
    async with following(broker_with(a_key(tasks=["say"]))) as keys:
        holder = keys.holder(BEARER)
    assert (holder.id, holder.tasks, holder.revoked) == ("ann", {"say"}, False)


async def test_a_holder_may_audit_where_the_topic_says_so() -> None:
    async with following(broker_with(a_key(may_audit=True))) as keys:
        assert keys.holder(BEARER).may_audit
    async with following(broker_with(a_key())) as keys:
        assert not keys.holder(BEARER).may_audit


@pytest.mark.parametrize("header", [BEARER, BEARER.lower().replace(SECRET.lower(), SECRET), f"BEARER  {SECRET} "])
async def test_the_scheme_may_be_written_as_http_allows(header: str) -> None:
    async with following(broker_with(a_key())) as keys:
        assert keys.holder(header).id == "ann"


@pytest.mark.parametrize("header", ["", SECRET, "Basic YTpi", "Bearer"])
async def test_a_call_without_a_key_is_told_how_to_send_one(header: str) -> None:
    async with following(broker_with(a_key())) as keys:
        with pytest.raises(Unauthenticated, match="send `authorization: Bearer <your API key>`"):
            keys.holder(header)


@pytest.mark.parametrize("header", [f"{BEARER}x", "Bearer ", "Bearer tt_ann_", f"Bearer {sha256(b'x').digest()!r}"])
async def test_an_unknown_key_is_refused_and_nothing_of_it_is_said(header: str) -> None:
    async with following(broker_with(a_key())) as keys:
        with pytest.raises(Unauthenticated, match="there is no such API key") as refused:
            keys.holder(header)
    assert "secret" not in str(refused.value)


async def test_a_key_that_is_taken_back_is_refused_without_a_restart() -> None:
    broker = broker_with(a_key())
    async with following(broker) as keys:
        assert keys.holder(BEARER).id == "ann"
        broker.append(encode(KEYS, a_key(updated_s=20, revoked=True)))
        broker.say_changed()
        assert "key ann was taken back" in await until_refused(keys)


async def test_a_state_from_before_the_revocation_does_not_bring_the_key_back() -> None:
    async with following(broker_with(a_key(updated_s=20, revoked=True), a_key(updated_s=10))) as keys:
        with pytest.raises(Unauthenticated):
            keys.holder(BEARER)


async def test_an_earlier_secret_of_the_same_key_is_good_no_more() -> None:
    async with following(broker_with(a_key("old"), a_key("new", updated_s=20))) as keys:
        assert keys.holder("Bearer new").id == "ann"
        with pytest.raises(Unauthenticated):
            keys.holder("Bearer old")


async def test_a_key_brings_its_credits() -> None:
    credits_usd = {"2026-11-29": "1.5", "2026-11-30": "2", "2026-12-01": "4"}
    async with following(broker_with(a_key(credits_usd=credits_usd))) as keys:
        holder = keys.holder(BEARER)
    assert [holder.credited_usd(period) for period in ("2026-11-29", "2026-11", "2026-10")] == [
        Decimal("1.5"),
        Decimal("3.5"),
        0,
    ]


async def test_nobody_is_let_in_before_the_keys_are_read() -> None:
    broker = broker_with(a_key())
    broker.away = True
    async with following(broker, wait_s=0.05) as keys:
        with pytest.raises(KeysUnread, match="try again"):
            keys.holder(BEARER)
        broker.away = False
        async with asyncio.timeout(30):
            while not keys._following.caught_up:  # noqa: ASYNC110 - another thread makes it true
                await asyncio.sleep(0.01)
        assert keys.holder(BEARER).id == "ann"


async def test_what_is_no_key_is_skipped_and_a_tombstone_is_nothing() -> None:
    broken = (a_key(id=""), a_key(digest=b"short"), a_key(quota=events.Quota(usd_per_day="much")))
    broken += (a_key(credits_usd={"2026-11-29": "much"}),)
    broker = broker_with(*broken)
    broker.append(Record("keys", b"ann", b"\xff"))
    broker.append(Record("keys", b"ann", b""))
    broker.append(encode(KEYS, a_key()))
    async with following(broker) as keys:
        assert keys.holder(BEARER).id == "ann"


def test_a_key_for_some_tasks_is_refused_others_and_one_for_none_by_name_is_for_all() -> None:
    Holder("ann").check("anything")
    Holder("ann", frozenset({"say"})).check("say")
    with pytest.raises(NotAllowed, match="key ann is not for 'sing'; it is for say"):
        Holder("ann", frozenset({"say"})).check("sing")
