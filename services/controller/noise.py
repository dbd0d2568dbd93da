"""How often the teacher errs on this traffic, as far as people have said: the noise of the labels that it gives.

Two samples. The golden set, where people decided every answer: what it holds is the golden set's mixture of inputs, not
the traffic's. And the answers that callers judged, which are those that they came to look at. Where a bad rating came
without a correction nothing is learnt, so it is not counted here, and the share is too low by those.
"""

from dataclasses import dataclass
from typing import Any

from scipy import stats

from services.tasks import meaning


@dataclass
class Judged:
    """Answers of the teacher that people have judged."""

    answers: int = 0
    wrong: int = 0

    def add(self, teachers: str, right: str) -> None:
        """Count an answer in, beside the right one. JSON is compared by value."""
        self.answers += 1
        self.wrong += meaning(teachers) != meaning(right)

    def told(self) -> dict[str, Any]:
        """For the manifest: the share of wrong ones with its 95 % interval (Wilson); nothing of none."""
        if not self.answers:
            return {"answers": 0}
        bounds = stats.binomtest(self.wrong, self.answers).proportion_ci(method="wilson")
        low, high = round(float(bounds.low), 4), round(float(bounds.high), 4)
        return {"answers": self.answers, "wrong": self.wrong, "error": round(self.wrong / self.answers, 4)} | {
            "low": low,
            "high": high,
        }


def estimate(golden: Judged, feedback: list[Judged]) -> dict[str, Any]:
    """For the manifest."""
    both = Judged(sum(one.answers for one in feedback), sum(one.wrong for one in feedback))
    return {"golden": golden.told(), "feedback": both.told()}
