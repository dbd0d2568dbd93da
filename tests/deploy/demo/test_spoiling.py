import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.spoiling import WAYS, Oracle, mistake, read_answers, spoil, tokens

VALUES = st.text(st.sampled_from("aB1 2é"), max_size=12) | st.integers() | st.none()
TRUTHS = st.dictionaries(st.sampled_from(["number", "street", "unit", "city", "state"]), VALUES)
TRUTH = {"number": "1522", "street": "Bever Ave SE", "city": "Cedar Rapids", "state": "IA", "zip": "52403"}


@given(TRUTHS, st.integers(0, 1000))
def test_a_spoilt_answer_always_differs_from_the_truth(truth: dict[str, object], seed: int) -> None:
    assert spoil(truth, random.Random(seed)) != truth


@given(TRUTHS, st.integers(0, 1000))
def test_spoiling_leaves_the_truth_alone_and_repeats_itself(truth: dict[str, object], seed: int) -> None:
    before = dict(truth)
    assert spoil(truth, random.Random(seed)) == spoil(truth, random.Random(seed))
    assert truth == before


@given(st.integers(0, 10_000))
def test_a_spoilt_answer_keeps_the_order_of_its_fields(seed: int) -> None:
    spoilt = spoil(TRUTH, random.Random(seed))
    assert list(spoilt) == [field for field in TRUTH if field in spoilt]


def test_an_address_is_spoilt_in_each_of_the_five_ways() -> None:
    spoilt = [spoil(TRUTH, random.Random(seed)) for seed in range(400)]
    for way in WAYS:
        possible = [way(TRUTH, random.Random(seed)) for seed in range(200)]
        assert any(answer in possible for answer in spoilt), way


@pytest.mark.parametrize("way", WAYS)
def test_a_way_that_does_not_apply_offers_nothing(way: object) -> None:
    assert callable(way)
    assert way({}, random.Random(0)) is None


def test_the_rate_of_mistakes_is_the_stated_one() -> None:
    texts = [f"{n} Main St" for n in range(5000)]
    oracle = Oracle(dict.fromkeys(texts, TRUTH), 0.11, 7)
    wrong = sum(json.loads(oracle.answer(text) or "") != TRUTH for text in texts)
    assert 0.095 < wrong / len(texts) < 0.125  # The seed is fixed, so this is one number: 0.1088.


def test_the_same_text_gets_the_same_answer_and_another_seed_other_mistakes() -> None:
    known = {f"{n} Main St": TRUTH for n in range(100)}
    first, again, other = (Oracle(known, 0.5, seed) for seed in (7, 7, 8))
    assert [first.answer(text) for text in known] == [again.answer(text) for text in known]
    assert [first.answer(text) for text in known] != [other.answer(text) for text in known]


def test_a_text_is_known_whatever_its_spaces() -> None:
    assert Oracle({"1 Main St": TRUTH}, 0.0, 7).answer("  1  Main\nSt ") == json.dumps(TRUTH, separators=(",", ":"))


def test_a_spoilt_label_is_another_known_label() -> None:
    oracle = Oracle({"great": "positive", "awful": "negative"}, 1.0, 7)
    assert (oracle.answer("great"), oracle.answer("awful")) == ("negative", "positive")


def test_a_label_without_an_alternative_is_still_spoilt() -> None:
    assert mistake("spam", ["spam"], random.Random(0)) == "not spam"


def test_an_unknown_text_has_no_answer_but_a_guess() -> None:
    fields, labels = Oracle({"a": TRUTH}, 0.0, 7), Oracle({"a": "no", "b": "no", "c": "yes"}, 0.0, 7)
    assert (fields.answer("x y"), fields.guess("x  y")) == (None, '{"street":"x y"}')
    assert (labels.answer("x y"), labels.guess("x y")) == (None, "no")


def test_answers_are_read_as_fields_as_json_text_and_as_labels() -> None:
    lines = [
        '{"text": "a  b", "answer": {"x": "1"}}',
        '{"text": "c", "answer": "{\\"x\\":2}"}',
        '{"text": "d", "answer": "no"}',
    ]
    assert read_answers(iter(lines)) == {"a b": {"x": "1"}, "c": {"x": 2}, "d": "no"}


@pytest.mark.parametrize(
    "line", ["nonsense", '{"text": "a"}', '{"text": 1, "answer": "b"}', '{"text": "a", "answer": 3}']
)
def test_a_bad_line_is_named_by_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: want"):
        read_answers(iter(['{"text": "a", "answer": "b"}', line]))


@given(st.text())
def test_tokens_lose_nothing_of_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text
