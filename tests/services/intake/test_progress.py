"""How far a partition may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from services.intake.progress import Progress
from services.topics import Record


def at(offset: int, partition: int = 0) -> Record:
    return Record("requests", b"", b"", {}, partition, offset)


def taken(*offsets: int) -> Progress:
    progress = Progress()
    for offset in offsets:
        assert progress.take(at(offset))
    return progress


def test_nothing_is_committed_past_the_oldest_open_request():
    progress = taken(5, 6, 7)
    progress.answer(at(6))
    progress.answer(at(7))
    assert progress.committable() == []
    progress.answer(at(5))
    assert progress.committable() == [at(7)]


def test_partitions_go_on_by_themselves():
    progress = taken(1)
    progress.take(at(1, partition=1))
    progress.answer(at(1, partition=1))
    assert progress.committable() == [at(1, partition=1)]


def test_what_is_committed_is_forgotten():
    progress = taken(1, 2)
    progress.answer(at(1))
    progress.committed([at(1)])
    assert progress.committable() == []
    progress.answer(at(2))
    assert progress.committable() == [at(2)]


def test_a_record_read_again_is_not_worked_on_twice():
    assert not taken(1).take(at(1))


def test_a_partition_that_went_away_is_not_committed():
    progress = taken(1)
    progress.keep(set())
    progress.answer(at(1))
    assert progress.committable() == []


@given(st.permutations(range(8)), st.integers(0, 8))
def test_whatever_the_order_of_the_answers_the_commit_covers_only_answered_ones(order, count):
    progress = taken(*range(8))
    answered = set(order[:count])
    for offset in answered:
        progress.answer(at(offset))
    first_open = min(set(range(9)) - answered)
    assert progress.committable() == ([at(first_open - 1)] if first_open else [])
