"""What an interrupted run needs to go on exactly where it was; written whole or not at all."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from training.patience import Patience

Curve = list[tuple[int, float, float | None, float]]


@dataclass
class State:
    """Where a run stands. `step` is also the position in the data, whose order the config's seed decides."""

    step: int = 0
    steps: int = 0  # of the whole plan, which the clock or a lack of progress may cut short
    elapsed_s: float = 0.0
    tokens: int = 0
    examples: int = 0  # distinct ones learnt from
    left_out: dict[str, int] = field(default_factory=dict)  # rows that can't be learnt from, by reason
    finished: bool = False
    recent: list[float] = field(default_factory=list)  # losses since the last point of the curve
    evaluated: int = 0  # evaluations so far
    curve: Curve = field(default_factory=list)  # step, train loss, eval loss, tokens/s
    patience: Patience = field(default_factory=Patience)


def save(output: Path, state: State, tensors: dict[str, Any]) -> None:
    """Replace the checkpoint. `tensors` holds state dicts: weights; until the end also optimiser, and best, the
    weights of the lowest held-out loss.
    """
    folder = output / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "last.pt.part"
    with part.open("wb") as file:
        torch.save({"state": asdict(state), **tensors}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / "last.pt")


def load(output: Path) -> tuple[State, dict[str, Any]] | None:
    """The last checkpoint's state and tensors, on the CPU; None where there is none."""
    path = output / "checkpoints" / "last.pt"
    if not path.is_file():
        return None
    tensors: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    state = tensors.pop("state")
    return State(**{**state, "patience": Patience(**state["patience"])}), tensors
