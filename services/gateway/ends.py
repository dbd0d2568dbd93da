"""How calls and each backend's part of them come to their ends; pure."""

from collections.abc import Iterable
from typing import Final

from protos import events_pb2 as events
from protos import inference_pb2 as inference

COMPLETE: Final = frozenset({inference.FINISH_STOP, inference.FINISH_TOOL_CALLS})
OF_OUTCOMES: Final = {
    events.OUTCOME_FAILED: inference.END_FAILED,
    events.OUTCOME_DEADLINE_EXCEEDED: inference.END_FAILED,
    events.OUTCOME_CANCELLED: inference.END_CANCELLED,
}


def of_answer(finish: inference.Finish) -> inference.End:
    """Of an answer that is kept. One that does not say why it ended is not known to be whole."""
    return inference.END_COMPLETE if finish in COMPLETE else inference.END_TRUNCATED


def of_exchange(exchange: events.Exchange) -> inference.End:
    """Of the whole, for its caller."""
    if exchange.outcome == events.OUTCOME_ANSWERED:
        return exchange.reply.end
    return OF_OUTCOMES.get(exchange.outcome, inference.END_UNSPECIFIED)


def replace(attempts: Iterable[events.Attempt]) -> None:
    """Another backend is asked in the place of those that failed."""
    for attempt in attempts:
        if attempt.end == inference.END_FAILED:
            attempt.end = inference.END_REPLACED
