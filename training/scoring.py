"""What answers are worth: right or wrong, per field, with intervals; pure.

Intervals are 95 %. A share of wrong answers has Wilson's score interval, which is sound near 0 and for small samples.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training import answer_parts, resampling
from training.contract import AnswerKind, Difference, FieldScore, KindScore

Flags = NDArray[np.bool_]
QUANTILES = 101  # 0 %, 1 %, ... 100 %


def right(kind: AnswerKind, truth: str, answer: str) -> bool:
    """JSON by value, whatever the order of keys and the spaces; labels and texts by their text without outer space."""
    if kind != "json":
        return truth.strip() == answer.strip()
    return _canonical(truth) == _canonical(answer)


def error_interval(wrong: Sequence[bool] | Flags) -> tuple[float, float, float]:
    """The share of wrong answers with its bounds: (error, low, high). Nothing known of no answers: (0, 0, 1)."""
    if len(wrong) == 0:
        return 0.0, 0.0, 1.0
    result = stats.binomtest(int(np.sum(wrong)), len(wrong))
    bounds = result.proportion_ci(method="wilson")
    error = float(result.statistic)
    return error, min(error, float(bounds.low)), max(error, float(bounds.high))


def kinds(wrong: Flags, tags: Sequence[str]) -> dict[str, KindScore]:
    """The share of wrong answers within each tag."""
    scores = {}
    for tag in sorted(set(tags)):
        inside = wrong[np.array([other == tag for other in tags])]
        error, low, high = error_interval(inside)
        scores[tag] = KindScore(n=len(inside), error=error, error_low=low, error_high=high)
    return scores


def difference(wrong: Flags, reference: Flags, level: float = 0.95) -> Difference:
    """The difference of two error shares over the same examples, `wrong` minus `reference`.

    The bootstrap's percentiles over the examples' own differences, with two pairs added that differ by one each way
    (Bonett and Price's adjustment), so that a few equal pairs claim no certainty. A difference is -1, 0 or 1, so the
    distribution of a resample's sum is known, and is computed rather than drawn: far tails are as exact as near ones.
    """
    differences = wrong.astype(int) - reference.astype(int)
    point = float(differences.mean()) if len(differences) else 0.0
    low, high = _tails(np.append(differences, [1, -1]), (1 - level) / 2)
    return Difference(difference=point, low=min(low, point), high=max(high, point))


def _tails(differences: NDArray[np.int64], tail: float) -> tuple[float, float]:
    """Where the mean of a resample stays with a probability of `tail` at most on either side beyond."""
    n = len(differences)
    each = np.bincount(differences + 1, minlength=3) / n  # of -1, 0 and 1
    total = np.clip(np.fft.irfft(np.fft.rfft(each, 2 * n + 1) ** n, 2 * n + 1), 0, 1)  # of -n ... n
    below, above = np.cumsum(total) - total, np.cumsum(total[::-1])[::-1] - total
    return float(np.nonzero(below <= tail)[0][-1] - n) / n, float(np.nonzero(above <= tail)[0][0] - n) / n


def fields(truths: Sequence[str], answers: Sequence[str]) -> dict[str, FieldScore]:
    """Each field of JSON objects. A field is right if it is there with the same value; nearly right gives credit."""
    meant, said = [_object(text) for text in truths], [_object(text) for text in answers]
    return {name: _field(name, meant, said) for name in sorted({name for one in [*meant, *said] for name in one})}


def quantiles(latencies_ms: Sequence[float]) -> list[float]:
    """101 quantiles, from 0 % to 100 %."""
    return [float(value) for value in np.percentile(latencies_ms, np.linspace(0, 100, QUANTILES))]


def _field(name: str, meant: Sequence[dict[str, Any]], said: Sequence[dict[str, Any]]) -> FieldScore:
    pairs = list(zip(meant, said, strict=True))
    truth, answer = (np.array([name in one for one in side]) for side in (meant, said))
    hit = np.array([name in one and name in other and one[name] == other[name] for one, other in pairs])
    f1, low, high = resampling.of([truth, answer, hit], _f1, [[True, True], [True, True], [True, False]])
    shares = [_credit(name, one, other) for one, other in pairs if name in one or name in other]
    return FieldScore(
        precision=float(hit.sum() / max(1, answer.sum())),
        recall=float(hit.sum() / max(1, truth.sum())),
        f1=f1,
        f1_low=low,
        f1_high=high,
        credit=float(np.mean(shares)),
    )


def _f1(truth: Flags, answer: Flags, hit: Flags, axis: int) -> Any:
    return 2 * hit.sum(axis=axis) / np.maximum(1, truth.sum(axis=axis) + answer.sum(axis=axis))


def _credit(name: str, meant: dict[str, Any], said: dict[str, Any]) -> float:
    """How many of the field's words are right."""
    return answer_parts.words_f1(*(json.dumps({name: one[name]} if name in one else {}) for one in (meant, said)))


def _canonical(text: str) -> str:
    """JSON text with one spelling; what is not JSON stands for itself and equals no JSON."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return f"not JSON: {text.strip()}"


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
