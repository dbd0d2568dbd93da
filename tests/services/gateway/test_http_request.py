"""What a call by HTTP asks, out of its body and its headers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import inference_pb2 as inference
from services.gateway.fields import BadInput, UnknownTask
from services.gateway.http_feedback import read_feedback
from services.gateway.http_fields import UNLESS, field_of
from services.gateway.http_request import Asked, read_chat

USER = {"role": "user", "content": "what is it?"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
KEYS = st.sampled_from(["model", "messages", "tools", "stop", "stream", "metadata", "seed", "response_format", *UNLESS])


def read(headers: dict[str, str] | None = None, **fields: Any) -> Asked:
    body = {"model": "tutelage/say", "messages": [USER], **fields}
    return read_chat(json.dumps(body).encode(), headers or {})


def test_every_field_that_can_be_carried_is_carried() -> None:
    asked = read(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
            {"role": "user", "content": "weather?", "name": "Ann"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
        tools=[TOOL],
        tool_choice="auto",
        parallel_tool_calls=True,
        temperature=0.5,
        top_p=0.25,
        max_completion_tokens=9,
        stop="\n",
        seed=7,
        n=1,
        user="customer 7",
        metadata={"kind": "test"},
        service_tier="flex",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}},
        },
        stream=True,
        stream_options={"include_usage": True},
    )
    assert asked.request == inference.Request(
        task="say",
        messages=[
            inference.Message(role=inference.ROLE_SYSTEM, content="Be brief."),
            inference.Message(role=inference.ROLE_SYSTEM, content="Be kind."),
            inference.Message(role=inference.ROLE_USER, content="weather?"),
            inference.Message(
                role=inference.ROLE_ASSISTANT,
                tool_calls=[inference.ToolCall(id="c1", name="look", arguments="{}")],
            ),
            inference.Message(role=inference.ROLE_TOOL, tool_call_id="c1", content="rain"),
        ],
        tools=[inference.Tool(name="look", parameters='{"type": "object"}')],
        sampling=inference.Sampling(temperature=0.5, top_p=0.25, max_tokens=9, stop=["\n"], seed=7),
        metadata={"kind": "test"},
        group_key="customer 7",
        response_schema='{"type": "object"}',
        priority=inference.PRIORITY_LOW,
    )
    assert (asked.streams, asked.includes_usage, asked.bears_restart) == (True, True, False)
    assert asked.ignored == (
        "messages[].name",
        "response_format.json_schema.name",
        "response_format.json_schema.strict",
    )


def test_what_is_ignored_within_other_fields_is_named_too() -> None:
    call = {"id": "c1", "index": 0, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    asked = read(
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}], "name": "Ann"},
            {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [call]},
            {"role": "user", "content": "b", "name": "Ann"},
        ],
        tools=[{"type": "function", "function": {"name": "look", "strict": True, "parameters": {"x": 1}}}],
        response_format={"type": "json_schema", "json_schema": {"description": "d", "schema": {"x": 1}}},
        stream_options={"include_obfuscation": False},
        store=None,
    )
    assert asked.ignored == (
        "messages[].annotations",
        "messages[].content[].cache_control",
        "messages[].name",
        "messages[].tool_calls[].index",
        "response_format.json_schema.description",
        "store",
        "stream_options.include_obfuscation",
        "tools[].function.strict",
    )


def test_a_schema_that_is_announced_and_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^response_format: json_schema is missing"):
        read(response_format={"type": "json_schema"})


@pytest.mark.parametrize(("seed", "kept"), [(-1, 2**64 - 1), (-(2**63), 2**63), (0, 0), (2**64 - 1, 2**64 - 1)])
def test_a_negative_seed_is_kept_in_the_bits_of_one_without_a_sign(seed: int, kept: int) -> None:
    assert read(seed=seed).request.sampling.seed == kept


@pytest.mark.parametrize("seed", [-(2**63) - 1, 2**64])
def test_a_seed_of_more_bits_is_refused(seed: int) -> None:
    with pytest.raises(BadInput, match=r"^seed: Input should be"):
        read(seed=seed)


def test_a_label_that_is_none_is_refused_by_its_own_name() -> None:
    with pytest.raises(BadInput, match=r"^metadata\.a: Input should be a valid string$"):
        read(metadata={"a": {"b": 1}})
    assert read(metadata={"a": 1, "b": True, "c": 0.5}).request.metadata == {"a": "1", "b": "True", "c": "0.5"}


def test_json_of_any_shape_is_a_schema_too() -> None:
    assert read(response_format={"type": "json_object"}).request.response_schema == '{"type": "object"}'
    assert read(response_format={"type": "text"}).request.response_schema == ""


def test_without_a_choice_of_tools_the_model_sees_none() -> None:
    assert list(read(tools=[TOOL], tool_choice="none").request.tools) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tool_choice": "required"}, "tool_choice: it can't be forced"),
        ({"tool_choice": {"type": "function", "function": {"name": "look"}}}, "tool_choice: it can't be forced"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls: it can't be forbidden"),
        ({"top_logprobs": 3}, "top_logprobs: they are not told"),
        ({"presence_penalty": 0.1}, "presence_penalty: not every backend has it"),
        ({"logit_bias": {"50256": -100}}, "logit_bias: not every backend has it"),
        ({"modalities": ["text", "audio"]}, "modalities: only text"),
        ({"functions": [{"name": "look"}]}, "functions: send them as `tools`"),
        ({"n": 2}, "n: Input should be 1"),
        ({"service_tier": "fast"}, "service_tier: Input should be 'auto'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, r"messages\[0\].content\[0\].type"),
        ({"messages": [{"role": "function", "content": "x"}]}, r"messages\[0\].role"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools\[0\].type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "body: Invalid JSON"),
    ],
)
def test_what_would_change_the_answer_and_can_not_be_had_is_refused(fields, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(**fields)


def test_what_changes_nothing_is_accepted() -> None:
    harmless = {name: values[-1] for name, (values, _advice) in UNLESS.items()}
    assert read(**harmless).ignored == ()


def test_other_fields_are_ignored_and_named() -> None:
    assert read(store=True, reasoning_effort="low", temprature=0).ignored == ("reasoning_effort", "store", "temprature")


def test_an_idempotency_key_makes_the_id_always_the_same() -> None:
    one = "0190a0b0-0000-7000-8000-00000000000a"
    assert read({"idempotency-key": one}).request.request_id == one
    first, again = (read({"idempotency-key": "order 7"}).request.request_id for _ in range(2))
    assert first == again != read({"idempotency-key": "order 8"}).request.request_id


def test_an_x_request_id_is_no_identity_since_proxies_send_one_for_several_calls() -> None:
    assert read({"x-request-id": "0190a0b0-0000-7000-8000-00000000000a"}).request.request_id == ""


@pytest.mark.parametrize(
    ("headers", "remaining_s"),
    [
        ({}, 10.0),
        ({"x-stainless-timeout": "600"}, 10.0),  # The packages' default is nobody's wish.
        ({"x-stainless-timeout": "2.5"}, 2.5),
        ({"x-stainless-timeout": "0"}, 10.0),
        ({"x-stainless-timeout": "soon"}, 10.0),
        ({"x-tutelage-timeout-ms": "60000", "x-stainless-timeout": "2"}, 60.0),
    ],
)
def test_the_deadline_is_ours_else_the_sooner_of_the_clients_and_the_tasks(headers, remaining_s: float) -> None:
    assert read(headers).remaining_s(10_000) == remaining_s


@pytest.mark.parametrize("given_ms", ["0", "-1", "1.5", "soon", "9" * 10, "²"])
def test_a_deadline_that_is_none_is_refused(given_ms: str) -> None:
    with pytest.raises(BadInput, match="x-tutelage-timeout-ms"):
        read({"x-tutelage-timeout-ms": given_ms})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"model":"tutelage/say"}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        read_chat(body, {})


@given(st.binary(max_size=99) | st.dictionaries(KEYS, JSON).map(lambda body: json.dumps(body).encode()))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        read_chat(body, {})
    except (BadInput, UnknownTask) as refusal:
        assert 0 < len(str(refusal)) < 600  # noqa: PT017 - what else may come is what the test is about


@given(st.dictionaries(st.text(max_size=9), JSON, max_size=5))
def test_any_field_that_is_not_known_is_ignored_by_its_name(fields: dict[str, Any]) -> None:
    known = {*Asked.__dataclass_fields__, *UNLESS, "task", "messages", "model", "tools", "temperature", "top_p"}
    unknown = {f"x_{name}": value for name, value in fields.items() if name not in known}
    assert set(read(**unknown).ignored) == set(unknown)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("messages[0].content: is empty", "messages[0].content"),
        ("sampling.max_tokens: 0 is not at least 1", "max_tokens"),
        ("response_schema: not a JSON Schema", "response_format"),
        ("task: 'x' is not defined", "model"),
        ("group_key: 257 bytes are above the limit", "user"),
        ("no backend could answer (teacher: unavailable: away)", None),
    ],
)
def test_an_error_names_its_field_as_openai_does(text: str, field: str | None) -> None:
    assert field_of(text) == field


def test_feedback_is_of_a_completion_or_an_exchange() -> None:
    for prefix in ("chatcmpl-", ""):
        record = read_feedback(json.dumps({"id": f"{prefix}abc", "model": "tutelage/say", "rating": -1}).encode())
        assert (record.exchange_id, record.task, record.rating) == ("abc", "say", -1)
        assert not record.HasField("correction")
