"""Counts that forget: two halves take turns, so that what is counted is of the last one to two of them; pure."""


class Lately:
    """Several counts, by their places. `now_s` is of a clock that does not go back."""

    def __init__(self, places: int, half_s: float) -> None:
        self._half_s = half_s
        self._turns_at_s = 0.0
        self.counts, self.earlier = [0] * places, [0] * places

    def add(self, place: int, now_s: float) -> None:
        """One more."""
        if now_s >= self._turns_at_s:
            self.turn(now_s)
        self.counts[place] += 1

    def of(self, place: int) -> int:
        """How many, as of the last `add` or `turn`."""
        return self.counts[place] + self.earlier[place]

    def turn(self, now_s: float) -> None:
        """Forget what is too old."""
        if now_s < self._turns_at_s:
            return
        fresh = now_s < self._turns_at_s + self._half_s  # Else also the later half is too old.
        self.earlier = self.counts if fresh else [0] * len(self.counts)
        self.counts = [0] * len(self.counts)
        self._turns_at_s = now_s + self._half_s

    def clear(self) -> None:
        """Forget all."""
        self.counts, self.earlier = [0] * len(self.counts), [0] * len(self.counts)
