"""When a batch is written, and how a repeated one is known."""

from hypothesis import given
from hypothesis import strategies as st

from services.sink.batch import Batch, Due, Limits, due, token
from services.topics import Record

LIMITS = Limits(rows=3, size_bytes=100, age_s=2.0)


def record(offset: int, value: bytes = b"x", partition: int = 0) -> Record:
    return Record("exchanges", b"k", value, {}, partition, offset)


def batch(*records: Record, first_at_s: float = 10.0) -> Batch:
    made = Batch(first_at_s)
    for one in records:
        made.add(one, b"%d" % one.offset)
    return made


def test_a_batch_with_nothing_in_it_is_never_written() -> None:
    assert due(batch(), LIMITS, now_s=1000.0) is Due.NOT_YET


def test_a_young_small_batch_may_grow() -> None:
    assert due(batch(record(0)), LIMITS, now_s=11.9) is Due.NOT_YET


def test_a_batch_is_written_when_its_first_record_has_waited_long_enough() -> None:
    assert due(batch(record(0)), LIMITS, now_s=12.0) is Due.AGE


def test_a_batch_is_written_when_it_has_all_its_rows() -> None:
    assert due(batch(record(0), record(1), record(2)), LIMITS, now_s=10.0) is Due.ROWS


def test_a_batch_is_written_when_it_has_all_its_bytes() -> None:
    assert due(batch(record(0, bytes(60)), record(1, bytes(40))), LIMITS, now_s=10.0) is Due.BYTES


def test_refused_records_count_towards_the_limits_as_they_wait_for_their_commit_too() -> None:
    made = batch(record(0), record(1))
    made.add(record(2), None, "not protobuf")
    assert due(made, LIMITS, now_s=10.0) is Due.ROWS
    assert made.dead == [(record(2), "not protobuf")]


def test_a_batch_forgets_the_partitions_that_went_to_another_member() -> None:
    made = batch(record(0, b"xx", partition=0), record(5, b"yyy", partition=1))
    made.add(record(6, b"", partition=1), None, "bad")
    made.keep({("exchanges", 0)})
    assert made.records == [record(0, b"xx")]
    assert [row for _, row in made.rows] == [b"0"]
    assert made.dead == []
    assert made.size_bytes == 2


records = st.builds(record, st.integers(0, 50), st.binary(max_size=5), st.integers(0, 3))


@given(st.lists(records, max_size=5), st.lists(records, max_size=5))
def test_a_token_is_the_same_for_the_same_records_and_for_no_others(one: list[Record], other: list[Record]) -> None:
    assert (token(one) == token(other)) == (one == other)
