"""A line of `tail` says what is known, and only that."""

import pytest

from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services.cli import watch


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (inference.Reply(answered_by=inference.BACKEND_TEACHER), " teacher      \N{EN DASH} ms \N{EN DASH}  "),
        (
            inference.Reply(
                answered_by=inference.BACKEND_STUDENT, cost_usd="0.00012", timings=inference.Timings(total_us=412_000)
            ),
            " student    412 ms $0.00012  ",
        ),
    ],
)
def test_a_latency_and_a_price_that_nobody_knows_are_not_shown_as_figures(reply: inference.Reply, said: str) -> None:
    exchange = events.Exchange(request=inference.Request(task="labels"), reply=reply)
    assert said in watch.line(exchange)
