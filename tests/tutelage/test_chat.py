"""A chat's messages, and what is said of those that can't be sent."""

from typing import Any

import pytest

from protos import inference_pb2 as inference
from tutelage.chat import chat

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Rome"}'}}


def test_a_text_is_a_users_message() -> None:
    (message,) = chat("hello")
    assert (message.role, message.content) == (inference.ROLE_USER, "hello")


def test_a_chat_keeps_its_order_and_roles() -> None:
    made = chat([{"role": "system", "content": "be brief"}, inference.Message(role=inference.ROLE_USER, content="hi")])
    assert [(one.role, one.content) for one in made] == [(1, "be brief"), (2, "hi")]


def test_a_chat_with_tools_loses_nothing() -> None:
    asked, told = chat(
        [
            {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
            {"role": "tool", "content": "18 C", "tool_call_id": "c1"},
        ]
    )
    (call,) = asked.tool_calls
    assert (asked.content, call.id, call.name, call.arguments) == ("", "c1", "look", '{"city":"Rome"}')
    assert (told.role, told.content, told.tool_call_id) == (inference.ROLE_TOOL, "18 C", "c1")
    (same,) = chat([{"role": "assistant", "tool_calls": [inference.ToolCall(id="c1", name="look")]}])
    assert same.tool_calls[0].name == "look"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "robot", "content": "x"}, "'robot' is none of system, user, assistant, tool"),
        ({"content": "x"}, "role '' is none of"),
        ({"role": "user"}, 'content is missing; an empty text is ""'),
        ({"role": "user", "content": "x", "name": "bob"}, "'name' can't be sent, only role, content"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "name": "f"}]}, r"tool_calls\[0\].*arguments must be texts"),
    ],
)
def test_a_message_that_cannot_be_sent_says_what_to_change(message: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=rf"messages\[1\].*{told}"):
        chat([{"role": "user", "content": "x"}, message])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], r"messages\[0\]: content is a list"),
        (["hello"], r"messages\[0\] is a str: give"),
        ([{"role": "assistant", "tool_calls": ["look"]}], r"messages\[0\].tool_calls\[0\] is a str: give"),
        ({"role": "user", "content": "x"}, "messages is a dict: give a text, or a list"),
        (b"hello", "messages is a bytes"),
        (5, "messages is a int: give a text, or a list"),
        (None, "messages is a NoneType: give a text"),
    ],
)
def test_what_is_no_message_says_what_one_is(messages: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        chat(messages)
