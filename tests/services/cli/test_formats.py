import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import control_pb2 as pb
from protos import inference_pb2 as inference
from services.cli.formats import Format, example_of, line_of
from services.errors import BadEvent
from services.tasks import question

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda text: bool(text.strip()))


def a_row(**changes: Any) -> pb.SnapshotRow:
    given = {"id": "00000000-0000-7000-8000-000000000001", "prompt": "Is it?\n", "completion": "yes", "kind": "short"}
    return pb.SnapshotRow(**({**given, "weight": 2.0, "group_digest": "ab12"} | changes))


def test_a_row_in_openais_shape() -> None:
    turns = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "yes"}]
    assert line_of(Format.OPENAI, a_row()) == {"messages": turns}
    told = line_of(Format.OPENAI, a_row(), "Say yes or no.")
    assert told["messages"] == [{"role": "system", "content": "Say yes or no."}, *turns]


def test_a_row_in_the_shape_of_sharegpt() -> None:
    told = line_of(Format.SHAREGPT, a_row())
    assert told == {"conversations": [{"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "yes"}]}


def test_a_row_in_alpacas_shape() -> None:
    assert line_of(Format.ALPACA, a_row()) == {"instruction": "Is it?", "input": "", "output": "yes"}
    assert line_of(Format.ALPACA, a_row(), "Say yes or no.")["system"] == "Say yes or no."


@pytest.mark.parametrize("shape", list(Format))
@given(asked=WORDS, answer=WORDS, instructions=st.sampled_from(["", "Say yes or no."]))
def test_what_was_written_is_read_again(shape: Format, asked: str, answer: str, instructions: str) -> None:
    row = a_row(prompt=f"{asked}\n", completion=answer)
    found = example_of(json.loads(json.dumps(line_of(shape, row, instructions, ours=True))), "labels")
    assert (question(found.request), found.answer) == (asked, answer)
    assert (found.request.request_id, found.request.group_key) == (row.id, "ab12")
    assert (found.request.metadata["kind"], found.request.task) == ("short", "labels")
    assert [m.content for m in found.request.messages if m.role == inference.ROLE_SYSTEM] == [instructions][
        : bool(instructions)
    ]


def test_alpacas_input_is_part_of_what_is_asked() -> None:
    found = example_of({"instruction": "Translate.", "input": "Haus", "output": "house"}, "labels")
    assert question(found.request) == "Translate.\n\nHaus"


def test_a_line_without_an_id_gets_one_that_follows_from_what_it_says() -> None:
    line = {"instruction": "Is it?", "output": "yes"}
    assert example_of(line, "labels") == example_of(dict(line), "labels")
    assert example_of(line, "labels").request.request_id


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"conversations": "hello"}, "conversations: must be a list"),
        ({"conversations": [{"from": "bot", "value": "x"}]}, "from 'bot' is none of"),
        ({"conversations": [{"from": "human", "value": 3}]}, "value: must be a text"),
        ({"instruction": "x"}, "output: must be a text"),
        ({"prompt": "x"}, "no messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, "must hold a request and, last"),
    ],
)
def test_what_cannot_be_read_says_why(line: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadEvent, match=complaint):
        example_of(line, "labels")
