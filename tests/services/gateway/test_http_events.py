"""A stream's events, and that no caller is shown two answers as one."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2 as inference
from services.gateway.fields import BegunOtherwise
from services.gateway.http_events import DONE, Events
from services.gateway.http_request import Asked

PIECES = st.lists(st.text("ab", max_size=3), max_size=5)


def asked(**fields: Any) -> Asked:
    given = {"streams": True, "includes_usage": False, "bears_restart": False, "ignored": ()}
    request = inference.Request(task="say")
    return Asked(request, authorization="", timeout_ms=None, client_timeout_s=None, **{**given, **fields})


def reply(text: str, **fields: Any) -> inference.Reply:
    message = inference.Message(role=inference.ROLE_ASSISTANT, content=text)
    return inference.Reply(**{"exchange_id": "x", "message": message, "finish": inference.FINISH_STOP, **fields})


def read(events: bytes) -> list[dict[str, Any]]:
    """The JSON of each event but the last, which says that there are no more."""
    lines = [line.removeprefix("data: ") for line in events.decode().split("\n\n") if line]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def texts(events: bytes) -> str:
    chunks = read(events)
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_an_answer_that_comes_whole_has_all_events_at_once() -> None:
    events = Events("x", asked(includes_usage=True)).of(inference.Chunk(delta="hello", reply=reply("hello")))
    first, text, end, used = read(events)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert text["choices"][0]["delta"] == {"content": "hello"}
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (used["choices"], used["usage"]["total_tokens"], first["usage"]) == ([], 0, None)
    assert events.endswith(DONE)


def test_without_being_asked_for_usage_is_not_told() -> None:
    events = Events("x", asked()).of(inference.Chunk(delta="hello", reply=reply("hello")))
    assert [chunk for chunk in read(events) if "usage" in chunk] == []


def test_an_empty_answer_is_a_whole_stream_too() -> None:
    events = Events("x", asked()).of(inference.Chunk(reply=reply("")))
    assert [chunk["choices"][0]["finish_reason"] for chunk in read(events)] == [None, "stop"]


def test_an_answer_that_does_not_say_why_it_ended_is_not_said_to_be_whole() -> None:
    events = Events("x", asked()).of(inference.Chunk(reply=reply("he", finish=inference.FINISH_UNSPECIFIED)))
    assert read(events)[-1]["choices"][0]["finish_reason"] == "length"


def test_who_can_take_text_back_is_told_to() -> None:
    events = Events("x", asked(bears_restart=True))
    told = [inference.Chunk(delta="yes"), inference.Chunk(restart=True), inference.Chunk(delta="no", reply=reply("no"))]
    _first, yes, restart, no, _end = read(b"".join(map(events.of, told)))
    assert yes["choices"][0]["delta"] == {"content": "yes"}
    assert (restart["choices"], restart["tutelage"]) == ([], {"restart": True})
    assert no["choices"][0]["delta"] == {"content": "no"}


@given(st.lists(PIECES, max_size=3), PIECES)
def test_what_was_sent_is_the_answer_or_the_stream_is_broken_off(begun: list[list[str]], whole: list[str]) -> None:
    events, sent, answer = Events("x", asked()), b"", "".join(whole)
    told = [chunk for piece in begun for chunk in [*_chunks(piece), inference.Chunk(restart=True)]]
    try:
        for chunk in [*told, *_chunks(whole), inference.Chunk(reply=reply(answer))]:
            sent += events.of(chunk)
    except BegunOtherwise:
        assert DONE not in sent
        assert not all(_agree(*pair) for pair in _pairs([*map("".join, begun), answer]))
    else:
        assert texts(sent) == answer


@given(PIECES)
def test_an_answer_that_begins_anew_as_it_had_begun_goes_on(pieces: list[str]) -> None:
    events, answer = Events("x", asked()), "".join(pieces)
    told = [*_chunks(pieces[:2]), inference.Chunk(restart=True), *_chunks(pieces), inference.Chunk(reply=reply(answer))]
    assert texts(b"".join(map(events.of, told))) == answer


def _chunks(pieces: list[str]) -> list[inference.Chunk]:
    return [inference.Chunk(delta=piece) for piece in pieces]


def _pairs(texts: list[str]) -> list[tuple[str, str]]:
    return [(one, other) for place, one in enumerate(texts) for other in texts[place + 1 :]]


def _agree(begun: str, answer: str) -> bool:
    return answer.startswith(begun)
