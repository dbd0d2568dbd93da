"""How calls end, and each backend's part of them."""

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.gateway.backends import FailureKind
from tests.services.gateway.calls import eventually_written, status_of
from tests.services.gateway.conftest import Gateway
from tests.services.gateway.examples import a_request, until

pytestmark = pytest.mark.contract
COMPLETE, TRUNCATED, CANCELLED, REPLACED, FAILED = (
    inference.END_COMPLETE,
    inference.END_TRUNCATED,
    inference.END_CANCELLED,
    inference.END_REPLACED,
    inference.END_FAILED,
)


def ends(exchange: events.Exchange) -> tuple[list[inference.End], inference.End]:
    """Of the attempts, and of the whole."""
    assert exchange.reply.end == (exchange.end if exchange.outcome == events.OUTCOME_ANSWERED else 0)
    return [attempt.end for attempt in exchange.attempts], exchange.end


@pytest.mark.parametrize(
    ("finish", "end"),
    [
        (inference.FINISH_STOP, COMPLETE),
        (inference.FINISH_LENGTH, TRUNCATED),
        (inference.FINISH_CONTENT_FILTER, TRUNCATED),
        (inference.FINISH_UNSPECIFIED, TRUNCATED),
    ],
)
async def test_only_an_answer_that_came_to_its_own_end_is_complete(
    gateway: Gateway, finish: inference.Finish, end: inference.End
) -> None:
    gateway.teacher.finish = finish
    assert (await gateway.inference.Complete(a_request())).end == end
    assert ends(gateway.exchange) == ([end], end)


async def test_a_call_of_tools_is_complete(gateway: Gateway) -> None:
    gateway.teacher.calls = (inference.ToolCall(id="1", name="find", arguments="{}"),)
    gateway.teacher.finish = inference.FINISH_TOOL_CALLS
    assert (await gateway.inference.Complete(a_request())).end == COMPLETE


async def test_an_attempt_whose_place_another_backend_took_is_replaced(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.breaks()
    await gateway.inference.Complete(a_request())
    assert ends(gateway.exchange) == ([REPLACED, COMPLETE], COMPLETE)


async def test_an_answer_that_is_not_kept_is_replaced_and_the_last_that_fails_has_failed(gateway: Gateway) -> None:
    gateway.promote(events.POLICY_KIND_STUDENT_ONLY)
    gateway.student.text = "nonsense"
    gateway.teacher.breaks(FailureKind.UNAVAILABLE)
    await status_of(gateway.inference.Complete(a_request()))
    assert ends(gateway.exchange) == ([REPLACED, FAILED], FAILED)


async def test_a_call_whose_caller_went_away_is_cancelled_and_so_is_its_attempt(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    call = gateway.inference.Complete(a_request())
    await until(lambda: gateway.teacher.asks)
    call.cancel()
    assert ends(await eventually_written(gateway)) == ([CANCELLED], CANCELLED)


async def test_a_call_whose_deadline_passed_has_failed(gateway: Gateway) -> None:
    gateway.teacher.delay_s = 60
    await status_of(gateway.inference.Complete(a_request(), timeout=0.1))
    assert ends(await eventually_written(gateway))[1] == FAILED
