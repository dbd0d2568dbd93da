"""What is an answer of the teacher's, and what is none."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2 as inference
from services.gateway.backends import FailureKind
from services.gateway.teacher_answer import Growing, said
from services.gateway.teacher_failures import TeacherFailed

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "choices",
    "message",
    "delta",
    "content",
    "finish_reason",
    "tool_calls",
    "function",
    "usage",
    "error",
    "index",
]
LIKE_A_COMPLETION = st.recursive(
    ANYTHING, lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner | st.lists(inner, max_size=2)), max_leaves=12
)


def completion(finish: str | None = "stop", **message: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()


def chunk(finish: str | None = None, **delta: Any) -> str:
    return json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]})


def whole(data: bytes, **how: Any) -> Any:
    growing = Growing("gpt-4", **how)
    growing.whole(data)
    return growing.attempt()


def failure(data: bytes) -> TeacherFailed:
    with pytest.raises(TeacherFailed) as failed:
        whole(data)
    return failed.value


@given(st.binary() | LIKE_A_COMPLETION.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_an_answer_or_a_failure(data: bytes):
    for take in (Growing.whole, lambda growing, data: growing.event(data.decode(errors="replace"))):
        growing = Growing("gpt-4")
        with suppress(TeacherFailed):
            take(growing, data)
            assert growing.attempt().message.role == inference.ROLE_ASSISTANT


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), st.data())
def test_pieces_of_a_text_are_the_text(text: str, data: st.DataObject):
    growing, told = Growing("gpt-4"), ""
    while told != text:
        piece = text[len(told) : len(told) + data.draw(st.integers(1, len(text)))]
        told += growing.event(chunk(content=piece))
    growing.event(chunk("stop"))
    assert growing.attempt().message.content == text


def test_the_model_is_the_one_that_answered():
    answered = json.loads(completion(content="yes")) | {"model": "gpt-4-0613"}
    assert whole(json.dumps(answered).encode()).model == "gpt-4-0613"
    assert whole(completion(content="yes")).model == "gpt-4"


@pytest.mark.parametrize("tokens", [-1, 2**40])
def test_a_count_of_tokens_that_cannot_be_is_no_reason_to_lose_the_answer(tokens: int):
    used = json.loads(completion(content="yes")) | {"usage": {"prompt_tokens": tokens}}
    assert whole(json.dumps(used).encode()).usage.prompt_tokens == (0 if tokens < 0 else 2**32 - 1)


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": ""}, {"content": "", "tool_calls": []}])
def test_an_empty_answer_is_no_fault_of_the_teacher(message: dict[str, Any]):
    for finish in ("stop", "a word of tomorrow"):
        assert whole(completion(finish, **message)).message.content == ""


@pytest.mark.parametrize(
    ("finish", "found"), [("length", inference.FINISH_LENGTH), ("content_filter", inference.FINISH_CONTENT_FILTER)]
)
def test_an_answer_that_was_cut_before_its_first_word_is_one(finish: str, found: int):
    assert whole(completion(finish, content="")).finish == found


def test_a_model_that_declines_refuses_the_request():
    failed = failure(completion(content=None, refusal="I can't help with that."))
    assert (failed.kind, "can't help" in str(failed)) == (FailureKind.REFUSED, True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "overloaded", "code": 503}, FailureKind.UNAVAILABLE),
        ({"message": "too long", "code": 400}, FailureKind.REFUSED),
        ({"message": "too long", "code": "400"}, FailureKind.REFUSED),
        ({"message": None}, FailureKind.UNAVAILABLE),
        ("overloaded", FailureKind.UNAVAILABLE),
    ],
)
def test_an_error_in_the_place_of_an_answer_is_told(error: Any, kind: FailureKind):
    data = json.dumps({"error": error})
    assert failure(data.encode()).kind is kind
    with pytest.raises(TeacherFailed) as failed:
        Growing("gpt-4").event(data)
    assert (failed.value.kind, failed.value.passes) == (kind, True)


def test_an_error_after_some_text_is_not_asked_again():
    growing = Growing("gpt-4")
    growing.event(chunk(content="one"))
    with pytest.raises(TeacherFailed) as failed:
        growing.event('{"error":{"message":"overloaded"}}')
    assert not failed.value.passes


def test_an_error_is_told_without_secrets():
    growing = Growing("gpt-4", lambda text: text.replace("sk-1", "***"))
    with pytest.raises(TeacherFailed, match=r"key \*\*\* is"):
        growing.event('{"error":{"message":"key sk-1 is wrong"}}')


def test_a_stream_ends_with_a_reason_or_with_its_mark():
    growing = Growing("gpt-4")
    growing.event(chunk(content="one"))
    assert not growing.finished
    growing.event("[DONE]")
    assert (growing.finished, growing.done) == (True, True)


def test_an_answer_that_does_not_say_why_it_ended_is_not_taken_for_whole():
    growing = Growing("gpt-4")
    for data in (chunk(content="one"), "[DONE]"):
        growing.event(data)
    assert growing.attempt().finish == inference.FINISH_UNSPECIFIED
    for finish in (None, "", "a word of tomorrow"):
        assert whole(completion(finish, content="one")).finish == inference.FINISH_UNSPECIFIED


@pytest.mark.parametrize("finish", ["error", "insufficient_system_resource"])
def test_an_answer_that_ends_in_a_breakdown_is_none(finish: str):
    failed = failure(completion(finish, content="one"))
    assert (failed.kind, failed.passes, finish in str(failed)) == (FailureKind.UNAVAILABLE, True, True)


def test_a_breakdown_after_some_text_is_not_asked_again_and_ends_no_answer():
    growing = Growing("gpt-4")
    growing.event(chunk(content="one"))
    with pytest.raises(TeacherFailed) as failed:
        growing.event(chunk("error"))
    assert (failed.value.passes, growing.finished) == (False, False)


def test_a_breakdown_after_the_end_takes_nothing_back():
    growing = Growing("gpt-4")
    growing.event(chunk("stop", content="one"))
    with suppress(TeacherFailed):
        growing.event(chunk("error"))
    assert (growing.finished, growing.attempt().finish) == (True, inference.FINISH_STOP)


def test_calls_of_a_stream_that_gives_no_index_are_told_apart():
    growing = Growing("gpt-4")
    for call_id in ("a", "b"):
        growing.event(chunk(tool_calls=[{"id": call_id, "function": {"name": "look", "arguments": "{}"}}]))
    growing.event(chunk("tool_calls"))
    assert [call.id for call in growing.attempt().message.tool_calls] == ["a", "b"]


def test_the_calls_of_a_whole_answer_are_apart_whatever_they_are_called():
    look = {"function": {"name": "look", "arguments": "{}"}}
    calls = [{"id": "same", "index": 0, **look}, {"id": "same", "index": 0, **look}, look]
    assert [call.name for call in whole(completion("tool_calls", tool_calls=calls)).message.tool_calls] == ["look"] * 3


def test_what_goes_on_from_a_beginning_holds_it_and_tells_what_is_new():
    growing = Growing("gpt-4", partial="one two")
    assert growing.event(chunk("stop", content=" three")) == " three"
    assert growing.attempt().message.content == "one two three"


@pytest.mark.parametrize("pieces", [["one two three"], ["one", " two", " three"], ["one two", " three"], [" three"]])
def test_a_beginning_that_is_said_again_is_told_once(pieces: list[str]):
    growing = Growing("gpt-4", partial="one two", repeats=True)
    assert "".join(growing.event(chunk(content=piece)) for piece in pieces) == " three"
    assert growing.attempt().message.content == "one two three"


def test_what_only_began_like_the_beginning_is_told_whole():
    growing = Growing("gpt-4", partial="one two", repeats=True)
    assert [growing.event(chunk(content=piece)) for piece in ("one", " more")] == ["", "one more"]
    assert growing.attempt().message.content == "one twoone more"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"error":{"message":"no"}}', "no"),
        (b'{"error":"no"}', "no"),
        (b'{"detail":"no"}', '{"detail":"no"}'),
        (b"<html>", "<html>"),
        (b"\xff", "�"),
        (b"", "no reason given"),
    ],
)
def test_a_refusal_says_what_its_body_says(data: bytes, told: str):
    assert said(data) == told
