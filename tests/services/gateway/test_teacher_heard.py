"""One response as it comes: what is kept of it, what is handed on, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.backends import FailureKind
from services.gateway.teacher_failures import MAX_RETRY_AFTER_S, TeacherFailed
from services.gateway.teacher_heard import MAX_REFUSAL_BYTES, Heard, OnEvent

STREAM = b"data: one\n\ndata: two\n\ndata: three\n\n"


def a_heard(status: int = 200, max_bytes: int = 100, on_event: OnEvent | None = None, **headers: str) -> Heard:
    heard = Heard(max_bytes, on_event)
    heard.begin(status, lambda name: headers.get(name.replace("-", "_")))
    return heard


def refusal(heard: Heard) -> TeacherFailed:
    return heard.refusal(str)


def test_before_a_word_it_has_no_status():
    heard = Heard(100)
    assert (heard.status, heard.is_enough, heard.body) == (0, False, b"")


@given(pieces=st.lists(st.binary(max_size=9), max_size=8))
def test_a_whole_answer_is_kept_in_any_pieces(pieces: list[bytes]):
    heard = a_heard()
    for piece in pieces:
        heard.piece(piece)
    assert (heard.body, heard.is_enough) == (b"".join(pieces), False)


@pytest.mark.parametrize("on_event", [None, lambda _data: False])
def test_an_answer_may_be_as_large_as_allowed_and_not_a_byte_larger(on_event: OnEvent | None):
    heard = a_heard(max_bytes=8, on_event=on_event)
    heard.piece(b": 345")
    heard.piece(b"678")
    with pytest.raises(TeacherFailed, match="TEACHER_MAX_ANSWER_BYTES, 8") as failed:
        heard.piece(b"9")
    assert (failed.value.kind, failed.value.passes) == (FailureKind.UNAVAILABLE, False)


def test_events_are_handed_on_and_not_kept():
    taken: list[str] = []
    heard = a_heard(on_event=lambda data: bool(taken.append(data)))
    heard.piece(STREAM[:15])
    assert taken == ["one"]
    heard.piece(STREAM[15:])
    assert (taken, heard.is_enough, heard.body) == (["one", "two", "three"], False, b"")


def test_once_it_is_enough_no_event_of_the_same_piece_is_handed_on():
    taken: list[str] = []

    def until_two(data: str) -> bool:
        taken.append(data)
        return data == "two"

    heard = a_heard(on_event=until_two)
    heard.piece(STREAM)
    assert (taken, heard.is_enough) == (["one", "two"], True)


def test_what_the_listener_raises_comes_through():
    def broken(_data: str) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        a_heard(on_event=broken).piece(STREAM)


def test_a_refusal_of_a_stream_is_no_event():
    taken: list[str] = []
    heard = a_heard(400, on_event=lambda data: bool(taken.append(data)))
    heard.piece(b"data: no\n\n")
    assert (taken, heard.body, str(refusal(heard))) == ([], b"data: no\n\n", "refused: HTTP 400: data: no")


@pytest.mark.parametrize("size", [1_000, MAX_REFUSAL_BYTES, 2 * MAX_REFUSAL_BYTES])
def test_of_an_endless_refusal_the_beginning_is_enough(size: int):
    heard = a_heard(500)
    pieces = 0
    while not heard.is_enough:
        heard.piece(b"x" * size)
        pieces += 1
    assert (len(heard.body), pieces) == (MAX_REFUSAL_BYTES, -(-MAX_REFUSAL_BYTES // size))


def test_a_refusal_is_larger_than_an_answer_may_be():
    heard = a_heard(400, max_bytes=3)
    heard.piece(b'{"error":{"message":"too long"}}')
    assert str(refusal(heard)) == "refused: HTTP 400: too long"


def test_a_refusal_without_a_word_is_told_by_its_status():
    assert str(refusal(a_heard(503))) == "unavailable: HTTP 503: no reason given"


def test_secrets_are_taken_out_before_the_reason_is_cut_short():
    heard = a_heard(400)
    heard.piece(b"x" * 295 + b"sk-secret")
    assert "sk-" not in str(heard.refusal(lambda text: text.replace("sk-secret", "***")))


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, {"retry_after": "7"}, 7.0),
        (503, {"retry_after": "7", "retry_after_ms": "250"}, 0.25),
        (503, {"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        (503, {"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT"}, MAX_RETRY_AFTER_S),
        (503, {"retry_after": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}, None),
        (503, {"retry_after": "1 Jan 2030 00:00:00 +99999999999999999999"}, None),
        (503, {"retry_after": "soon"}, None),
        (503, {"retry_after": "1e999"}, MAX_RETRY_AFTER_S),
        (503, {"retry_after_ms": "nan", "retry_after": "nan"}, None),
        (400, {"retry_after": "7"}, None),
        (429, {}, None),
    ],
)
def test_a_refusal_says_when_to_come_back(status: int, headers: dict[str, str], wait_s: float | None):
    assert refusal(a_heard(status, **headers)).retry_after_s == wait_s
