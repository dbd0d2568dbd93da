"""Keys are made, listed and taken back; the secret is told once and kept nowhere."""

import asyncio
from hashlib import sha256
from typing import Any

import grpc
import pytest

from protos import control_pb2 as control
from protos import events_pb2 as events
from services.topics import KEY_USAGE, KEYS, decode, encode
from tests.services.controller.test_servicer import client, refusal
from tests.services.controller.world import World

__all__ = ["client"]


def a_wish(**changes: Any) -> control.CreateKeyRequest:
    return control.CreateKeyRequest(**({"name": "shop", "decided_by": "ann"} | changes))


def written(world: World) -> list[events.ApiKey]:
    return [decode(record) for record in world.broker.records(KEYS.name)]


async def test_a_new_key_is_on_the_topic_as_a_digest_alone(world: World, client: Any) -> None:
    quota = events.Quota(requests_per_minute=60, usd_per_day="12.50")
    made = await client.CreateKey(a_wish(tasks=["labels", "labels"], quota=quota, reason="a trial"))
    [key] = written(world)
    assert key.digest == sha256(made.secret.encode()).digest()
    assert made.secret.startswith(f"tt_{key.id}_")
    assert len(made.secret.removeprefix(f"tt_{key.id}_")) == 43  # 256 bits
    assert made.secret.encode() not in world.broker.records(KEYS.name)[0].value
    assert (key.name, list(key.tasks), key.quota, key.created_by, key.reason) == (
        *("shop", ["labels"]),
        *(quota, "ann", "a trial"),
    )
    assert made.key.digest == b""
    made.key.digest = key.digest
    assert made.key == key


async def test_a_key_may_audit_only_where_that_is_said(world: World, client: Any) -> None:
    made = [(await client.CreateKey(a_wish(may_audit=said))).key for said in (True, False)]
    assert [key.may_audit for key in made] == [True, False]
    assert [key.may_audit for key in written(world)] == [True, False]


@pytest.mark.parametrize("name", ["shop\x1b[2J", "sh\x00op", "shop\nbank", "shop\x9b2J"])
async def test_a_name_that_a_terminal_would_obey_is_refused(client: Any, name: str) -> None:
    code, said = await refusal(client.CreateKey(a_wish(name=name)))
    assert (code, said) == (grpc.StatusCode.INVALID_ARGUMENT, f"name: {name!r} has a control character")


async def test_no_two_keys_are_alike(client: Any) -> None:
    made = [await client.CreateKey(a_wish()) for _ in range(20)]
    assert len({one.secret for one in made}) == len({one.key.id for one in made}) == 20


async def test_a_key_that_is_taken_back_says_by_whom_when_and_why(world: World, client: Any) -> None:
    made = (await client.CreateKey(a_wish())).key
    gone = await client.RevokeKey(control.RevokeKeyRequest(id=made.id, decided_by="bob", reason="it leaked"))
    last = written(world)[-1]
    assert (last.id, last.revoked_by, last.reason, last.created_by) == (made.id, "bob", "it leaked", "ann")
    assert last.digest
    assert gone.digest == b""
    assert last.revoked_at.ToNanoseconds() > last.created_at.ToNanoseconds()
    assert last.updated_at == last.revoked_at


async def test_keys_are_listed_by_name_without_digests_and_revoked_ones_if_asked_for(world: World, client: Any) -> None:
    shop, bank = [(await client.CreateKey(a_wish(name=name))).key for name in ("shop", "bank")]
    await client.RevokeKey(control.RevokeKeyRequest(id=shop.id, decided_by="bob", reason="it leaked"))
    good = (await client.Keys(control.KeysRequest())).keys
    every = (await client.Keys(control.KeysRequest(revoked=True))).keys
    assert [key.id for key in good] == [bank.id]
    assert [key.name for key in every] == ["bank", "shop"]
    assert not any(key.digest for key in every)


async def test_a_new_controller_knows_the_keys(world: World, client: Any) -> None:
    made = (await client.CreateKey(a_wish())).key
    await client.RevokeKey(control.RevokeKeyRequest(id=made.id, decided_by="bob", reason="it leaked"))
    world.restarted()
    [known] = world.state.keys()
    assert known.HasField("revoked_at")


async def test_a_key_is_taken_back_once(client: Any) -> None:
    made = (await client.CreateKey(a_wish())).key
    request = control.RevokeKeyRequest(id=made.id, decided_by="bob", reason="it leaked")
    await client.RevokeKey(request)
    code, said = await refusal(client.RevokeKey(request))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert said == f"key {made.id} was taken back already, by bob: it leaked"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "name: is required"),
        ({"decided_by": ""}, "decided_by: is required"),
        ({"quota": events.Quota(usd_per_day="ten")}, "quota.usd_per_day: 'ten' is no number of dollars, as 12.50"),
        ({"quota": events.Quota(usd_per_month="-1")}, "quota.usd_per_month: '-1' is no number of dollars"),
        ({"quota": events.Quota(usd_per_month="NaN")}, "quota.usd_per_month: 'NaN' is no number of dollars"),
        ({"quota": events.Quota(usd_per_day="Infinity")}, "quota.usd_per_day: 'Infinity' is no number of dollars"),
    ],
)
async def test_a_wish_that_can_not_be_is_refused_by_its_field(client: Any, changes: Any, said: str) -> None:
    code, told = await refusal(client.CreateKey(a_wish(**changes)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert told.startswith(said)


async def test_a_key_for_a_task_or_of_an_id_that_is_not_there_is_not_found(client: Any) -> None:
    code, _ = await refusal(client.CreateKey(a_wish(tasks=["x"])))
    assert code == grpc.StatusCode.NOT_FOUND
    code, said = await refusal(client.RevokeKey(control.RevokeKeyRequest(id="x", decided_by="bob", reason="why")))
    assert (code, said) == (grpc.StatusCode.NOT_FOUND, "id: there is no key 'x'")


async def test_without_kafka_no_key_is_given_out(world: World, client: Any) -> None:
    world.broker.away = True
    code, _ = await refusal(client.CreateKey(a_wish()))
    assert code == grpc.StatusCode.UNAVAILABLE


def a_credit(key_id: str, **changes: Any) -> control.CreditKeyRequest:
    return control.CreditKeyRequest(
        **({"id": key_id, "usd": "12.5", "decided_by": "bob", "reason": "a fault"} | changes)
    )


async def a_spender(world: World, client: Any, usd: str = "20", **changes: Any) -> events.ApiKey:
    """A key with a budget that has spent so much today."""
    made: events.ApiKey = (await client.CreateKey(a_wish(quota=events.Quota(usd_per_day="50"), **changes))).key
    usage = events.KeyUsage(key_id=made.id, source="a", day="2026-01-02", requests=1, cost_usd=usd)
    world.broker.append(encode(KEY_USAGE, usage))
    return made


async def spending_of(client: Any, key_id: str = "") -> list[control.KeySpending]:
    return list((await client.SpendingOfKeys(control.SpendingOfKeysRequest(id=key_id))).spending)


async def test_credits_of_a_day_add_up_and_the_key_says_the_last_ones_reason(world: World, client: Any) -> None:
    made = await a_spender(world, client, reason="a trial")
    await client.CreditKey(a_credit(made.id))
    told = await client.CreditKey(a_credit(made.id, usd="0.25", decided_by="eve", reason="another"))
    assert (dict(told.credits_usd), told.credit_usd, told.credited_by, told.reason) == (
        *({"2026-01-02": "12.75"}, "0.25"),
        *("eve", "another"),
    )
    first, *_, last = written(world)
    assert (last.digest, last.created_by, told.digest) == (first.digest, "ann", b"")
    gone = await client.RevokeKey(control.RevokeKeyRequest(id=made.id, decided_by="bob", reason="it leaked"))
    assert (gone.credit_usd, gone.credited_by, dict(gone.credits_usd)) == ("", "", {"2026-01-02": "12.75"})


async def test_two_credits_at_once_both_count(world: World, client: Any) -> None:
    made = await a_spender(world, client)
    await asyncio.gather(*(client.CreditKey(a_credit(made.id, usd="1")) for _ in range(5)))
    assert dict(written(world)[-1].credits_usd) == {"2026-01-02": "5"}


async def test_a_credit_of_more_than_was_spent_is_refused_with_the_figure(world: World, client: Any) -> None:
    made = await a_spender(world, client, usd="0.0006")
    code, said = await refusal(client.CreditKey(a_credit(made.id, usd="100")))
    assert (code, "more than the 0.0006 dollars that key" in said) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert (await client.CreditKey(a_credit(made.id, usd="0.0006"))).credit_usd == "0.0006"
    assert (await spending_of(client, made.id))[0].usd_day == "0.0000"


async def test_of_two_credits_at_once_that_are_too_much_together_one_is_refused(world: World, client: Any) -> None:
    made = await a_spender(world, client, usd="3")
    wishes = (client.CreditKey(a_credit(made.id, usd="2")) for _ in range(2))
    told = await asyncio.gather(*wishes, return_exceptions=True)
    assert sum(isinstance(one, grpc.aio.AioRpcError) for one in told) == 1
    assert dict(written(world)[-1].credits_usd) == {"2026-01-02": "2"}


async def test_a_key_whose_spending_is_not_known_yet_is_not_credited(client: Any) -> None:
    made = (await client.CreateKey(a_wish(quota=events.Quota(usd_per_day="50")))).key
    code, said = await refusal(client.CreditKey(a_credit(made.id)))
    assert (code, "it is not known yet what key" in said) == (grpc.StatusCode.FAILED_PRECONDITION, True)


@pytest.mark.parametrize("usd", ["", "0", "-1", "much", "NaN", "1e12"])
async def test_a_credit_is_dollars_above_nothing(client: Any, usd: str) -> None:
    made = (await client.CreateKey(a_wish())).key
    code, said = await refusal(client.CreditKey(a_credit(made.id, usd=usd)))
    assert (code, said) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"usd: {usd!r} is no number of dollars above 0, as 12.50",
    )


async def test_a_credit_never_makes_a_key_good_again(world: World, client: Any) -> None:
    made = (await client.CreateKey(a_wish())).key
    world.broker.away = True
    code, _ = await refusal(
        client.RevokeKey(control.RevokeKeyRequest(id=made.id, decided_by="bob", reason="it leaked"))
    )
    assert code == grpc.StatusCode.UNAVAILABLE  # It may come to Kafka yet.
    world.broker.away = False
    code, said = await refusal(client.CreditKey(a_credit(made.id)))
    assert (code, said) == (grpc.StatusCode.FAILED_PRECONDITION, f"key {made.id} is being taken back")
    assert (await refusal(client.CreditKey(a_credit("x"))))[0] == grpc.StatusCode.NOT_FOUND


async def test_what_keys_have_spent_is_what_all_gateways_told_less_the_credits(world: World, client: Any) -> None:
    shop, bank = [
        (await client.CreateKey(a_wish(name=name, quota=events.Quota(usd_per_day="10")))).key
        for name in ("shop", "bank")
    ]
    said = (
        ("a", "2026-01-02", 1, "1"),
        ("a", "2026-01-02", 3, "2.5"),
        ("b", "2026-01-02", 2, "1"),
        ("a", "2026-01-01", 9, "4"),
    )
    for source, day, requests, usd in (*said, ("a", "2025-12-31", 99, "99")):
        usage = events.KeyUsage(key_id=shop.id, source=source, day=day, requests=requests, tokens=10, cost_usd=usd)
        world.broker.append(encode(KEY_USAGE, usage))
    world.broker.append(
        encode(KEY_USAGE, events.KeyUsage(key_id=shop.id, source="c", day="2026-01-02", cost_usd="much"))
    )
    await client.CreditKey(a_credit(shop.id, usd="3"))
    nothing, told = await spending_of(client)
    assert (nothing.name, nothing.requests, nothing.usd_day) == ("bank", 0, "0")
    assert (told.name, told.requests, told.tokens, told.quota.usd_per_day) == ("shop", 5, 20, "10")
    assert (told.usd_day, told.usd_month, told.credited_usd_month) == ("0.5", "4.5", "3")
    assert await spending_of(client, shop.id) == [told]
    assert (await refusal(client.SpendingOfKeys(control.SpendingOfKeysRequest(id="x"))))[0] == grpc.StatusCode.NOT_FOUND
    world.broker.away = True
    assert (await refusal(client.SpendingOfKeys(control.SpendingOfKeysRequest())))[0] == grpc.StatusCode.UNAVAILABLE
    assert bank.id == nothing.key_id
