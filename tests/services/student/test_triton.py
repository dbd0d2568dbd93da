"""The wire contract, over a real Triton: what a client sends and gets."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import tritonclient.grpc.aio as triton_grpc
from tenacity import AsyncRetrying, stop_after_delay, wait_fixed
from tritonclient.utils import InferenceServerException

from tests.fixtures.students import install
from tests.services.student.conftest import Server

pytestmark = pytest.mark.contract

TYPES = {
    "text_input": ("BYTES", np.object_),
    "stop": ("BYTES", np.object_),
    "max_tokens": ("INT32", np.int32),
    "temperature": ("FP32", np.float32),
    "top_p": ("FP32", np.float32),
    "seed": ("UINT64", np.uint64),
    "stream": ("BOOL", np.bool_),
    "partial": ("BYTES", np.object_),
    "cancel": ("BYTES", np.object_),
}
LONG = 250


@dataclass
class Response:
    text: bytes
    logprobs: list[float]
    finish: bytes
    prompt_tokens: int
    completion_tokens: int


@pytest_asyncio.fixture
async def client(triton_server: Server) -> AsyncIterator[triton_grpc.InferenceServerClient]:
    async with triton_grpc.InferenceServerClient(triton_server.grpc) as client:
        for model in ("tiny", "narrow", "pruned", "tagger"):
            await client.load_model(model)
        yield client


def inputs(values: dict[str, Any]) -> list[triton_grpc.InferInput]:
    made = []
    for name, value in values.items():
        datatype, dtype = TYPES[name]
        array = np.array(value if isinstance(value, list) else [value], dtype=dtype)
        tensor = triton_grpc.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


async def responses(
    client: Any, model: str, text: str, version: str = "1", **values: Any
) -> AsyncGenerator[Response, None]:
    """Raises InferenceServerException on an error response. Leaves the stream only when it is over.

    Triton 24.10 may never let go of a request that is cancelled just when its last response was sent.
    """

    async def one() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": model, "model_version": version, "inputs": inputs({"text_input": text.encode(), **values})}

    stream, last = client.stream_infer(one()), None
    try:
        async for result, error in stream:
            last = last or error
            if result is not None:
                yield _response(result)
    except BaseException:
        stream.cancel()
        raise
    if last:
        raise last


def _response(result: Any) -> Response:
    get = result.as_numpy
    counts = int(get("prompt_tokens")[0]), int(get("completion_tokens")[0])
    return Response(get("text_output")[0], get("logprobs").tolist(), get("finish_reason")[0], *counts)


async def ask(client: Any, text: str, model: str = "tiny", **values: Any) -> list[Response]:
    return [response async for response in responses(client, model, text, **values)]


async def test_an_answer_comes_whole_in_one_response(client: Any) -> None:
    (answer,) = await ask(client, "hello", max_tokens=12)
    assert (answer.finish, answer.prompt_tokens, answer.completion_tokens) == (b"length", 4, 12)
    assert len(answer.logprobs) == 12
    assert all(logprob <= 0 for logprob in answer.logprobs)
    assert answer.text


async def test_the_pieces_of_a_stream_together_are_the_whole_answer(client: Any) -> None:
    (whole,) = await ask(client, "the street", max_tokens=40)
    pieces = await ask(client, "the street", max_tokens=40, stream=True)
    assert len(pieces) > 5
    assert b"".join(piece.text for piece in pieces) == whole.text
    assert [logprob for piece in pieces for logprob in piece.logprobs] == pytest.approx(whole.logprobs, abs=1e-3)
    assert [piece.finish for piece in pieces] == [b""] * (len(pieces) - 1) + [b"length"]
    assert pieces[-1].completion_tokens == 40
    for piece in pieces:
        piece.text.decode()  # never half a character


async def test_a_stop_text_ends_the_answer_before_it(client: Any) -> None:
    (whole,) = await ask(client, "hello", max_tokens=40)
    stop = whole.text.decode()[6:8]
    (cut,) = await ask(client, "hello", max_tokens=40, stop=[stop.encode()])
    assert cut.finish == b"stop"
    assert cut.text.decode() == whole.text.decode().split(stop)[0]
    assert cut.completion_tokens < whole.completion_tokens


async def test_a_draw_follows_its_seed(client: Any) -> None:
    drawn = [await ask(client, "hello", max_tokens=20, temperature=1.5, seed=seed) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_32_at_once_get_what_each_would_get_alone(client: Any) -> None:
    alone = [await ask(client, f"house {i}", max_tokens=20) for i in range(32)]
    together = await asyncio.gather(*(ask(client, f"house {i}", max_tokens=20) for i in range(32)))
    assert [answer[0].text for answer in together] == [answer[0].text for answer in alone]


@pytest.mark.parametrize(
    ("text", "values", "reason"),
    [
        ("", {}, "text_input: .*at least 1 character"),
        ("x" * 600, {}, "text_input: 600 tokens are above the limit 511"),
        ("x" * 500, {"max_tokens": 50}, "max_tokens: 50 is above the 12 that 500 prompt tokens leave"),
        ("x", {"max_tokens": 0}, "max_tokens: .*greater than or equal to 1"),
        ("x", {"max_tokens": 257}, "max_tokens: 257 is above the limit 256"),
        ("x", {"temperature": float("nan")}, "temperature: .*finite"),
        ("x", {"stop": [b"\xff"]}, "stop.0: .*unicode"),
    ],
)
async def test_bad_input_is_refused_by_name_while_others_are_answered(
    client: Any, text: str, values: dict[str, Any], reason: str
) -> None:
    other = asyncio.create_task(ask(client, "hello", max_tokens=100))
    with pytest.raises(InferenceServerException, match=reason):
        await ask(client, text, **values)
    assert (await other)[0].finish == b"length"


async def test_a_student_that_learned_without_the_instructions_answers_as_if_they_were_not_there(client: Any) -> None:
    (plain,) = await ask(client, "the house\n\nby the river\n", max_tokens=12)
    text = "Take it apart: the house\nNever guess what is not there.\nby the river That is all."
    (pruned,) = await ask(client, text, "pruned", max_tokens=12)
    assert pruned == plain


async def test_a_prompt_that_lacks_what_all_had_when_it_learned_is_refused(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="text_input: lacks what all prompts had in common"):
        await ask(client, "the house\n\nby the river\n", "pruned")


async def test_one_request_too_many_is_refused_as_overloaded_and_the_others_are_answered(client: Any) -> None:
    asked = (ask(client, f"house {i}", "narrow", max_tokens=LONG) for i in range(4))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [str(outcome) for outcome in outcomes if isinstance(outcome, InferenceServerException)]
    answers = [outcome[0] for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert {reason.split("] ")[-1] for reason in refused} == {"overloaded: 1 requests waiting; limit 1"}
    assert len(refused) + len(answers) == 4
    assert [answer.finish for answer in answers] == [b"length"] * len(answers) != []


async def test_a_tagger_answers_by_the_same_wire_in_one_response(client: Any) -> None:
    text = "the house by the river"
    (answer,) = await ask(client, text, "tagger")
    assert sorted(" ".join(json.loads(answer.text).values()).split()) == sorted(text.split())
    assert (answer.finish, answer.completion_tokens, len(answer.logprobs)) == (b"stop", 6, 6)
    assert all(logprob <= 0 for logprob in answer.logprobs)
    (streamed,) = await ask(client, text, "tagger", stream=True, temperature=1.0, seed=7)
    assert (streamed.text, streamed.finish) == (answer.text, b"stop")


async def test_32_at_once_get_from_a_tagger_what_each_would_get_alone(client: Any) -> None:
    texts = [f"{i} the street " + "of the city " * (i % 5) for i in range(32)]
    alone = [await ask(client, text, "tagger") for text in texts]
    together = await asyncio.gather(*(ask(client, text, "tagger") for text in texts))
    assert [answer[0].text for answer in together] == [answer[0].text for answer in alone]


async def test_a_tagger_refuses_a_longer_prompt_than_it_can_read_and_cuts_an_answer_at_the_limit(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="text_input: 125 tokens are above the limit 124"):
        await ask(client, "the " * 125, "tagger")
    (cut,) = await ask(client, "the house by the river", "tagger", max_tokens=2)
    assert (cut.finish, cut.completion_tokens) == (b"length", 2)


async def test_callers_who_leave_free_their_places(client: Any, triton_server: Server) -> None:
    before = _metric(triton_server, "answers_total", "tiny", "cancelled")
    for i in range(5):
        async with aclosing(responses(client, "tiny", f"house {i}", max_tokens=256, stream=True)) as left:
            await anext(left)
    async for attempt in AsyncRetrying(stop=stop_after_delay(20), wait=wait_fixed(0.05), reraise=True):
        with attempt:
            assert _metric(triton_server, "answers_total", "tiny", "cancelled") > before
            assert _metric(triton_server, "requests", "tiny", "running") == 0


def request(model: str, request_id: str, values: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {
        "model_name": model,
        "model_version": "1",
        "inputs": inputs(values),
        "request_id": request_id,
        "enable_empty_final_response": True,
        **parameters,
    }


async def shared(client: Any, requests: "asyncio.Queue[dict[str, Any] | None]") -> AsyncIterator[tuple[str, Response]]:
    """What comes on one stream for the requests that are put into the queue, with the id of each; None ends it."""

    async def asked() -> AsyncIterator[dict[str, Any]]:
        while (one := await requests.get()) is not None:
            yield one

    async for result, error in client.stream_infer(asked()):
        assert error is None, error
        yield result.get_response().id, _response(result)


async def test_of_many_requests_on_one_stream_one_is_stopped_by_its_id_and_the_others_are_answered(
    client: Any, triton_server: Server
) -> None:
    before = _metric(triton_server, "answers_total", "tiny", "cancelled")
    alone = {f"house {i}": (await ask(client, f"house {i}", max_tokens=LONG))[0].text for i in range(16)}
    requests, texts, ends = asyncio.Queue[dict[str, Any] | None](), dict.fromkeys(alone, b""), dict[str, bytes]()
    for text in alone:
        values = {"text_input": text.encode(), "max_tokens": LONG, "stream": True}
        requests.put_nowait(request("tiny", text, values))
    stopped = False
    async for request_id, piece in shared(client, requests):
        texts[request_id] += piece.text
        if piece.finish:
            ends[request_id] = piece.finish
        if request_id == "house 7" and not stopped:
            stopped = True
            requests.put_nowait(request("tiny", "stop it", {"text_input": b"", "cancel": b"house 7"}))
            requests.put_nowait(request("tiny", "stop it, too", {"text_input": b"", "cancel": b"who is that?"}))
        if len(ends) == len(alone):
            requests.put_nowait(None)
    assert ends.pop("house 7") == b"cancelled"
    assert alone["house 7"].startswith(cut := texts.pop("house 7"))
    assert len(cut) < len(alone.pop("house 7"))
    assert set(ends.values()) == {b"length"}
    assert texts == alone
    assert _metric(triton_server, "answers_total", "tiny", "cancelled") == before + 1


async def test_a_request_whose_time_is_over_is_stopped(client: Any) -> None:
    requests = asyncio.Queue[dict[str, Any] | None]()
    for text, timeout_us in (("late", 1), ("early", 60_000_000)):
        values = {"text_input": text.encode(), "max_tokens": LONG}
        requests.put_nowait(request("tiny", text, values, timeout=timeout_us))
    requests.put_nowait(None)
    ends = {request_id: piece.finish async for request_id, piece in shared(client, requests)}
    assert ends == {"late": b"cancelled", "early": b"length"}


async def test_an_answer_goes_on_behind_its_beginning_as_if_the_student_had_written_that(client: Any) -> None:
    (answer,) = await ask(client, "the street of the city", max_tokens=30)
    (rest,) = await ask(client, "the street", partial=b" of the city", max_tokens=50)
    begun = 50 - rest.completion_tokens  # what the beginning takes of the answer's tokens
    assert rest.text.startswith(answer.text.rstrip("\N{REPLACEMENT CHARACTER}".encode()))
    assert rest.logprobs[:30] == pytest.approx(answer.logprobs, abs=1e-2)
    assert (rest.finish, rest.prompt_tokens) == (b"length", answer.prompt_tokens)
    assert 0 < begun < len(" of the city")


async def test_a_tagger_refuses_to_go_on_from_a_beginning(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="partial: this student gives whole answers"):
        await ask(client, "the house", "tagger", partial=b'{"st')


def _metric(server: Server, name: str, task: str, label: str) -> int:
    with urllib.request.urlopen(server.metrics_url) as page:  # noqa: S310 - our own
        lines = page.read().decode().splitlines()
    labels = (f'task="{task}"', f'"{label}"')
    (line,) = (x for x in lines if x.startswith(f"tutelage_student_{name}{{") and all(y in x for y in labels))
    return int(float(line.split()[-1]))


async def test_the_next_version_is_loaded_beside_the_one_that_answers(client: Any, triton_server: Server) -> None:
    stream = responses(client, "tiny", "hello", max_tokens=256, stream=True)
    pieces = [await anext(stream)]
    install(triton_server.repository / "tiny" / "1", triton_server.repository, "tiny", 2, versions="1, 2")
    await client.load_model("tiny")
    pieces += [piece async for piece in stream]
    assert pieces[-1].completion_tokens == 256
    for version in ("1", "2"):
        assert await client.is_model_ready("tiny", version)
        assert (await ask(client, "hello", max_tokens=5, version=version))[0].completion_tokens == 5
