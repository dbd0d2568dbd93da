"""CompleteStream: tokens as they come, and a new start where another backend takes over."""

import grpc
import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from tests.services.gateway.calls import eventually_written
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, until

pytestmark = pytest.mark.contract


async def test_a_cancelled_stream_stops_the_backend_and_is_written_down(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    call = gateway.inference.CompleteStream(a_request())
    await until(lambda: gateway.teacher.asks)
    call.cancel()
    exchange = await eventually_written(gateway)
    assert exchange.outcome == events.OUTCOME_CANCELLED
    assert gateway.teacher.cancelled == 1


async def test_a_stream_passes_tokens_on_and_ends_with_the_reply(gateway: Gateway) -> None:
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the", " teacher", " says", " so", ""]
    assert not any(chunk.HasField("reply") for chunk in chunks[:-1])
    assert chunks[-1].reply == gateway.exchange.reply
    assert 0 < chunks[-1].reply.timings.first_token_us <= chunks[-1].reply.timings.total_us


async def test_a_stream_of_the_student_passes_tokens_on(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the", " student", " says", " so", ""]


async def test_a_stream_starts_again_with_the_teacher_when_the_student_breaks_in_the_middle(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks(after=2)
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [(chunk.delta, chunk.restart) for chunk in chunks] == [
        ("the", False),
        (" student", False),
        ("", True),
        ("the", False),
        (" teacher", False),
        (" says", False),
        (" so", False),
        ("", False),
    ]
    assert chunks[-1].reply.answered_by == inference.BACKEND_TEACHER


async def test_a_stream_starts_again_when_the_students_answer_is_not_valid(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.text = "nonsense and more"
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.restart for chunk in chunks].count(True) == 1
    assert chunks[-1].reply.message.content == "the teacher says so"


async def test_a_cascades_stream_shows_only_what_is_kept(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_CASCADE, min_confidence=-0.5)
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the student says so", ""]
    gateway.student.confidence = -0.7
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request())]
    assert [chunk.delta for chunk in chunks] == ["the", " teacher", " says", " so", ""]
    assert not any(chunk.restart for chunk in chunks)


async def test_a_stream_that_fails_ends_with_the_status_of_a_call(gateway: Gateway) -> None:
    gateway.teacher.breaks(after=1)
    call = gateway.inference.CompleteStream(a_request())
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        [chunk async for chunk in call]
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert gateway.exchange.outcome == events.OUTCOME_FAILED


async def test_of_a_burst_only_the_first_chunks_are_sent_one_by_one(gateway: Gateway) -> None:
    gateway.teacher.text = " ".join(f"word{n}" for n in range(200))
    chunks = [chunk async for chunk in gateway.inference.CompleteStream(a_request(), timeout=10)]
    assert "".join(chunk.delta for chunk in chunks) == gateway.teacher.text
    assert len(chunks) < 20
