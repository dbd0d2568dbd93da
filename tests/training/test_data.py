from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from training import data
from training.data import Example


@given(st.lists(st.integers(1, 300), min_size=1, max_size=400), st.integers(1, 32), st.integers(0, 99))
def test_a_pass_has_every_example_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = data.plan(lengths, batch_size, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)


def test_a_batch_has_examples_of_similar_length() -> None:
    lengths = [1 + index % 100 for index in range(800)]
    spreads = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in data.plan(lengths, 16, 0)]
    assert max(spreads) <= 2


def test_the_seed_decides_the_order() -> None:
    lengths = list(range(1, 200))
    assert data.plan(lengths, 8, 1) == data.plan(lengths, 8, 1) != data.plan(lengths, 8, 2)


def test_half_an_epoch_more_is_half_a_pass_more() -> None:
    assert len(data.schedule([5] * 160, 16, 1.5, 0)) == 15


def test_few_examples_are_passed_over_until_there_are_steps_enough() -> None:
    batches = data.schedule([5] * 20, 8, 1, 0, least=7)
    assert len(batches) == 7
    assert sorted(index for batch in batches[:3] for index in batch) == list(range(20))
    assert len(data.schedule([5] * 160, 16, 1, 0, least=7)) == 10


def test_the_loss_is_taken_at_the_token_before_each_completion_token() -> None:
    batch = data.collate([Example([5, 6], [7, 8], 1.0), Example([5], [9], 2.0)], pad=0)
    assert batch.ids.tolist() == [[5, 6, 7, 8], [5, 9, 0, 0]]
    assert batch.mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.places.tolist() == [1, 2, 4]
    assert batch.labels.tolist() == [7, 8, 9]
    assert batch.weights.tolist() == [1.0, 1.0, 2.0]


def test_prompt_and_completion_are_tokenised_apart_and_the_end_is_taught(tiny_base: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_base / "tokenizer.json"))
    row = {"prompt": "12 Oak", "completion": " St", "weight": 1.0}
    (example,) = data.examples([row], tokenizer, end_token=1, longest=99)
    assert example.prompt == tokenizer.encode("12 Oak", add_special_tokens=False).ids
    assert example.completion == [*tokenizer.encode(" St", add_special_tokens=False).ids, 1]


def test_an_example_that_is_too_long_is_left_out(tiny_base: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_base / "tokenizer.json"))
    rows = [{"prompt": "x" * size, "completion": "y", "weight": 1.0} for size in (3, 30)]
    assert [len(example) for example in data.examples(rows, tokenizer, end_token=1, longest=10)] == [5]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"id": ["1"], "prompt": ["x"]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="completion"):
        data.rows(tmp_path, "train")
