"""What the client sends and makes of what comes back."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2 as inference
from tutelage.messages import Growing, answered, request


def test_each_request_has_an_id_of_its_own_unless_it_is_given() -> None:
    first, second = request("topics", "a"), request("topics", "a")
    assert uuid.UUID(first.request_id) != uuid.UUID(second.request_id)
    assert request("topics", "a", request_id=first.request_id).request_id == first.request_id


def test_other_fields_are_those_of_the_proto() -> None:
    made = request("topics", "a", sampling={"max_tokens": 3}, group_key="g", tools=[{"name": "f"}])
    assert (made.sampling.max_tokens, made.group_key, made.tools[0].name) == (3, "g", "f")
    with pytest.raises(ValueError, match="no_such"):
        request("topics", "a", no_such=1)


@given(st.lists(st.one_of(st.text(), st.none()), max_size=8))
def test_the_text_of_a_stream_is_what_came_after_its_last_restart(pieces: list[str | None]) -> None:
    growing = Growing(request("topics", "a"))
    for piece in pieces:
        growing.add(inference.Chunk(delta=piece or "", restart=piece is None))
    last = max((place for place, piece in enumerate(pieces) if piece is None), default=-1)
    assert growing.text == "".join(piece or "" for piece in pieces[last + 1 :])
    assert growing.answer is None


def test_feedback_names_the_exchange_its_task_and_its_group() -> None:
    answer = answered(request("topics", "a", group_key="g"), inference.Reply(exchange_id="e"))
    said = answer.feedback(correction="b")
    assert (said.exchange_id, said.task, said.group_key, said.correction) == ("e", "topics", "g", "b")
    assert not said.HasField("rating")
