import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_model import LONG, SHORT
from training import data, model, packing
from training.config import Config
from training.data import Example

MIXED = [LONG, SHORT, Example([30], [31, 32, 1], 0.5), Example([40, 41, 42], [43, 1], 2.0)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(1, 80))
def test_every_example_stands_in_one_row_and_no_row_overflows(lengths: list[int], width: int) -> None:
    rows = packing.rows(lengths, width)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= width for row in rows if len(row) > 1)


def test_examples_share_a_row_where_they_fit() -> None:
    assert packing.rows([3, 9, 6, 1], width=10) == [[1, 3], [2, 0]]


def test_a_token_sees_its_own_examples_past_alone() -> None:
    seen = packing.apart(torch.tensor([[0, 0, 1, 1, 1]]))[0, 0]
    assert seen.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("width", [10, 14, 100])
def test_packed_and_unpacked_loss_and_gradients_are_the_same(
    tiny_base: object, config: Config, attention: str, width: int
) -> None:
    student = model.student(str(tiny_base), config.model_copy(update={"attention": attention}), bf16=False)
    packed, apart = packing.collate(MIXED, 1, width), data.collate(MIXED, 1)
    assert packed.ids.shape[0] < apart.ids.shape[0]
    losses, gradients = zip(*(learnt(student, batch) for batch in (packed, apart)), strict=True)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()


def learnt(student: model.Student, batch: data.Batch) -> tuple[float, torch.Tensor]:
    student.zero_grad()
    loss = student(batch)
    loss.backward()
    return loss.item(), torch.cat([w.grad.flatten() for w in student.parameters() if w.grad is not None])
