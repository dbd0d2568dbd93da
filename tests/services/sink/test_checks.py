"""What a producer gets wrong in a text or a number is refused with a reason, or spelt as ClickHouse reads it."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.errors import BadEvent
from services.sink.checks import DOLLARS_BELOW, END_S, LAST_SEQUENCE, TIMES, UUIDS, check
from services.sink.wire import row
from services.topics import PROMOTIONS, TOPICS, Record, encode
from tests.fixtures.tables import Tables
from tests.services.sink.messages import consumed, exchange, uuid7

ODD = "c232ab00-9414-71ec-b3c8-9f6bdeced846"


def checked(**fields: Any) -> events.Exchange:
    made = exchange(**fields)
    check("exchanges", made)
    return made


def test_what_is_right_stays_as_it_is() -> None:
    made = exchange()
    kept = events.Exchange.FromString(made.SerializeToString())
    check("exchanges", made)
    assert made == kept


@pytest.mark.parametrize("text", ["", "not-a-uuid", ODD[:-1], f"{ODD}0", ODD.replace("c", "x"), "'; DROP TABLE"])
def test_an_id_that_is_no_uuid_is_refused_and_named(text: str) -> None:
    made = exchange()
    made.id = text
    with pytest.raises(BadEvent, match=r"id is .+, not a UUID"):
        check("exchanges", made)


@pytest.mark.parametrize("text", [ODD.upper(), ODD.replace("-", ""), f"{{{ODD}}}", f"urn:uuid:{ODD}"])
def test_a_uuid_may_be_spelt_in_every_way(text: str) -> None:
    assert checked(id=text).id.lower() == ODD


def test_feedback_on_no_exchange_is_refused() -> None:
    with pytest.raises(BadEvent, match="exchange_id is '', not a UUID"):
        check("feedback", events.FeedbackRecord(id=uuid7()))


@pytest.mark.parametrize("text", ["cheap", "NaN", "-Infinity", "1e28", "-1e28", "0x1"])
def test_a_cost_that_is_no_number_of_the_table_is_refused(text: str) -> None:
    with pytest.raises(BadEvent, match="cost_usd is"):
        checked(reply=inference.Reply(cost_usd=text))


def test_the_attempts_costs_matter_only_where_the_reply_tells_none() -> None:
    checked(attempts=[events.Attempt(cost_usd="cheap")])
    made = exchange(attempts=[events.Attempt(cost_usd="cheap")])
    made.ClearField("reply")
    with pytest.raises(BadEvent, match="cost_usd is 'cheap'"):
        check("exchanges", made)


@given(st.decimals(-DOLLARS_BELOW + 1, DOLLARS_BELOW - 1, allow_nan=False))
def test_every_number_of_dollars_is_told_to_the_hundred_millionth(dollars: Decimal) -> None:
    told = Decimal(checked(reply=inference.Reply(cost_usd=str(dollars))).reply.cost_usd)
    assert abs(told - dollars) < Decimal("1e-8")
    assert abs(told) <= abs(dollars)


TIMED = [(topic, name) for topic in sorted(set(TOPICS) - {"requests"}) for name in TIMES[topic]]


def at(topic: str, name: str, seconds: int, nanos: int = 0) -> Any:
    """A message of a topic with one time, and the ids that it must have."""
    ids = dict.fromkeys(UUIDS.get(topic, ()), uuid7())
    made: Any = TOPICS[topic].message(**ids)
    getattr(made, name).seconds, getattr(made, name).nanos = seconds, nanos
    return made


@given(st.sampled_from(TIMED), st.integers(-(2**63), -1) | st.integers(END_S, 2**63 - 1))
def test_a_time_before_1970_or_after_2299_is_refused_and_named(field: tuple[str, str], seconds: int) -> None:
    with pytest.raises(BadEvent, match=f"{field[1]} is {seconds} seconds from 1970: it must be"):
        check(field[0], at(*field, seconds))


@given(st.sampled_from(TIMED), st.integers(-(2**31), -1) | st.integers(10**9, 2**31 - 1))
def test_nanoseconds_that_are_no_part_of_a_second_are_refused(field: tuple[str, str], nanos: int) -> None:
    with pytest.raises(BadEvent, match=f"{field[1]} has {nanos} nanoseconds"):
        check(field[0], at(*field, 1_700_000_000, nanos))


SECONDS = st.integers(0, END_S - 1)
NANOS = st.integers(0, 10**9 - 1)


@given(st.sampled_from(TIMED), SECONDS, NANOS)
def test_every_time_between_stays_as_it_is(field: tuple[str, str], seconds: int, nanos: int) -> None:
    made = at(*field, seconds, nanos)
    check(field[0], made)
    assert (getattr(made, field[1]).seconds, getattr(made, field[1]).nanos) == (seconds, nanos)


@given(st.integers(0, LAST_SEQUENCE))
def test_every_place_that_a_source_can_come_to_stays_as_it_is_and_so_does_none(sequence: int) -> None:
    made = exchange()
    made.sequence = sequence
    check("exchanges", made)
    assert made.sequence == sequence


@given(st.integers(LAST_SEQUENCE + 1, 2**64 - 1))
def test_a_place_that_no_source_can_come_to_is_refused_and_named(sequence: int) -> None:
    with pytest.raises(BadEvent, match=f"sequence is {sequence}: no source comes further than {LAST_SEQUENCE}"):
        checked(sequence=sequence)


@pytest.mark.parametrize("name", ["last_sequence", "acknowledged", "put_aside"])
@given(number=st.integers(0, 2**64 - 1))
def test_what_is_told_of_a_source_is_refused_from_the_same_number_on(name: str, number: int) -> None:
    told = events.SourceState(source="s", **{name: number})  # type: ignore[arg-type]
    with pytest.raises(BadEvent, match=f"{name} is {number}: ") if number > LAST_SEQUENCE else nullcontext():
        check("sources", told)


@pytest.mark.parametrize("topic", sorted(set(TOPICS) - {"requests"}))
def test_bytes_that_are_no_message_are_refused(topic: str) -> None:
    with pytest.raises(BadEvent, match="not a tutelage"):
        row(Record(topic, b"", b"\xff\xff\xff"))


@pytest.mark.contract
@settings(max_examples=10, deadline=None)
@given(made=st.lists(st.decimals(-(10**10) + 1, 10**10 - 1, allow_nan=False), min_size=1, max_size=50))
def test_clickhouse_reads_the_same_number_of_dollars(tables: Tables, made: list[Decimal]) -> None:
    checked_ = [checked(reply=inference.Reply(cost_usd=str(dollars))) for dollars in made]
    stored = [values["cost_usd"] for values in tables.rows(*map(consumed, checked_))]
    assert stored == [Decimal(one.reply.cost_usd) for one in checked_]


@pytest.mark.contract
@settings(max_examples=10, deadline=None)
@given(times=st.lists(st.tuples(SECONDS, NANOS), max_size=50))
def test_clickhouse_keeps_every_time_that_is_let_through(tables: Tables, times: list[tuple[int, int]]) -> None:
    every = [(1, 0), (END_S - 1, 10**9 - 1), *times]
    times = list({(seconds, nanos // 1000): (seconds, nanos) for seconds, nanos in every}.values())  # Else one row.
    records = [encode(PROMOTIONS, at("promotions", "decided_at", *time)) for time in times]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    stored = [values["decided_at"].replace(tzinfo=UTC) for values in tables.rows(*records)]
    assert stored == [epoch + timedelta(seconds=seconds, microseconds=nanos // 1000) for seconds, nanos in times]


@pytest.mark.contract
def test_a_cost_that_only_the_table_is_too_small_for_is_the_tables_to_refuse(tables: Tables) -> None:
    record = consumed(checked(reply=inference.Reply(cost_usd="99999999999999")))
    with pytest.raises(BadEvent, match="cost_usd"):
        tables.row(record)
    tables.connection.command("ALTER TABLE exchanges MODIFY COLUMN cost_usd Decimal(38, 8) CODEC(ZSTD)")
    try:
        assert tables.row(record)["cost_usd"] == 99999999999999
    finally:
        tables.connection.command("TRUNCATE TABLE exchanges")
        tables.connection.command("ALTER TABLE exchanges MODIFY COLUMN cost_usd Decimal(18, 8) CODEC(T64, ZSTD)")


@pytest.mark.contract
def test_clickhouse_reads_every_spelling_of_a_uuid(tables: Tables) -> None:
    for text in (ODD.upper(), ODD.replace("-", ""), f"{{{ODD}}}"):
        assert str(tables.row(consumed(exchange(id=text)))["id"]) == ODD
