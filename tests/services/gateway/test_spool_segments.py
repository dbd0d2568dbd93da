"""The spool's files: what is whole is read back, what is torn is not invented."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.spool_segments import Segment, following, found, pack, unpack
from services.topics import Record

records = st.builds(
    Record,
    st.sampled_from(["exchanges", "feedback"]),
    st.binary(max_size=20),
    st.binary(max_size=300),
    st.dictionaries(st.text(min_size=1, max_size=10), st.binary(max_size=10), max_size=3),
)


@given(st.lists(records, max_size=20))
def test_what_is_packed_is_unpacked(written: list[Record]) -> None:
    assert [record for record, _ in unpack(b"".join(map(pack, written)))] == written


@given(st.lists(records, min_size=1, max_size=10), st.data())
def test_a_file_cut_at_any_byte_gives_back_every_whole_record_and_no_other(
    written: list[Record], data: st.DataObject
) -> None:
    frames = [pack(record) for record in written]
    cut = data.draw(st.integers(0, len(b"".join(frames))))
    whole = sum(len(b"".join(frames[: n + 1])) <= cut for n in range(len(frames)))
    assert [record for record, _ in unpack(b"".join(frames)[:cut])] == written[:whole]


@given(st.lists(records, min_size=1, max_size=10), st.data())
def test_a_flipped_bit_is_never_read_as_a_record(written: list[Record], data: st.DataObject) -> None:
    image = bytearray(b"".join(map(pack, written)))
    image[data.draw(st.integers(0, len(image) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read = [record for record, _ in unpack(bytes(image))]
    assert read == written[: len(read)]
    assert len(read) < len(written)


def test_zeros_behind_the_last_record_are_no_record() -> None:
    frame = pack(Record("exchanges", b"k", b"v"))
    assert len(list(unpack(frame + bytes(64)))) == 1


def test_a_record_longer_than_one_read_is_read_whole(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "1.seg")
    long = Record("exchanges", b"k", os.urandom(3 * 1024 * 1024))
    segment.write(pack(long) + pack(Record("exchanges", b"k", b"next")))
    ((record, size),) = segment.unsent()
    segment.sent += size
    assert record == long
    assert [record.value for record, _ in segment.unsent()] == [b"next"]
    segment.close()


def test_a_write_that_fails_halfway_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment(tmp_path / "1.seg")
    first, second = pack(Record("exchanges", b"1", b"first")), pack(Record("exchanges", b"2", b"second"))
    segment.write(first)
    real = os.write
    room = [7, 0]

    def full(fd: int, data: bytes) -> int:
        if not (bytes_left := room.pop(0)):
            raise OSError(28, "No space left on device")
        return real(fd, data[:bytes_left])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        segment.write(second)
    monkeypatch.setattr(os, "write", real)
    assert segment.path.read_bytes() == first
    segment.write(second)
    assert [record.value for record, _ in segment.unsent()] == [b"first", b"second"]
    segment.close()


def test_a_new_segment_stands_behind_the_last_and_what_was_found_is_sealed(tmp_path: Path) -> None:
    first = following(tmp_path, None)
    second = following(tmp_path, first)
    assert [segment.path for segment in found(tmp_path)] == [first.path, second.path]
    assert all(segment.sealed for segment in found(tmp_path))
    assert not second.sealed
