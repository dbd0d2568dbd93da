"""Metrics beside the error: what each counts, and how sure it is."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from services.validators import JsonSchema, Length, Regex
from training import answer_parts, labels, metrics, scoring
from training.contract import AnswerKind, Metric


def measured(
    kind: AnswerKind, truths: Sequence[str], student: Sequence[str], validators: Sequence[Any] = ()
) -> dict[str, Metric]:
    """The teacher is always right."""
    golden = [{"question": "q", "truth": truth} for truth in truths]
    says = {"teacher": truths, "student": student, "cascade": student}
    return {metric.name: metric for metric in metrics.measured(kind, validators, golden, says)}


def test_json_is_measured_exactly_normalised_by_fields_and_by_words() -> None:
    truth = json.dumps({"city": "New York", "zip": "10001"})
    nearly = json.dumps({"city": "new york,", "zip": "10001"})
    half = json.dumps({"city": "New Jersey", "zip": "10001"})
    found = measured("json", [truth] * 4, [truth, nearly, half, "oh"])
    assert found["exact"].student.value == 0.25
    assert found["normalised"].student.value == 0.5
    assert found["fields"].student.value == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert found["words in fields"].student.value == pytest.approx((1 + 1 + 0.75 + 0) / 4)
    assert found["json"].student.value == 0.75
    assert found["exact"].teacher.value == 1


def test_fields_lie_deep_and_lists_have_no_order() -> None:
    truth = json.dumps({"items": [{"name": "a"}, {"name": "b"}], "total": 2})
    mixed = json.dumps({"total": 2, "items": [{"name": "b"}, {"name": "a"}]})
    less = json.dumps({"items": [{"name": "a"}], "total": "2"})
    assert answer_parts.fields_f1(truth, mixed) == 1
    assert answer_parts.fields_f1(truth, less) == pytest.approx(2 * 1 / 5)  # 2 and "2" are not the same
    assert answer_parts.plain("json", truth) != answer_parts.plain("json", less)


@pytest.mark.parametrize("answer", ["{}", "null", "", "[1", "3", '"x"', '{"a":{}}'])
def test_every_answer_can_be_measured(answer: str) -> None:
    for other in ("{}", '{"a":"1"}', answer):
        for credit in (answer_parts.fields_f1, answer_parts.words_f1, answer_parts.text_f1):
            assert 0 <= credit(other, answer) <= 1
    assert answer_parts.text_f1(answer, answer) == 1


def test_rules_are_the_tasks_validators_each_for_itself() -> None:
    schema = JsonSchema.model_validate({"kind": "json_schema", "schema": {"required": ["a"]}})
    found = measured("json", ['{"a":1}'] * 2, ['{"a":2}', "{}"], [schema])
    assert found["rule json_schema"].student.value == 0.5
    assert "json" not in found  # the schema says more
    short, digits = Length(kind="length", most_words=2), Regex(kind="regex", pattern=r"\d+")
    text = measured("text", ["1"] * 2, ["1", "one two three"], [short, digits, digits])
    assert [text[name].student.value for name in ("rule length", "rule regex", "rule regex 2")] == [0.5, 0.5, 0.5]


def test_texts_get_credit_for_their_words() -> None:
    found = measured("text", ["the red house", "yes"], ["The house, red!", "no"])
    assert found["exact"].student.value == 0
    assert found["words"].student.value == 0.5


def test_the_macro_f1_is_scikit_learns_and_rare_labels_count_as_much() -> None:
    truths, said = ["a"] * 90 + ["b"] * 10, ["a"] * 100
    found = measured("label", truths, said)
    assert found["accuracy"].student.value == 0.9
    assert found["macro-F1"].student.value == pytest.approx(f1_score(truths, said, average="macro", zero_division=0))
    assert found["macro-F1"].student.high < found["accuracy"].student.low
    assert found["macro-F1"].student_minus_teacher.high < 0


labelled = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=2, max_size=30)


@settings(max_examples=15, deadline=None)
@given(labelled)
def test_labels_have_their_figures_within_their_bounds(pairs: list[tuple[str, str]]) -> None:
    truths, said = zip(*pairs, strict=True)
    found = labels.macro_f1(truths, said)
    assert 0 <= found.low <= found.value <= found.high <= 1
    wanted = f1_score(truths, said, labels=sorted(set(truths)), average="macro", zero_division=0)
    assert found.value == pytest.approx(wanted)
    assert sum(cell.n for cell in labels.confusion(truths, said)) == len(pairs)
    for score in labels.each(truths, said).values():
        assert 0 <= score.f1_low <= score.f1 <= score.f1_high <= 1


def test_a_perfect_student_of_few_examples_is_not_certain() -> None:
    truths = ["the red house"] * 10
    for metric in measured("text", truths, truths).values():
        assert metric.student.value == 1
        assert metric.student.low < 0.95
        assert metric.student_minus_teacher.low < 0 < metric.student_minus_teacher.high


def test_the_interval_of_a_difference_is_the_bootstraps() -> None:
    ours, theirs = np.arange(300) % 13 == 0, np.arange(300) % 7 == 0
    found = scoring.difference(ours, theirs)
    differences = np.append(ours.astype(float) - theirs, [1.0, -1.0])
    drawn = stats.bootstrap(
        (differences,), np.mean, method="percentile", n_resamples=20_000, batch=500, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.004)


def test_a_higher_level_widens_the_interval_of_a_difference() -> None:
    ours, theirs = np.arange(100) < 3, np.arange(100) > 80
    widths = [scoring.difference(ours, theirs, level) for level in (0.9, 0.95, 0.99, 0.999, 0.9999999)]
    highs = [each.high for each in widths]
    assert highs == sorted(highs)
    assert highs[0] < highs[-1]
