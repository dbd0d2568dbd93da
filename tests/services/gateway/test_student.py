"""The student over one stream per Triton, against a gRPC server that the test scripts."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import pytest
from prometheus_client import REGISTRY

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import Ask, BackendFailed, FailureKind
from services.gateway.ejection import IN_A_ROW
from services.gateway.student import TritonStudent
from services.gateway.student_stream import connect
from services.gateway.student_wire import request
from tests.fakes.triton import FakeTriton, error, inputs, piece, serving
from tests.services.gateway.examples import an_ask, until

pytestmark = pytest.mark.contract
NOBODY = "127.0.0.1:9"


@pytest.fixture
async def triton() -> AsyncIterator[FakeTriton]:
    async with serving() as fake:
        yield fake


@pytest.fixture
async def student(triton: FakeTriton) -> AsyncIterator[TritonStudent]:
    made = TritonStudent([triton.address], max_calls=200)
    yield made
    await made.close()


def asked(text: str = "12 Oak", **fields: object) -> Ask:
    message = inference.Message(role=inference.ROLE_USER, content=text)
    return an_ask(version=4, messages=[message], **fields)


async def begun(
    student: TritonStudent, triton: FakeTriton, asks: Sequence[Ask]
) -> list["asyncio.Task[events.Attempt]"]:
    """Asks that are with Triton."""
    tasks = [asyncio.create_task(student.answer(ask, None)) for ask in asks]
    await triton.until(requests=len(asks))
    return tasks


async def test_an_ask_is_one_message_with_the_model_its_inputs_and_its_time(student: TritonStudent, triton: FakeTriton):
    sampling = inference.Sampling(max_tokens=5, temperature=0.5, top_p=0.75, seed=2**63, stop=["a", "é"])
    attempt = await student.answer(asked(sampling=sampling), None)
    (request,) = triton.requests
    assert (request.model_name, request.model_version) == ("say", "4")
    assert request.parameters["timeout"].int64_param == 30_000_000
    assert request.parameters["triton_enable_empty_final_response"].bool_param
    assert inputs(request) == {
        "text_input": b"12 Oak\n",
        "max_tokens": b"\5\0\0\0",
        "temperature": b"\0\0\0\x3f",
        "stream": b"\0",
        "top_p": b"\0\0\x40\x3f",
        "seed": b"\0\0\0\0\0\0\0\x80",
        "stop": b"a\2\0\0\0\xc3\xa9",
    }
    assert [list(tensor.shape) for tensor in request.inputs if tensor.name in {"stop", "seed"}] == [[1], [2]]
    assert attempt.message.content == "12 Oak"
    assert (attempt.model, attempt.student_version) == ("say/4", 4)
    assert (attempt.finish, attempt.confidence) == (inference.FINISH_STOP, -0.5)
    assert attempt.usage == inference.Usage(prompt_tokens=7, completion_tokens=1)


async def test_many_calls_share_a_stream_and_end_in_any_order(student: TritonStudent, triton: FakeTriton):
    triton.answers = False
    asks = await begun(student, triton, [asked(f"house {i}") for i in range(100)])
    for one in reversed(triton.requests):
        triton.say(piece(one.id, inputs(one)["text_input"].decode().upper(), "stop"))
    answers = await asyncio.gather(*asks)
    assert [answer.message.content for answer in answers] == [f"HOUSE {i}\n" for i in range(100)]
    assert len(triton.streams) == 1
    assert len({one.id for one in triton.requests}) == 100


async def test_pieces_of_several_answers_do_not_mix_and_are_told_as_they_come(
    student: TritonStudent, triton: FakeTriton
):
    triton.answers = False
    heard: tuple[list[str], list[str]] = ([], [])
    asks = [asyncio.create_task(student.answer(asked(), pieces.append)) for pieces in heard]
    one, two = await triton.until(requests=2)
    triton.say(piece(one.id, "a"), piece(two.id, "x"), piece(one.id, "b"), piece(two.id, "", "length", tokens=9))
    assert (await asks[1]).message.content == "x"
    assert not asks[0].done()
    triton.say(piece(one.id, "c", "stop"))
    assert (await asks[0]).message.content == "abc"
    assert heard == (["a", "b", "c"], ["x"])
    assert inputs(one)["stream"] == b"\1"


async def test_a_large_answer_and_a_large_prompt_pass_through_the_windows(student: TritonStudent):
    text = "häuser " * 300_000
    answers = await asyncio.gather(*(student.answer(asked(text), None) for _ in range(3)))
    assert [answer.message.content for answer in answers] == [text.strip()] * 3


async def test_a_stream_that_breaks_fails_all_calls_on_it_and_the_next_ask_opens_another(
    student: TritonStudent, triton: FakeTriton
):
    triton.answers = False
    asks = await begun(student, triton, [asked()] * 3)
    triton.say(piece(triton.requests[0].id, "half an"))
    triton.break_off()
    for failure in await asyncio.gather(*asks, return_exceptions=True):
        assert isinstance(failure, BackendFailed)
        assert failure.kind is FailureKind.UNAVAILABLE
        assert "broke: the stream ended" in str(failure)
    triton.answers = True
    assert (await student.answer(asked(), None)).message.content == "12 Oak"
    assert len(triton.streams) == 2


async def test_a_cancelled_ask_is_stopped_by_its_id_and_the_others_go_on(student: TritonStudent, triton: FakeTriton):
    triton.answers = False
    asks = await begun(student, triton, [asked()] * 3)
    asks[1].cancel()
    await triton.until(cancelled=1)
    assert triton.cancelled == [triton.requests[1].id]
    triton.say(
        error(f"{triton.requests[1].id} cancel", "unexpected inference input 'cancel'"),  # as an older student says
        *(piece(request.id, "done", "stop") for request in triton.requests),
    )
    done = await asyncio.gather(*asks, return_exceptions=True)
    assert isinstance(done.pop(1), asyncio.CancelledError)
    assert [answer.message.content for answer in done if isinstance(answer, events.Attempt)] == ["done", "done"]


async def test_an_ask_that_has_its_answer_is_not_cancelled(student: TritonStudent, triton: FakeTriton):
    await student.answer(asked(), None)
    await student.answer(asked(), None)
    await student.close()
    assert triton.cancelled == []


async def test_what_the_request_is_to_blame_for_is_refused_and_what_a_student_can_not_take_now_is_not(
    student: TritonStudent, triton: FakeTriton
):
    triton.fails = "max_tokens: 900 is above the limit 512"
    with pytest.raises(BackendFailed, match=triton.fails) as failed:
        await student.answer(asked(), None)
    assert failed.value.kind is FailureKind.REFUSED
    for triton.fails in ("overloaded: 9 requests waiting; limit 9", "engine: out of memory"):
        with pytest.raises(BackendFailed, match=triton.fails) as failed:
            await student.answer(asked(), None)
        assert failed.value.kind is FailureKind.UNAVAILABLE


async def test_a_beginning_is_passed_on_and_the_answer_holds_it_but_only_what_is_new_is_told(
    student: TritonStudent, triton: FakeTriton
):
    triton.answers, pieces = False, list[str]()
    ask = asked()._replace(partial="The hou")
    asking = asyncio.create_task(student.answer(ask, pieces.append))
    (request,) = await triton.until(requests=1)
    assert inputs(request)["partial"] == b"The hou"
    triton.say(piece(request.id, "se.", "stop"))
    assert (await asking).message.content == "The house."
    assert pieces == ["se."]
    assert student.resumes


@pytest.mark.parametrize(
    "refusal", ["partial: this student gives whole answers", "unexpected inference input 'partial' for model 'say'"]
)
async def test_a_student_that_can_not_go_on_from_a_beginning_refuses_it(
    student: TritonStudent, triton: FakeTriton, refusal: str
):
    triton.fails = refusal
    with pytest.raises(BackendFailed, match="refused: partial: ") as failed:
        await student.answer(asked()._replace(partial="The hou"), None)
    assert failed.value.kind is FailureKind.REFUSED


async def test_a_triton_that_is_shut_down_still_answers_what_it_has_and_gets_nothing_new(triton: FakeTriton):
    triton.answers, stream = False, await connect(triton.address)
    call = stream.call("one", request(asked(), "one", stream=False, timeout_s=30))
    await triton.until(requests=1)
    stopping = asyncio.create_task(triton.server.stop(grace=60))
    await until(lambda: not stream.takes_calls)
    triton.say(piece("one", "still here", "stop"))
    response = await call.next()
    assert response is not None
    assert b"still here" in response.tensors["text_output"]
    await stopping  # as the stream is let go of once nothing is on it
    await until(lambda: stream.broken)


async def test_a_call_that_was_not_sent_yet_is_taken_back_and_not_cancelled(triton: FakeTriton):
    stream = await connect(triton.address)
    call = stream.call("one", request(asked(), "one", stream=False, timeout_s=30))
    call.leave(b"never sent")
    await stream.close()
    assert (triton.requests, triton.cancelled) == ([], [])


async def test_one_call_too_many_fails_with_the_setting_that_limits_them(triton: FakeTriton):
    triton.answers, student = False, TritonStudent([triton.address], max_calls=2)
    asks = await begun(student, triton, [asked()] * 2)
    with pytest.raises(BackendFailed, match="2 calls in flight; TRITON_MAX_CALLS is 2"):
        await student.answer(asked(), None)
    for ask in asks:
        ask.cancel()
    await asyncio.gather(*asks, return_exceptions=True)
    await student.close()


async def test_a_triton_that_is_away_is_not_tried_again_at_once():
    student = TritonStudent([NOBODY], max_calls=2)
    for reason in ("Connect|refused", "is tried again in 0.. s"):
        with pytest.raises(BackendFailed, match=reason) as failed:
            await student.answer(asked(), None)
        assert failed.value.kind is FailureKind.UNAVAILABLE
    assert failed.value.retry_after_s is not None
    assert 0 < failed.value.retry_after_s <= 0.1
    await student.close()


async def test_what_is_no_students_answer_fails_one_ask_alone(student: TritonStudent, triton: FakeTriton):
    triton.answers = False
    asks = await begun(student, triton, [asked()] * 2)
    strange = piece(triton.requests[0].id, "x", "stop")
    strange.infer_response.raw_output_contents[0] = b"\xff\0\0\0\xff"
    triton.say(strange, piece(triton.requests[1].id, "yes", "stop"))
    with pytest.raises(BackendFailed, match="no student's answer"):
        await asks[0]
    assert (await asks[1]).message.content == "yes"


NOT_A_NUMBER = struct.pack("<2f", -0.5, float("nan"))


@pytest.mark.parametrize(
    ("tensor", "raw"),
    [(0, b"\xff\0\0\0x"), (0, b"\2\0\0\0"), (1, b"\0\0\0"), (1, NOT_A_NUMBER), (3, b"\0"), (4, b"\xff\xff\xff\xff")],
    ids=["longer than it is", "cut", "a part of a float", "no number", "a part of a count", "a negative count"],
)
async def test_a_malformed_value_is_no_students_answer(
    student: TritonStudent, triton: FakeTriton, tensor: int, raw: bytes
):
    triton.answers = False
    (ask,) = await begun(student, triton, [asked()])
    strange = piece(triton.requests[0].id, "x", "stop")
    strange.infer_response.raw_output_contents[tensor] = raw
    triton.say(strange)
    with pytest.raises(BackendFailed, match="no student's answer") as failed:
        await ask
    assert failed.value.kind is FailureKind.UNAVAILABLE


async def test_an_ask_that_fails_before_any_text_is_tried_once_on_another_replica(triton: FakeTriton):
    async with serving() as other:
        triton.fails = other.fails = "engine: out of memory"
        student = TritonStudent([triton.address, other.address], max_calls=9)
        with pytest.raises(BackendFailed, match="out of memory"):
            await student.answer(asked(), None)
        assert len(triton.requests) == len(other.requests) == 1
        other.fails = ""
        for _ in range(8):
            assert (await student.answer(asked(), None)).message.content == "12 Oak"
        await student.close()


async def test_an_ask_that_fails_behind_its_first_text_is_not(triton: FakeTriton):
    async with serving() as other:
        triton.answers = other.answers = False
        student, pieces = TritonStudent([triton.address, other.address], max_calls=9), list[str]()
        asking = asyncio.create_task(student.answer(asked(), pieces.append))
        while not (triton.requests or other.requests):  # noqa: ASYNC110 - it may be either
            await asyncio.sleep(0.001)
        answers, silent = (triton, other) if triton.requests else (other, triton)
        answers.say(piece(answers.requests[0].id, "half an"))
        answers.break_off()
        with pytest.raises(BackendFailed, match="broke"):
            await asking
        assert (pieces, silent.requests) == (["half an"], [])
        await student.close()


async def test_a_replica_that_fails_is_ejected_and_the_other_answers_all(triton: FakeTriton):
    async with serving() as other:
        triton.fails = "engine: out of memory"
        student = TritonStudent([triton.address, other.address], max_calls=9)
        while len(triton.requests) < IN_A_ROW:
            await student.answer(asked(), None)
        assert REGISTRY.get_sample_value("tutelage_triton_ejected", {"replica": triton.address}) == 1
        assert REGISTRY.get_sample_value("tutelage_triton_ejected", {"replica": other.address}) == 0
        assert REGISTRY.get_sample_value("tutelage_triton_calls", {"replica": triton.address}) == 0
        await asyncio.gather(*(student.answer(asked(), None) for _ in range(5)))
        assert len(triton.requests) == IN_A_ROW
        await student.close()


@pytest.mark.parametrize("slow", [True, False])
async def test_a_replica_that_hangs_is_ejected_where_that_is_its_fault(triton: FakeTriton, slow: bool):
    async with serving() as other:
        triton.answers = False
        student = TritonStudent([triton.address, other.address], max_calls=9)
        for hung in range(1, IN_A_ROW + 1):
            while len(triton.requests) < hung:  # As long as the other one is asked, which answers.
                asking = asyncio.create_task(student.answer(asked()._replace(is_slow=lambda: slow), None))
                await until(lambda: asking.done() or len(triton.requests) == hung)  # noqa: B023
            asking.cancel()
            await asyncio.wait([asking])
        assert REGISTRY.get_sample_value("tutelage_triton_ejected", {"replica": triton.address}) == slow
        await student.close()


async def test_calls_go_to_the_replica_with_the_fewest_in_flight(triton: FakeTriton):
    async with serving() as other:
        triton.answers = other.answers = False
        student = TritonStudent([triton.address, other.address], max_calls=9)
        asks = [asyncio.create_task(student.answer(asked(), None)) for _ in range(8)]
        await asyncio.gather(triton.until(requests=4), other.until(requests=4))
        for ask in asks:
            ask.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*asks)
        await student.close()
