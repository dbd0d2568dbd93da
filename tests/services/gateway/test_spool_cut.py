"""An exchange too large for Kafka is cut with a mark and keeps its place; the whole stays on the gateway's disk."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.spool import Fsync, Spool
from services.gateway.spool_cut import LEAST_BYTES, cut, shortened
from services.gateway.spool_segments import unpack
from services.kafka import MAX_MESSAGE_BYTES
from services.topics import CUT_FROM, EXCHANGES, FEEDBACK, Record, decode, encode
from tests.fakes.kafka import FakeBroker, FakeProducer

ID = "0190a0b0-0000-7000-8000-000000000001"


def an_exchange(question: str = "q", answer: str = "a", attempt: str = "") -> events.Exchange:
    made = events.Exchange(id=ID, source="s", sequence=7, outcome=events.OUTCOME_ANSWERED)
    made.request.task, made.request.group_key = "address", "acme"
    made.request.metadata["kind"] = "register"
    made.request.messages.add(role=inference.ROLE_USER, content=question)
    made.reply.message.content = answer
    if attempt:
        made.attempts.add().message.content = attempt
    return made


@settings(deadline=None)
@given(
    texts=st.tuples(*[st.integers(0, 60_000)] * 3),
    letter=st.sampled_from("aé…😀"),
    limit_bytes=st.integers(10_000, 200_000),
)
def test_what_is_cut_fits_and_keeps_all_that_is_short(
    texts: tuple[int, int, int], letter: str, limit_bytes: int
) -> None:
    made = an_exchange(*(letter * count for count in texts))
    whole_bytes = made.ByteSize()
    if whole_bytes <= limit_bytes:
        return
    assert cut(made, limit_bytes)
    assert made.ByteSize() <= limit_bytes
    assert made.request.metadata == {"kind": "register", CUT_FROM: str(whole_bytes)}
    assert (made.id, made.source, made.sequence, made.request.group_key) == (ID, "s", 7, "acme")
    for text, count in ((made.request.messages[0].content, texts[0]), (made.reply.message.content, texts[1])):
        if len(letter.encode()) * count <= LEAST_BYTES:
            assert text == letter * count


def test_the_longest_texts_are_shortened_and_say_how_long_they_were() -> None:
    made = an_exchange(question="q" * 5_000, answer="a" * 100_000, attempt="t" * 50_000)
    assert cut(made, 40_000)
    assert made.request.messages[0].content == "q" * 5_000
    assert made.reply.message.content.endswith("a… [cut, it had 100000 bytes]")
    assert made.attempts[0].message.content.endswith("t… [cut, it had 50000 bytes]")
    assert made.ByteSize() > 39_000


def test_many_short_texts_are_too_large_for_good_and_stay_as_they_are() -> None:
    made = an_exchange()
    for _ in range(2_000):
        made.request.messages.add(content="x" * 1_000)
    before = made.SerializeToString(deterministic=True)
    assert not cut(made, 1_000_000)
    assert made.SerializeToString(deterministic=True) == before
    assert shortened(encode(EXCHANGES, made)) is None


def test_each_try_is_smaller_than_the_one_before_until_there_is_nothing_to_shorten() -> None:
    record: Record | None = encode(EXCHANGES, an_exchange(answer="a" * (5 * 2**20)))
    sizes = []
    while record:
        sizes.append(len(record.value))
        record = shortened(record)
    assert sizes[0] > MAX_MESSAGE_BYTES > sizes[1] > MAX_MESSAGE_BYTES - 100_000
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1] < 3 * LEAST_BYTES


def test_other_topics_and_what_is_no_exchange_are_not_cut() -> None:
    assert shortened(encode(FEEDBACK, events.FeedbackRecord(comment="c" * 10_000))) is None
    assert shortened(Record("exchanges", b"", b"\xff" * 10_000)) is None


@pytest.mark.parametrize("broker_takes", [MAX_MESSAGE_BYTES, 1_000_000])
async def test_a_too_large_exchange_leaves_no_hole_in_the_sequence(tmp_path: Path, broker_takes: int) -> None:
    broker = FakeBroker(refuse=lambda record: "Message size too large" if len(record.value) > broker_takes else "")
    spool = Spool.open(tmp_path, FakeProducer(broker), 64 * 2**20, Fsync.OFF)
    for answer in ("small", "x" * (5 * 2**20), "small"):
        await spool.append_exchange(an_exchange(answer=answer))
    while spool.waiting_bytes:  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0.01)
    await spool.close()
    arrived = [decode(record) for record in broker.records("exchanges")]
    assert sorted(exchange.sequence for exchange in arrived) == [1, 2, 3]
    [large] = [exchange for exchange in arrived if exchange.sequence == 2]
    assert large.ByteSize() <= broker_takes
    assert int(large.request.metadata[CUT_FROM]) > 5 * 2**20
    [file] = (tmp_path / "refused").iterdir()
    assert ID in file.name
    ((whole, _),) = unpack(file.read_bytes())
    assert decode(whole).reply.message.content == "x" * (5 * 2**20)
