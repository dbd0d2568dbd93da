"""Dead letters: known, marked, sent back as they were."""

import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit import letters as letters_module
from services.audit.letters import (
    DeadPlaces,
    Spot,
    letter_of,
    marked,
    marker,
    opened,
    returned,
    spot_of,
)
from services.audit.retained import Retained
from services.errors import Overloaded
from services.kafka import everything
from services.kafka import follower as follower_module
from services.topics import EXCHANGES, Record, dead_letter, encode
from tests.fakes.kafka import FakeBroker, FakeFollower
from tests.services.sink.messages import exchange


def buried(record: Record, reason: str = "too old", offset: int = 7) -> Record:
    return replace(dead_letter(replace(record, partition=2, offset=30), reason, "sink"), partition=1, offset=offset)


def test_a_letter_tells_where_it_came_from_and_which_exchange_it_was() -> None:
    record = encode(EXCHANGES, exchange(4, "gateway"))
    letter = letter_of(buried(replace(record, value=b"\xff ruined")))
    assert letter is not None
    assert (letter.spot, letter.topic, letter.partition, letter.offset) == (Spot(1, 7), "exchanges", 2, 30)
    assert (letter.reason, letter.size_bytes, letter.place) == ("too old", 8, ("gateway", 4))
    assert letter.by == "sink"


def test_a_letter_of_an_older_version_is_read_without_the_name_of_a_service() -> None:
    new = buried(Record("requests", b"key", b"value", {"x": b"y"}))
    old = replace(new, headers={name: value for name, value in new.headers.items() if name != "dead-by"})
    assert letter_of(old) == replace(letter_of(new), by="")  # type: ignore[type-var]
    assert returned(old) == returned(new)


def test_a_letter_goes_back_as_it_was_with_a_header_that_says_so() -> None:
    record = Record("requests", b"key", b"value", {"content-type": b"text", "x": b"\xff"})
    back = returned(buried(record))
    assert (back.topic, back.key, back.value) == ("requests", b"key", b"value")
    assert back.headers == {"content-type": b"text", "x": b"\xff", "replayed-from": b"dead-letters/1:7"}


def test_a_marker_remembers_what_was_sent_back_and_is_no_letter() -> None:
    first, second = (buried(Record("requests", b"", b"v"), offset=offset) for offset in (7, 8))
    letters, sent_back = opened([first, marker(Spot(1, 7)), second, Record("dead-letters", b"", b"a stranger")])
    assert [letter.spot for letter in letters] == [Spot(1, 7), Spot(1, 8)]
    assert sent_back == {Spot(1, 7)}


@given(st.builds(Spot, st.integers(0, 99), st.integers(0, 2**60)))
def test_a_spot_is_read_as_it_is_written(spot: Spot) -> None:
    assert spot_of(str(spot)) == spot
    assert marked(marker(spot)) == spot


@pytest.mark.parametrize("text", ["", "3", "3:", ":4", "-1:4", "a:b", "1:2:3"])
def test_what_is_no_spot_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="PARTITION:OFFSET"):
        spot_of(text)
    assert marked(Record("dead-letters", b"", b"", {"replayed": text.encode()})) is None


def dead_places(broker: FakeBroker) -> DeadPlaces:
    return DeadPlaces(FakeFollower(broker, "dead-letters"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "READ_S", 0.01)


def test_the_sequences_among_the_dead_are_known_by_source_and_reading_goes_on() -> None:
    broker = FakeBroker()
    broker.create_topics()
    places = dead_places(broker)
    assert places.by_source(1) == {}
    for sequence, source in ((1, "a"), (2, "a"), (1, "b")):
        broker.append(dead_letter(encode(EXCHANGES, exchange(sequence, source)), "why", "sink"))
    broker.append(dead_letter(Record("requests", b"", b"{}"), "why", "sink"))
    assert places.by_source(1) == {"a": {1, 2}, "b": {1}}
    broker.append(dead_letter(encode(EXCHANGES, exchange(9, "b")), "why", "sink"))
    assert places.by_source(1) == {"a": {1, 2}, "b": {1, 9}}
    places.close()


def test_letters_that_kafka_has_deleted_are_no_excuse_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeBroker()
    for sequence in (1, 2, 3):
        broker.append(dead_letter(encode(EXCHANGES, exchange(sequence, "a")), "why", "sink"))
    places = dead_places(broker)
    monkeypatch.setattr(FakeFollower, "first_kept", lambda _self, _timeout_s: {0: 2})
    assert places.by_source(1) == {"a": {3}}


def test_beyond_a_number_of_letters_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters_module, "REMEMBERED", 2)
    broker = FakeBroker()
    for sequence in (1, 2, 3):
        broker.append(dead_letter(encode(EXCHANGES, exchange(sequence, "a")), "why", "sink"))
    assert dead_places(broker).by_source(1) == {"a": {2, 3}}


def test_everything_ends_at_the_end() -> None:
    broker = FakeBroker(partitions=3)
    for number in range(50):
        broker.append(Record("requests", b"%d" % number, b"%d" % number))
    follower = FakeFollower(broker, "requests")
    follower.start(1)
    assert sorted(int(record.value) for record in everything(follower)) == list(range(50))


def test_a_broker_that_goes_away_while_it_is_read_is_overloaded() -> None:
    broker = FakeBroker()
    broker.append(Record("requests", b"", b"1"))
    follower = FakeFollower(broker, "requests")
    follower.start(1)
    broker.logs["requests", 0].clear()
    with pytest.raises(Overloaded, match="gives nothing"):
        list(everything(follower, patience_s=0.02))


PLACES = st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 3000) | st.integers(2**16 - 9, 2**16 + 9))


@given(st.lists(PLACES | st.tuples(st.just("a"), st.integers(1, 2**64 - 1)), max_size=50))
def test_what_kafka_holds_is_counted_once_however_often_it_is_there(places: list[tuple[str, int]]) -> None:
    retained = Retained()
    for source, sequence in places:
        retained.add(Record("exchanges", b"", b"", {"source": source.encode(), "sequence": b"%d" % sequence}))
    retained.add(Record("exchanges", b"", b"\xff"))
    assert retained.distinct() == {source: len({n for s, n in places if s == source}) for source, _ in places}
    assert (retained.records, retained.without_place) == (len(places) + 1, 1)


def test_what_kafka_holds_takes_memory_by_its_records_however_far_their_sequences_are() -> None:
    retained = Retained()
    tracemalloc.start()
    try:
        for sequence in (1, 2**40, 2**64 - 1):
            retained.add(Record("exchanges", b"", b"", {"source": b"a", "sequence": b"%d" % sequence}))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert retained.distinct() == {"a": 3}
    assert most_bytes < 3 * 20_000
