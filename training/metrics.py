"""Other ways of looking at answers than right or wrong, by the kind of answer; pure.

They stand beside the error, and decide nothing. Each gives an example a value from 0 to 1, and the figure is the mean:
a share has Wilson's interval, a mean of broken values a bootstrap's; the macro-F1, which no example has, is taken again
for resampled examples. Differences to the teacher are of the same examples, resampled together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from services.validators import Validator
from training import answer_parts, labels, resampling, scoring
from training.contract import AnswerKind, Difference, Figure, Metric
from training.data import Row

Floats = NDArray[np.float64]
Says = Mapping[str, Sequence[str]]
"""What the teacher, the student and the cascade answered to each example, by their names."""


@dataclass(frozen=True)
class _Measure:
    """What one example is worth, by its row and an answer to it."""

    name: str
    what: str
    value: Callable[[Row, str], float]


def measured(kind: AnswerKind, validators: Sequence[Validator], golden: Sequence[Row], says: Says) -> list[Metric]:
    """The task's metrics, those nearest to the error first."""
    measures = [*_of_kind(kind), *_rules(kind, validators)]
    found = [_mean(measure, golden, says) for measure in measures]
    return [*found, _macro_f1(golden, says)] if kind == "label" else found


def _of_kind(kind: AnswerKind) -> list[_Measure]:
    exact = _Measure(
        "accuracy" if kind == "label" else "exact",
        "answers that are right, as the error counts them",
        lambda row, answer: scoring.right(kind, row["truth"], answer),
    )
    plain = _Measure(
        "normalised",
        "answers that are right but for case, punctuation and white space",
        lambda row, answer: answer_parts.plain(kind, row["truth"]) == answer_parts.plain(kind, answer),
    )
    shares = {
        "json": [
            _Measure("fields", "F1 of an answer's fields, each with its exact value", _given(answer_parts.fields_f1)),
            _Measure("words in fields", "F1 of the words in a field, mean over fields", _given(answer_parts.words_f1)),
        ],
        "text": [_Measure("words", "F1 of an answer's words", _given(answer_parts.text_f1))],
        "label": [],
    }
    return [exact, plain, *shares[kind]]


def _given(credit: Callable[[str, str], float]) -> Callable[[Row, str], float]:
    return lambda row, answer: credit(row["truth"], answer)


def _rules(kind: AnswerKind, validators: Sequence[Validator]) -> list[_Measure]:
    """One for each of the task's validators; JSON at all where no schema says more."""
    rules = []
    for place, validator in enumerate(validators):
        before = sum(other.kind == validator.kind for other in validators[:place])
        name = f"rule {validator.kind}" + (f" {before + 1}" if before else "")
        rules.append(_Measure(name, f"answers that the validator {validator.kind} accepts", partial(_keeps, validator)))
    if kind == "json" and not any(validator.kind == "json_schema" for validator in validators):
        rules.insert(0, _Measure("json", "answers that are JSON", lambda _, answer: answer_parts.is_json(answer)))
    return rules


def _keeps(validator: Validator, row: Row, answer: str) -> float:
    return float(not validator.refusal(row["question"], answer))


def _mean(measure: _Measure, golden: Sequence[Row], says: Says) -> Metric:
    values = {
        name: np.array([float(measure.value(row, answer)) for row, answer in zip(golden, said, strict=True)])
        for name, said in says.items()
    }
    figures = {name: figure(each) for name, each in values.items()}
    return _metric(measure.name, measure.what, figures, lambda name: _less(values[name], values["teacher"]))


def figure(values: Floats) -> Figure:
    """The mean of values from 0 to 1."""
    if np.isin(values, (0.0, 1.0)).all():
        mean, low, high = scoring.error_interval(values.astype(bool))
    else:
        mean, low, high = resampling.mean(values)
    return Figure(value=mean, low=low, high=high, n=len(values))


def _less(values: Floats, reference: Floats) -> Difference:
    if np.isin([values, reference], (0.0, 1.0)).all():
        return scoring.difference(values.astype(bool), reference.astype(bool))
    difference, low, high = resampling.mean(values - reference)
    return Difference(difference=difference, low=low, high=high)


def _macro_f1(golden: Sequence[Row], says: Says) -> Metric:
    truths = [row["truth"] for row in golden]
    figures = {name: labels.macro_f1(truths, said) for name, said in says.items()}
    return _metric(
        "macro-F1",
        "mean over labels of the F1 of each, so that rare ones count as much as common ones",
        figures,
        lambda name: labels.macro_f1_difference(truths, says[name], says["teacher"]),
    )


def _metric(name: str, what: str, figures: Mapping[str, Figure], less: Callable[[str], Difference]) -> Metric:
    return Metric(
        name=name,
        what=what,
        teacher=figures["teacher"],
        student=figures["student"],
        cascade=figures["cascade"],
        student_minus_teacher=less("student"),
        cascade_minus_teacher=less("cascade"),
    )
