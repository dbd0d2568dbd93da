"""A token bucket. Pure: the time is handed in.

The libraries for this (`limits`, `pyrate-limiter`) say before a call whether it may be made. What a call takes in
tokens is known only after its answer, so here the bucket may be overdrawn.
"""


class Bucket:
    """So many a minute, of which a minute's worth may be taken at once."""

    __slots__ = ("_at_s", "_level", "_most", "_per_s")

    def __init__(self, per_minute: float, now_s: float) -> None:
        self._most = self._level = float(per_minute)
        self._per_s = per_minute / 60
        self._at_s = now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until so much is in it; 0 where it is. Of an overdrawn one even 0 must be waited for."""
        self._fill(now_s)
        return max(0.0, (amount - self._level) / self._per_s)

    def take(self, amount: float, now_s: float) -> None:
        """Take so much out, be it there or not."""
        self._fill(now_s)
        self._level -= amount

    def _fill(self, now_s: float) -> None:
        if now_s > self._at_s:
            self._level = min(self._most, self._level + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
