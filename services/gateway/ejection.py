"""Which replicas are left out, and for how long: outlier ejection. Pure: what happened and `now_s` in, values out.

A replica is ejected after failures in a row, or if it fails clearly more often than the others do. Never more than half
of them are out. When its time is over one call tries it: if that succeeds it is back, if not it stays out for longer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

IN_A_ROW: Final = 5
"""Failures without a success between them. One that fails every third call has them by chance once in 360 calls."""
LEAST_CALLS: Final = 20.0
"""Calls of late without which a rate says nothing."""
WORSE_BY: Final = 0.3
"""How far above the others' a rate is no chance: some four standard errors, at twenty calls of which few fail."""
HALF_LIFE_S: Final = 10.0
"""After which a call counts half as much in the rate."""
FIRST_S: Final = 1.0
MOST_S: Final = 60.0
FORGOTTEN_S: Final = 300.0
"""After so long without another ejection the next one is as short as the first, and one without a trial untold."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of one replica. Times are of a monotonic clock."""

    in_a_row: int = 0
    calls: float = 0.0  # of late, each weighing less as it ages
    failures: float = 0.0
    counted_at_s: float = 0.0
    until_s: float | None = None  # ejected until then, at least
    times: int = 0  # ejections of late
    back_at_s: float = 0.0
    on_trial: bool = False  # the one call after an ejection is out

    @property
    def ejected(self) -> bool:
        return self.until_s is not None

    def may_be_tried(self, now_s: float) -> bool:
        """Whether its time out is over and nobody tries it yet."""
        return self.until_s is not None and now_s >= self.until_s and not self.on_trial

    def is_left_out(self, now_s: float) -> bool:
        """Whether it is ejected, for those who watch: who has not been tried for long is missed by nobody."""
        return self.until_s is not None and now_s < self.until_s + FORGOTTEN_S

    @property
    def rate(self) -> float:
        """Failures per call of late."""
        return self.failures / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended. `failed` is None where that says nothing of the replica; `trial` if it was the one that tries.

    `draw`, from 0 to 1, spreads the time out, so that gateways do not come back together.
    """

    now_s: float
    failed: bool | None
    trial: bool = False
    draw: float = 1.0


def choices(healths: Mapping[str, Health], now_s: float) -> Sequence[str]:
    """The replicas that the next call may go to: the one that is due for its trial, or all that are not ejected."""
    due = [name for name, health in healths.items() if health.may_be_tried(now_s)]
    return due[:1] or [name for name, health in healths.items() if not health.ejected]


def after(healths: Mapping[str, Health], name: str, call: Ended) -> Health:
    """What is known of the replica `name` after a call to it."""
    health = healths[name]
    if health.ejected:
        return _tried(health, call) if call.trial else health  # An old call says nothing new.
    if call.failed is None:
        return health
    health = _counted(health, call)
    others = [other for key, other in healths.items() if key != name]
    room = sum(other.ejected for other in others) < len(healths) // 2
    return _out(health, call) if call.failed and room and _is_outlier(health, others) else health


def _tried(health: Health, call: Ended) -> Health:
    if call.failed is None:
        return replace(health, on_trial=False)
    return _out(health, call) if call.failed else Health(times=health.times, back_at_s=call.now_s)


def _counted(health: Health, call: Ended) -> Health:
    aged = 0.5 ** ((call.now_s - health.counted_at_s) / HALF_LIFE_S)
    return replace(
        health,
        in_a_row=health.in_a_row + 1 if call.failed else 0,
        calls=health.calls * aged + 1,
        failures=health.failures * aged + bool(call.failed),
        counted_at_s=call.now_s,
    )


def _is_outlier(health: Health, others: Sequence[Health]) -> bool:
    if health.in_a_row >= IN_A_ROW:
        return True
    calls = sum(other.calls for other in others)
    usual = sum(other.failures for other in others) / calls if calls else 0.0
    return health.calls >= LEAST_CALLS and health.rate > usual + WORSE_BY


def _out(health: Health, call: Ended) -> Health:
    times = 0 if not health.ejected and call.now_s - health.back_at_s > FORGOTTEN_S else health.times
    until_s = call.now_s + growing_s(times, FIRST_S, MOST_S, call.draw)
    return replace(health, until_s=until_s, times=times + 1, on_trial=False)


def growing_s(times: int, first_s: float, most_s: float, draw: float) -> float:
    """A time that doubles with each of `times`, up to `most_s`; between half of it and the whole, by `draw`."""
    return float(min(most_s, first_s * 2 ** min(times, 30)) * (1 + draw) / 2)
