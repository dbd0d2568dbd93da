"""What answers are worth: right or wrong, per field, with intervals; pure.

Intervals are 95 %. A share of wrong answers has Wilson's score interval, which is sound near 0 and for small samples.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.contract import AnswerKind, Difference, FieldScore, KindScore

Flags = NDArray[np.bool_]
QUANTILES = 101  # 0 %, 1 %, ... 100 %
RESAMPLES = 9999


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


def difference(wrong: Flags, reference: Flags) -> Difference:
    """The difference of two error shares over the same examples, `wrong` minus `reference`.

    Percentile bootstrap over the examples' own differences, with two pairs added that differ by one each way
    (Bonett and Price's adjustment), so that a few equal pairs claim no certainty.
    """
    differences = wrong.astype(float) - reference.astype(float)
    point = float(differences.mean()) if len(differences) else 0.0
    result = stats.bootstrap(
        (np.append(differences, [1.0, -1.0]),),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=500,
    )
    low, high = map(float, result.confidence_interval)
    return Difference(difference=point, low=min(low, point), high=max(high, point))


def fields(truths: Sequence[str], answers: Sequence[str]) -> dict[str, FieldScore]:
    """Precision, recall and F1 of each field of JSON objects. A field is right if it is there with the same value."""
    hits, said, meant = Counter[str](), Counter[str](), Counter[str]()
    for truth, answer in zip(map(_object, truths), map(_object, answers), strict=True):
        said.update(answer.keys())
        meant.update(truth.keys())
        hits.update(key for key in truth.keys() & answer.keys() if truth[key] == answer[key])
    return {name: _field(hits[name], said[name], meant[name]) for name in sorted(meant | said)}


def quantiles(latencies_ms: Sequence[float]) -> list[float]:
    """101 quantiles, from 0 % to 100 %."""
    return [float(value) for value in np.percentile(latencies_ms, np.linspace(0, 100, QUANTILES))]


def _field(hits: int, said: int, meant: int) -> FieldScore:
    precision = hits / said if said else 0.0
    recall = hits / meant if meant else 0.0
    return FieldScore(precision=precision, recall=recall, f1=2 * hits / (said + meant))


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
