"""What is charged where no backend tells what it used."""

import grpc
import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway import estimates
from tests.services.gateway.calls import eventually_written, status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, a_task, an_attempt, until

TEACHER, STUDENT = inference.BACKEND_TEACHER, inference.BACKEND_STUDENT
LONG = "what is it? " * 10


def test_a_token_is_four_bytes_of_what_is_sent_to_the_backend_that_is_asked() -> None:
    task, request = a_task(instructions="i" * 400), a_request("é" * 100, response_schema="s" * 800)
    teachers = estimates.usage(task, request, TEACHER, "", 0)
    students = estimates.usage(task, request, STUDENT, "", 0)
    assert 350 <= teachers.prompt_tokens <= 352  # Of 1,400 bytes and what they are packed in.
    assert students.prompt_tokens == 201 // 4  # The student reads the question alone, and a line feed.


def test_the_most_that_a_teacher_reads_is_a_token_a_byte_and_what_an_api_puts_around_it() -> None:
    task, request = a_task(instructions="i" * 400), a_request("é" * 100, response_schema="s" * 800)
    used = estimates.most(task, request)
    assert 1_400 <= used.prompt_tokens - estimates.TEMPLATE_TOKENS - 2 * estimates.PART_TOKENS <= 1_408
    assert used.completion_tokens == 50 + estimates.SLACK_TOKENS
    request.sampling.max_tokens = 7
    request.tools.add(name="look")
    assert estimates.most(task, request).completion_tokens == 7 + estimates.SLACK_TOKENS
    assert estimates.most(task, request).prompt_tokens > used.prompt_tokens + estimates.TOOLS_TOKENS


@pytest.mark.parametrize(("text", "pieces", "tokens"), [("x" * 40, 3, 10), ("x" * 40, 30, 30), ("", 0, 0)])
def test_of_what_is_written_each_piece_is_a_token_and_each_four_bytes(text: str, pieces: int, tokens: int) -> None:
    assert estimates.usage(a_task(), a_request(), TEACHER, text, pieces).completion_tokens == tokens


def test_tool_calls_are_written_too() -> None:
    attempt = an_attempt("so ")
    attempt.message.tool_calls.add(name="look", arguments="{}")
    assert estimates.written(attempt) == "so look{}"


def test_who_says_that_nothing_was_read_has_not_told() -> None:
    assert not estimates.is_told(inference.Usage())
    assert estimates.is_told(inference.Usage(prompt_tokens=1))


def the_estimate(exchange: events.Exchange) -> tuple[int, int]:
    """What was read and written of the only attempt, which has its price."""
    (attempt,) = exchange.attempts
    read, written = attempt.usage.prompt_tokens, attempt.usage.completion_tokens
    assert float(attempt.cost_usd) == pytest.approx((30 * read + 60 * written) / 1e6)
    return read, written


async def the_estimate_of_a_broken_stream(gateway: Gateway) -> tuple[int, int]:
    call = gateway.inference.CompleteStream(a_request(LONG))
    with pytest.raises(grpc.aio.AioRpcError):
        [chunk async for chunk in call]
    return the_estimate(gateway.exchange)


LONG_READ = (len("Say something.") + len(LONG) + 4) // 4


@pytest.mark.contract
async def test_who_hangs_up_on_a_stream_pays_for_what_he_has_heard(gateway: Gateway) -> None:
    gateway.teacher.text, gateway.teacher.stalls_after = "a b c d", 3
    call = gateway.inference.CompleteStream(a_request(LONG))
    for _ in range(3):
        await call.read()
    call.cancel()
    exchange = await eventually_written(gateway)
    assert exchange.outcome == events.OUTCOME_CANCELLED
    assert the_estimate(exchange) == (LONG_READ, 3)


@pytest.mark.contract
async def test_who_hangs_up_before_the_first_word_pays_for_what_was_read(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    call = gateway.inference.Complete(a_request(LONG))
    await until(lambda: gateway.teacher.asks)
    call.cancel()
    assert the_estimate(await eventually_written(gateway)) == (LONG_READ, 0)


@pytest.mark.contract
async def test_an_answer_that_breaks_off_is_paid_as_far_as_it_was_heard(gateway: Gateway) -> None:
    gateway.teacher.breaks(after=2)
    assert await the_estimate_of_a_broken_stream(gateway) == (LONG_READ, 2)


@pytest.mark.contract
async def test_a_deadline_that_passes_does_not_make_an_answer_free(gateway: Gateway) -> None:
    gateway.task.__dict__["latency_budget_ms"] = 100
    gateway.teacher.stalls_after = 2
    assert await the_estimate_of_a_broken_stream(gateway) == (LONG_READ, 2)


@pytest.mark.contract
async def test_who_fails_without_a_word_costs_nothing(gateway: Gateway) -> None:
    gateway.teacher.breaks()
    await status_of(gateway.inference.Complete(a_request(LONG)))
    assert the_estimate(gateway.exchange) == (0, 0)


@pytest.mark.contract
@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("finish", [inference.FINISH_STOP, inference.FINISH_UNSPECIFIED])
async def test_an_api_that_tells_no_usage_is_not_free(
    gateway: Gateway, streams: bool, finish: inference.Finish
) -> None:
    gateway.teacher.finish = finish
    gateway.teacher.tells_usage = False
    if streams:
        reply = [chunk async for chunk in gateway.inference.CompleteStream(a_request(LONG))][-1].reply
    else:
        reply = await gateway.inference.Complete(a_request(LONG))
    read, written = the_estimate(gateway.exchange)
    assert (read, written) == (LONG_READ, len("the teacher says so") // 4)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (read, written)
    assert reply.cost_usd == gateway.exchange.attempts[0].cost_usd
