"""An audit of a running system: two looks, and time between them for the sink."""

from collections.abc import Mapping, Set
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from services.audit.arithmetic import Audit, audit, settled
from services.audit.asking import look
from services.clickhouse import ClickHouse

LOOK_EVERY_S: Final = 0.5


def take(clickhouse: ClickHouse, dead: Mapping[str, Set[int]], within_s: float) -> Audit:
    """Look, and again until all that Kafka had at the first look is stored, for at most `within_s`. Raises Overloaded.

    `dead`: the sequences of each source that lie in the dead letters.
    """
    bounds = settled(look(clickhouse))
    patience = Retrying(
        retry=retry_if_result(lambda result: result.total.missing > 0),
        wait=wait_fixed(LOOK_EVERY_S),
        stop=stop_after_delay(within_s),
        retry_error_callback=_the_last,
    )
    return patience(lambda: audit(look(clickhouse), bounds, dead))


def _the_last(attempt: RetryCallState) -> Audit:
    assert attempt.outcome is not None  # noqa: S101 - tenacity's callback comes after an attempt
    result: Audit = attempt.outcome.result()
    return result
