"""The letters of one record are told apart from those of another."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.audit.graves import graves
from services.audit.letters import Letter, Spot, letter_of
from services.topics import Record, dead_letter, hollow

RECORDS = st.builds(
    Record,
    st.sampled_from(["exchanges", "feedback"]),
    st.just(b"k"),
    st.sampled_from([b"one", b"two", b"three"]),
    partition=st.integers(0, 2),
    offset=st.integers(0, 3),
)
POISON = Record("exchanges", b"k", b"\xff" * 30, partition=1, offset=8)


def buried(record: Record, at: int, by: str = "sink", left: bool = False) -> Letter:
    letter = dead_letter(record, f"what the {by} says", by)
    found = letter_of(replace(hollow(letter) if left else letter, partition=0, offset=at))
    assert found
    return found


@given(
    st.lists(st.tuples(RECORDS, st.sampled_from(["sink", "sampler", ""]), st.booleans())), st.sets(st.integers(0, 9))
)
def test_letters_are_one_if_place_and_bytes_are(written: list[tuple[Record, str, bool]], marked: set[int]) -> None:
    letters = [buried(record, at, by, left) for at, (record, by, left) in enumerate(written)]
    found = graves(letters, {Spot(0, at) for at in marked})
    records = [record for record, _, _ in written]
    assert len(found) == len({(one.topic, one.partition, one.offset, one.value) for one in records})
    assert sorted(spot.offset for grave in found for spot in grave.spots) == list(range(len(letters)))
    for grave in found:
        assert len({records[spot.offset].value for spot in grave.spots}) == 1
        assert grave.sent_back == any(spot.offset in marked for spot in grave.spots)
        assert grave.letter.left == all(one.left for one in grave.letters)


def test_the_letter_with_its_bytes_stands_for_those_that_left_them() -> None:
    [grave] = graves([buried(POISON, 1, left=True), buried(POISON, 2, "sampler"), buried(POISON, 3)], set())
    assert grave.letter.spot == Spot(0, 2)
    assert grave.reasons == {"what the sink says": ["sink"], "what the sampler says": ["sampler"]}


def test_the_same_place_in_a_topic_that_was_made_anew_is_another_record() -> None:
    assert len(graves([buried(POISON, 1), buried(replace(POISON, value=b"\x00" * 30), 2)], set())) == 2


def test_letters_that_do_not_tell_their_place_stay_alone() -> None:
    nowhere = replace(POISON, partition=-1, offset=-1)
    assert len(graves([buried(nowhere, 1), buried(nowhere, 2)], set())) == 2
