"""Learning from preferences: direct preference optimisation on pairs of answers to one prompt, after the imitation.

The loss is that of Rafailov et al. 2023, "Direct Preference Optimization", equation 7: -log sigmoid(beta * (m - r)),
where m is by how many nats the student holds the preferred answer likelier than the other, and r is what m was before
the first step. So the reference is the student as the imitation left it; its part is taken once, and no second model
is held in memory.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from training import base, checkpoint, data, intervals, model, progress, recipe
from training.config import Config
from training.contract import Preferences
from training.data import Batch, Example, Row
from training.lesson import Lesson
from training.model import Student
from training.weights import Weights, restore


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt; `reference` is r, in nats."""

    chosen: Example
    rejected: Example
    reference: float = 0.0
    weight: float = 1.0

    learnt = 1

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)


@dataclass(frozen=True)
class PairBatch:
    """P pairs."""

    both: Batch  # 2P rows: the preferred answers, then the others
    rows: torch.Tensor  # [C] int64: which row each completion token is of
    reference: torch.Tensor  # [P] float32
    weights: torch.Tensor  # [P] float32

    def to(self, device: torch.device) -> "PairBatch":
        """The same batch on another device."""
        tensors = (self.rows, self.reference, self.weights)
        return PairBatch(self.both.to(device), *(tensor.to(device) for tensor in tensors))


class Preferring(torch.nn.Module):  # type: ignore[misc]  # torch is untyped to the checker
    """A student that answers a batch of pairs with its loss."""

    def __init__(self, student: Student, beta: float) -> None:
        super().__init__()
        self.student, self.beta = student, beta

    def blocks(self) -> Sequence[torch.nn.Module]:
        """The model's layers."""
        return self.student.blocks()

    def margins(self, batch: PairBatch) -> torch.Tensor:
        """[P]: log-probability of the preferred answer less that of the other, in nats."""
        nats = -self.student.losses(batch.both)  # [C]
        answers = nats.new_zeros(2 * len(batch.weights)).index_add(0, batch.rows, nats)
        chosen, rejected = answers.chunk(2)
        return chosen - rejected

    def forward(self, batch: PairBatch, judging: bool = False) -> torch.Tensor:
        """The sum over pairs of weight * loss, a scalar in nats; or, `judging`, the margins."""
        if judging:  # by this way in, as weights that workers hold in parts come together here alone
            return self.margins(batch)
        return (losses(self.margins(batch), batch.reference, self.beta) * batch.weights).sum()


def losses(margins: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """[P] from [P] and [P]."""
    return -functional.logsigmoid(beta * (margins - reference))


def collate(pairs: Sequence[Pair], pad: int) -> PairBatch:
    """The preferred answers above the others."""
    examples = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    lengths = torch.tensor([len(example.completion) for example in examples])
    return PairBatch(
        both=data.collate(examples, pad),
        rows=torch.arange(len(examples)).repeat_interleave(lengths),
        reference=torch.tensor([pair.reference for pair in pairs]),
        weights=torch.tensor([pair.weight for pair in pairs]),
    )


def train(config: Config, dataset: Path, output: Path, device: torch.device) -> None:
    """Go on from the finished imitation in `output`; leaves `dpo/checkpoints/last.pt` and `dpo/margins.json`.

    Without as many pairs as the config asks for, nothing is learnt, and `dpo/skipped.txt` says so.
    """
    if config.dpo is None or done(output):
        return
    table = data.preferences(dataset, config.unread)
    if why := lacking(config, table):
        (output / "dpo").mkdir(parents=True, exist_ok=True)
        (output / "dpo" / "skipped.txt").write_text(why)
        return
    progress.write(output, "train", message=f"learning from {len(table)} preferences")
    lesson = _lesson(config, table, output, device)
    run = recipe.train(_settings(config), lesson, output / "dpo", device)
    after = _margins(run.student, lesson.held_out, run.lesson, config.batch_size, device)
    if run.here.rank == 0:
        found = {"pairs": len(lesson.examples), "before": [p.reference for p in lesson.held_out], "after": after}
        (output / "dpo" / "margins.json").write_text(json.dumps(found))


def done(output: Path) -> bool:
    """Whether this stage has ended, having learnt or not."""
    return any((output / "dpo" / name).is_file() for name in ("margins.json", "skipped.txt"))


def learnt(output: Path) -> Weights:
    """The student's weights after this stage; none where nothing was learnt."""
    saved = checkpoint.load(output / "dpo")
    if saved is None:
        return {}
    return {name.removeprefix("student."): weight for name, weight in saved[1]["weights"].items()}


def told(output: Path) -> Preferences | None:
    """What the report says of this stage; None where it was not asked for."""
    if (skipped := output / "dpo" / "skipped.txt").is_file():
        return Preferences(why=skipped.read_text())
    if not (measured := output / "dpo" / "margins.json").is_file():
        return None
    found = json.loads(measured.read_text())
    before, after = np.array(found["before"]), np.array(found["after"])
    if not len(before):
        return Preferences(pairs=found["pairs"], why="learnt, but no pair was held out to judge it by")
    return Preferences(
        pairs=found["pairs"],
        held_out=len(before),
        preferred_before=float(np.mean(before > 0)),
        preferred_after=float(np.mean(after > 0)),
        margin_gain=intervals.mean_interval(after - before),
    )


def lacking(config: Config, table: Sequence[Row]) -> str:
    """Why nothing can be learnt; '' if it can."""
    least = config.dpo.least_pairs if config.dpo else 0
    learnt = sum(row["split"] == "train" for row in table)
    return f"no preferences were learnt: {learnt} pairs to train on, of the {least} wanted" if learnt < least else ""


def _settings(config: Config) -> Config:
    """Those of the imitation, with the stage's own over them."""
    own = config.dpo.model_dump(include={"epochs", "min_steps", "learning_rate", "max_minutes"}) if config.dpo else {}
    return config.model_copy(update={**own, "patience": None, "pack_tokens": None, "label_smoothing": 0.0})


def _lesson(config: Config, table: Sequence[Row], output: Path, device: torch.device) -> Lesson:
    saved = checkpoint.load(output)
    if saved is None or config.dpo is None:
        raise RuntimeError(f"{output} holds no imitation to go on from")
    source, beta = base.fetch(config), config.dpo.beta
    end = base.end_tokens(source)[0]

    def module(bf16: bool) -> Preferring:
        student = model.student(source, _settings(config), bf16)
        restore(student, saved[1]["weights"])
        return Preferring(student, beta)

    def side_by_side(pairs: Sequence[Pair]) -> PairBatch:
        return collate(pairs, end)

    pairs = {split: _pairs([r for r in table if r["split"] == split], config) for split in ("train", "eval")}
    untaught = Lesson(pairs["train"], pairs["eval"], side_by_side, module)
    reference = module(recipe.place(config, device).bf16).to(device).eval()
    learnt, held_out = (
        [replace(pair, reference=nats) for pair, nats in zip(some, found, strict=True)]
        for some in (untaught.examples, untaught.held_out)
        for found in [_margins(reference, some, untaught, config.batch_size, device)]
    )
    return Lesson(learnt, held_out, side_by_side, module)


def _pairs(table: Sequence[Row], config: Config) -> list[Pair]:
    source = base.fetch(config)
    tokenizer, end = base.tokenizer(source), base.end_tokens(source)[0]
    sides = [
        data.encoded([{**row, "completion": row[side], "weight": 1.0} for row in table], tokenizer, end)
        for side in ("chosen", "rejected")
    ]
    pairs = [Pair(chosen, rejected) for chosen, rejected in zip(*sides, strict=True)]
    return [
        pair for pair in pairs if pair.chosen.prompt and max(map(len, (pair.chosen, pair.rejected))) <= config.longest
    ]


@torch.no_grad()  # type: ignore[untyped-decorator]
def _margins(
    student: torch.nn.Module, pairs: Sequence[Pair], lesson: Lesson, batch_size: int, device: torch.device
) -> list[float]:
    """m of each pair in nats, by the student as it is."""
    student.eval()
    batches = [pairs[at : at + batch_size] for at in range(0, len(pairs), batch_size)]
    return [float(m) for some in batches for m in student(lesson.collate(some).to(device), judging=True)]
