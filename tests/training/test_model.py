from pathlib import Path

import pytest
import torch
from torch.nn import functional

from training import base, data, model, sharding
from training.adapter import Adapted
from training.config import Config, Lora
from training.data import Example

LONG = Example([5, 6, 7, 8, 9], [10, 11, 12, 1], 1.0)
SHORT = Example([20, 21], [22, 1], 1.0)


def loss(student: model.Student, *examples: Example) -> float:
    with torch.no_grad():
        return float(student(data.collate(examples, pad=1)))


@pytest.fixture
def student(tiny_base: Path, config: Config) -> model.Student:
    return model.student(tiny_base, config, bf16=False)


def test_the_loss_is_the_cross_entropy_of_the_completion_alone(student: model.Student, tiny_base: Path) -> None:
    with torch.no_grad():
        logits = base.model(tiny_base)(torch.tensor([LONG.prompt + LONG.completion])).logits[0]
    whole = functional.cross_entropy(logits[:-1], torch.tensor((LONG.prompt + LONG.completion)[1:]), reduction="none")
    assert loss(student, LONG) == pytest.approx(float(whole[-len(LONG.completion) :].sum()), rel=1e-5)


def test_padding_and_neighbours_change_nothing(student: model.Student) -> None:
    assert loss(student, LONG, SHORT) == pytest.approx(loss(student, LONG) + loss(student, SHORT), rel=1e-5)


def test_an_example_of_no_weight_adds_no_loss(student: model.Student) -> None:
    silent = Example(SHORT.prompt, SHORT.completion, 0.0)
    assert loss(student, LONG, silent) == pytest.approx(loss(student, LONG), rel=1e-6)


def test_only_the_adapters_of_the_upper_blocks_learn(tiny_base: Path, config: Config) -> None:
    upper = config.model_copy(update={"lora": Lora(first_block=1)})
    student = model.student(tiny_base, upper, bf16=False)
    learnt = [name for name, weight in student.named_parameters() if weight.requires_grad]
    assert learnt
    assert all("layers.1." in name and "lora_" in name for name in learnt)


def test_frozen_weights_are_kept_in_bf16_and_adapters_in_fp32(tiny_base: Path, config: Config) -> None:
    student = model.student(tiny_base, config, bf16=True)
    formats = {(weight.requires_grad, weight.dtype) for weight in student.parameters()}
    assert formats == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize(
    "changed", [{"lora": Lora(dora=True)}, {"lora": Lora(rslora=True)}, {"tuning": "full"}], ids=str
)
def test_the_merged_model_answers_as_the_one_that_learnt(
    tiny_base: Path, config: Config, changed: dict[str, object]
) -> None:
    config = config.model_copy(update=changed)
    student = model.student(tiny_base, config, bf16=False)
    with torch.no_grad():
        for weight in student.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.05)
    merged = model.merged(tiny_base, config, sharding.weights(student), torch.float32)
    assert loss(model.Student(merged, 0.0), LONG) == pytest.approx(loss(student, LONG), rel=1e-4)


@pytest.mark.parametrize("lora", [Lora(), Lora(dropout=0.3), Lora(rslora=True)], ids=str)
def test_an_adapter_learns_as_peft_would_have_it(
    tiny_base: Path, config: Config, lora: Lora, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = model.student(tiny_base, config.model_copy(update={"lora": lora}), bf16=False)
    learnt = [weight for weight in student.parameters() if weight.requires_grad]
    with torch.no_grad():
        for weight in learnt:
            weight.add_(torch.randn_like(weight) * 0.05)
    ours = gradients(student, learnt)
    monkeypatch.delattr(Adapted, "forward")
    torch.testing.assert_close(ours, gradients(student, learnt), rtol=1e-4, atol=1e-5)


def gradients(student: model.Student, learnt: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)  # of the dropout
    return torch.autograd.grad(student.train()(data.collate([LONG, SHORT], pad=1)), learnt)


def test_weights_that_the_student_lacks_are_refused(student: model.Student) -> None:
    with pytest.raises(RuntimeError, match="stranger"):
        sharding.restore(student, {"stranger": torch.zeros(1)})
