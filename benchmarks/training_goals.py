"""What `benchmarks.training` wants of its contestants' figures; pure."""

import subprocess
from typing import Any, Final

from benchmarks.result import Goal, at_least, at_most

FLOPS_A_TOKEN: Final = 4 * 8.03e9  # of the large model: forwards and back, without the frozen weights' gradients


def goals(found: dict[str, dict[str, Any]], peak: float | None) -> dict[str, Goal]:
    """What was wanted beside what was found; `peak` is the GPU's, if there is one. Who failed meets no goal."""
    speed = {name: figures.get("tokens_per_s") for name, figures in found.items()}
    loss = {name: figures.get("held_out_loss") for name, figures in found.items()}
    best = min((one for name, one in loss.items() if name != "ours" and one is not None), default=None)
    wanted = {"held-out loss, ours over the best of the others": at_most(1.02, over(loss["ours"], best, digits=3))}
    if peak is None:
        return {**wanted, "times the plain loop": at_least(2, over(speed["ours"], speed["peft"]))}
    times = {"times TRL": "trl", "times TRL with liger": "trl_liger"}
    wanted |= {goal: at_least(1.3, over(speed["ours"], speed[name])) for goal, name in times.items()}
    return {**wanted, "MFU": at_least(0.45, over(speed["ours"], peak / FLOPS_A_TOKEN, digits=3))}


def over(above: float | None, below: float | None, digits: int = 2) -> float | None:
    """The quotient; None where one of both is not known, as its contestant failed."""
    return None if above is None or below is None else round(above / below, digits)


def failure(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a contestant that failed leaves in the result: the others' figures are worth having without its."""
    lines = done.stderr.strip().splitlines() or [f"no word; exit status {done.returncode}"]
    return {"failed": lines[-1]}
