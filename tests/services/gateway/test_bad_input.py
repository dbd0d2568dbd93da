"""Every way in which a request or feedback can be wrong: refused on every RPC, with the field named."""

from typing import Any

import grpc
import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.checks import RequestLimits, check_request
from services.gateway.feedback_checks import check_feedback
from services.gateway.fields import BadInput, UnknownTask
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import AN_ID, a_feedback, a_request, a_task

USER, ASSISTANT, TOOL = inference.ROLE_USER, inference.ROLE_ASSISTANT, inference.ROLE_TOOL


def message(role: int = USER, content: str = "hello", **fields: Any) -> inference.Message:
    return inference.Message(role=role, content=content, **fields)  # type: ignore[arg-type]


def tool_call(id_: str = "1", name: str = "look", arguments: str = "{}") -> inference.ToolCall:
    return inference.ToolCall(id=id_, name=name, arguments=arguments)


def call(name: str = "look", arguments: str = "{}") -> inference.Message:
    return message(ASSISTANT, "", tool_calls=[tool_call("1", name, arguments)])


def tool(name: str = "look", **fields: Any) -> inference.Tool:
    return inference.Tool(name=name, **fields)


def sampling(**fields: Any) -> dict[str, inference.Sampling]:
    return {"sampling": inference.Sampling(**fields)}


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no task": ({"task": ""}, "task: is missing; defined are say"),
    "no messages": ({"messages": []}, "messages: are empty"),
    "too many messages": ({"messages": [message()] * 4}, "messages: 4 are above the limit of 3"),
    "no role": ({"messages": [message(0)]}, "messages[0].role: 0 is none of"),
    "an unknown role": ({"messages": [message(), message(9)]}, "messages[1].role: 9 is none of"),
    "no content": ({"messages": [message(content="")]}, "messages[0].content: is empty"),
    "blank content": ({"messages": [message(content=" \n")]}, "messages[0].content: is empty"),
    "nobody asks": ({"messages": [message(inference.ROLE_SYSTEM)]}, "messages: none is of ROLE_USER"),
    "too long": ({"messages": [message(content="ä" * 101)]}, "messages: 202 bytes in all are above the task's limit"),
    "far too long": ({"messages": [message(content="x" * 3_000_000)]}, "messages: 3000000 bytes in all are above"),
    "a call's id that is too long": (
        {"messages": [message(content="x", tool_call_id="y" * 200)]},
        "messages: 201 bytes in all are above the task's limit",
    ),
    "a tool call's id that is too long": (
        {"messages": [message(content="x"), message(ASSISTANT, "", tool_calls=[tool_call("y" * 194)])]},
        "messages: 201 bytes in all are above the task's limit",
    ),
    "a tool's result without its call": (
        {"messages": [message(), message(TOOL)]},
        "messages[1].tool_call_id: is missing",
    ),
    "tool calls of a user": (
        {"messages": [message(tool_calls=[inference.ToolCall(name="look", arguments="{}")])]},
        "messages[0].tool_calls: only",
    ),
    "arguments that are no JSON": (
        {"messages": [message(), call(arguments="{")]},
        "messages[1].tool_calls[0].arguments: not JSON",
    ),
    "arguments that are no object": (
        {"messages": [message(), call(arguments="[]")]},
        "messages[1].tool_calls[0].arguments: not a JSON object",
    ),
    "arguments nested without end": (
        {"messages": [message(), call(arguments="[" * 100_000)]},
        "messages[1].tool_calls[0].arguments: not JSON",
    ),
    "a call without a name": ({"messages": [message(), call(name="")]}, "messages[1].tool_calls[0].name: ''"),
    "too many tools": ({"tools": [tool()] * 129}, "tools: 129 are above the limit of 128"),
    "a tool's name": ({"tools": [tool("look at")]}, "tools[0].name: 'look at' must be"),
    "a tool twice": ({"tools": [tool(), tool()]}, "tools[1].name: 'look' is there twice"),
    "a tool's schema": ({"tools": [tool(parameters='{"type":1}')]}, "tools[0].parameters: not a JSON Schema"),
    "tools too large": ({"tools": [tool(description="x" * 262_145)]}, "tools, response_schema: 262145 bytes in all"),
    "a schema that is no JSON": ({"response_schema": "{"}, "response_schema: not a JSON Schema"),
    "a schema that is none": ({"response_schema": '{"type":"text"}'}, "response_schema: not a JSON Schema"),
    "a schema nested without end": ({"response_schema": '{"not":' * 20_000}, "response_schema: not a JSON Schema"),
    "a schema from elsewhere": (
        {"response_schema": '{"$ref":"http://127.0.0.1:9/schema.json"}'},
        "response_schema: not a JSON Schema",
    ),
    "a schema from the disk": (
        {"response_schema": '{"$ref":"file:///etc/hostname"}'},
        "response_schema: not a JSON Schema",
    ),
    "too hot": (sampling(temperature=2.1), "sampling.temperature: 2.1 is not from 0 to 2"),
    "too cold": (sampling(temperature=-0.1), "sampling.temperature: -0.1 is not from 0 to 2"),
    "a temperature that is none": (sampling(temperature=float("nan")), "sampling.temperature: nan"),
    "a top_p of nothing": (sampling(top_p=0.0), "sampling.top_p: 0 is not above 0 and up to 1"),
    "a top_p above all": (sampling(top_p=1.5), "sampling.top_p: 1.5 is not above 0 and up to 1"),
    "no tokens": (sampling(max_tokens=0), "sampling.max_tokens: 0 is not at least 1"),
    "too many stops": (sampling(stop=["."] * 5), "sampling.stop: 5 are above the limit of 4"),
    "an empty stop": (sampling(stop=[".", ""]), "sampling.stop[1]: is empty"),
    "a long stop": (sampling(stop=["x" * 257]), "sampling.stop[0]: 257 bytes are above the limit of 256"),
    "too much metadata": (
        {"metadata": {str(n): "" for n in range(33)}},
        "metadata: 33 are above the limit of 32",
    ),
    "a metadata key of nothing": ({"metadata": {"": "x"}}, "metadata: a key is empty"),
    "a long metadata key": ({"metadata": {"k" * 65: ""}}, "metadata key: 65 bytes are above the limit of 64"),
    "a metadata key of two lines": ({"metadata": {"a\nb": ""}}, "metadata key: 'a\\nb' has a control character"),
    "a long metadata value": ({"metadata": {"k": "v" * 1025}}, "metadata['k']: 1025 bytes are above the limit"),
    "an id that is none": ({"request_id": "42"}, "request_id: '42' is not a UUID"),
    "an id in braces": ({"request_id": f"{{{AN_ID}}}"}, "request_id: '{0190"),
    "a long group": ({"group_key": "g" * 257}, "group_key: 257 bytes are above the limit of 256"),
    "a group with a control character": ({"group_key": "a\x00b"}, "group_key: 'a\\x00b' has a control character"),
}

BAD_FEEDBACK: dict[str, tuple[dict[str, Any], str]] = {
    "no task": ({"task": ""}, "task: is missing"),
    "no exchange": ({"exchange_id": ""}, "exchange_id: is missing"),
    "an exchange that is none": ({"exchange_id": "42"}, "exchange_id: '42' is not a UUID"),
    "an id that is none": ({"id": "42"}, "id: '42' is not a UUID"),
    "a long group": ({"group_key": "g" * 257}, "group_key: 257 bytes"),
    "a rating above all": ({"rating": 1.1}, "rating: 1.1 is not from -1 to 1"),
    "a rating that is none": ({"rating": float("nan")}, "rating: nan is not from -1 to 1"),
    "an endless metric": ({"metrics": {"loss": float("inf")}}, "metrics['loss']: inf is not a finite number"),
    "too many metrics": ({"metrics": {str(n): 0.0 for n in range(33)}}, "metrics: 33 are above the limit of 32"),
    "a metric without a name": ({"metrics": {"": 1.0}}, "metrics: a name is empty"),
    "an empty correction": ({"correction": " "}, "correction: is empty"),
    "a long correction": ({"correction": "x" * 65_537}, "correction: 65537 bytes are above the limit of 65536"),
    "a long comment": ({"comment": "x" * 65_537}, "comment: 65537 bytes are above the limit of 65536"),
}


def bad_request(fields: dict[str, Any]) -> inference.Request:
    return inference.Request(**{"task": "say", "messages": [message()], **fields})


@pytest.mark.parametrize("role", [inference.ROLE_SYSTEM, ASSISTANT])
def test_instructions_and_earlier_answers_may_be_empty(role: int):
    check_request(bad_request({"messages": [message(role, ""), message()]}), {"say": a_task()}, RequestLimits())


@pytest.mark.parametrize(("fields", "told"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_refused_with_what_is_wrong(fields: dict[str, Any], told: str):
    with pytest.raises(BadInput) as refused:
        check_request(bad_request(fields), {"say": a_task()}, RequestLimits())
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(("fields", "told"), BAD_FEEDBACK.values(), ids=BAD_FEEDBACK)
def test_bad_feedback_is_refused_with_what_is_wrong(fields: dict[str, Any], told: str):
    with pytest.raises(BadInput) as refused:
        check_feedback(a_feedback(**fields), {"say": a_task()}, RequestLimits())
    assert str(refused.value).startswith(told)


def test_feedback_that_says_nothing_is_refused():
    silent = events.FeedbackRecord(task="say", exchange_id=AN_ID)
    with pytest.raises(BadInput, match="feedback has at least one"):
        check_feedback(silent, {"say": a_task()}, RequestLimits())


def test_an_unknown_task_is_not_found_and_the_known_ones_are_named():
    with pytest.raises(UnknownTask, match="task: 'sing' is not defined; defined are say, talk"):
        check_request(bad_request({"task": "sing"}), {"talk": a_task(), "say": a_task()}, RequestLimits())


def test_a_request_with_everything_in_order_passes():
    request = a_request(
        messages=[message(inference.ROLE_SYSTEM), message(), call()],
        tools=[tool(parameters='{"type":"object"}'), tool("buy")],
        metadata={"kind": "a\nb"},
        request_id=AN_ID.upper(),
        group_key="customer 7",
        response_schema='{"type":"object"}',
        **sampling(temperature=2.0, top_p=1.0, max_tokens=1_000_000, stop=["\n"], seed=0),
    )
    assert check_request(request, {"say": a_task()}, RequestLimits()).name == "say"


def test_a_tool_may_return_nothing():
    conversation = [message(), call(), message(TOOL, "", tool_call_id="1")]
    check_request(bad_request({"messages": conversation}), {"say": a_task()}, RequestLimits())


@pytest.mark.contract
@pytest.mark.parametrize(("fields", "told"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_every_bad_request_is_an_invalid_argument_and_no_exchange(
    gateway: Gateway, fields: dict[str, Any], told: str
):
    with pytest.raises(grpc.aio.AioRpcError) as whole:
        await gateway.inference.Complete(bad_request(fields))
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        [chunk async for chunk in gateway.inference.CompleteStream(bad_request(fields))]
    for refused in (whole, streamed):
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert str(refused.value.details()).startswith(told)
    assert gateway.spool.exchanges == gateway.teacher.asks == []


@pytest.mark.contract
@pytest.mark.parametrize(("fields", "told"), BAD_FEEDBACK.values(), ids=BAD_FEEDBACK)
async def test_all_bad_feedback_is_an_invalid_argument_and_not_stored(
    gateway: Gateway, fields: dict[str, Any], told: str
):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await gateway.feedback.Record(a_feedback(**fields))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).startswith(told)
    assert gateway.spool.records == []


@pytest.mark.contract
async def test_an_unknown_task_is_not_found_on_every_rpc(gateway: Gateway):
    request = bad_request({"task": "sing"})
    stream = gateway.inference.CompleteStream(request)
    for refused_call in (
        gateway.inference.Complete(request),
        gateway.feedback.Record(a_feedback(task="sing")),
        stream.read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await refused_call
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
