"""A request in the words of OpenAI's API."""

import json
from typing import Any

from protos import inference_pb2 as inference
from services.gateway.teacher_wire import Resumes, body
from tests.services.gateway.examples import a_task, an_ask

SYSTEM, USER, ASSISTANT, TOOL = (
    inference.ROLE_SYSTEM,
    inference.ROLE_USER,
    inference.ROLE_ASSISTANT,
    inference.ROLE_TOOL,
)


def sent(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body(an_ask(**fields), "gpt-4"))
    return found


def test_the_tasks_instructions_stand_before_a_request_without_any():
    assert sent()["messages"] == [
        {"role": "system", "content": "Say something."},
        {"role": "user", "content": "what is it?"},
    ]


def test_a_requests_own_instructions_are_left_alone():
    own = inference.Message(role=SYSTEM, content="Sing.")
    messages = sent(messages=[own, inference.Message(role=USER, content="what?")])["messages"]
    assert [message["content"] for message in messages] == ["Sing.", "what?"]


def test_a_task_without_instructions_adds_none():
    fields = json.loads(body(an_ask(a_task(instructions="")), "gpt-4"))
    assert [message["role"] for message in fields["messages"]] == ["user"]


def test_absent_sampling_is_left_to_the_teacher_but_for_the_tasks_limit():
    assert sent().keys() == {"model", "messages", "max_tokens"}
    assert sent()["max_tokens"] == 50


def test_sampling_is_passed_on_as_it_was_written():
    sampling = inference.Sampling(temperature=0.7, top_p=0.9, max_tokens=7, stop=["\n"], seed=2**63 - 1)
    fields = sent(sampling=sampling)
    assert {name: fields[name] for name in ("temperature", "top_p", "max_tokens", "stop", "seed")} == {
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["\n"],
        "seed": 2**63 - 1,
    }


def test_greedy_sampling_is_not_taken_for_absent():
    assert sent(sampling=inference.Sampling(temperature=0.0, seed=0))["temperature"] == 0
    assert sent(sampling=inference.Sampling(temperature=0.0, seed=0))["seed"] == 0


def test_a_seed_is_told_as_apis_take_it_with_a_sign():
    assert sent(sampling=inference.Sampling(seed=2**64 - 5))["seed"] == -5
    assert sent(sampling=inference.Sampling(seed=2**63))["seed"] == -(2**63)


def test_the_tasks_limit_caps_the_callers():
    assert sent(sampling=inference.Sampling(max_tokens=10_000))["max_tokens"] == 50


def test_the_limit_goes_by_the_name_that_the_api_knows():
    fields = json.loads(body(an_ask(), "o3", token_limit_field="max_completion_tokens"))
    assert fields["max_completion_tokens"] == 50
    assert "max_tokens" not in fields


def test_tools_and_a_schema_are_passed_on():
    schema = '{"type":"object"}'
    fields = sent(
        tools=[inference.Tool(name="look", parameters=schema), inference.Tool(name="wait")], response_schema=schema
    )
    assert [tool["function"]["name"] for tool in fields["tools"]] == ["look", "wait"]
    assert fields["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert fields["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_conversation_with_tool_calls_keeps_its_ids():
    call = inference.ToolCall(id="call_1", name="look", arguments='{"city":"Rome"}')
    conversation = [
        inference.Message(role=USER, content="where?"),
        inference.Message(role=ASSISTANT, tool_calls=[call]),
        inference.Message(role=TOOL, content="there", tool_call_id="call_1"),
    ]
    _system, _user, asked, answered = sent(messages=conversation)["messages"]
    assert asked == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Rome"}'}}
        ],
    }
    assert answered == {"role": "tool", "content": "there", "tool_call_id": "call_1"}


def resumed(resumes: Resumes, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body(an_ask(**fields)._replace(partial="it is"), "llama", resumes=resumes))
    return found


def test_an_answer_is_gone_on_with_as_vllm_wants_it():
    fields = resumed("continue_final_message")
    assert fields["messages"][-1] == {"role": "assistant", "content": "it is"}
    assert (fields["continue_final_message"], fields["add_generation_prompt"]) == (True, False)


def test_an_answer_is_gone_on_with_as_deepseek_and_mistral_want_it():
    for fields in (resumed("prefix"), resumed("repeated_prefix")):
        assert fields["messages"][-1] == {"role": "assistant", "content": "it is", "prefix": True}
        assert "continue_final_message" not in fields


def test_the_middle_of_an_answer_is_not_held_to_the_schema_of_a_whole_one():
    assert "response_format" not in resumed("prefix", response_schema='{"type":"object"}')


def test_a_stream_is_asked_to_tell_what_it_used():
    fields = json.loads(body(an_ask(), "gpt-4", streams=True))
    assert (fields["stream"], fields["stream_options"]) == (True, {"include_usage": True})
