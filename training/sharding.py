"""How the student stands on its workers: alone, a copy on each, or in parts; and its state, whole, in all three.

State dicts hold full tensors on the CPU, so a run may go on with another number of workers than it began with. Only
what learns is kept: the base's weights are where they came from. Source: torch.distributed.checkpoint.state_dict.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import state_dict as states
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from training.config import Config

KEPT = states.StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)


def placed(student: torch.nn.Module, config: Config, device: torch.device) -> torch.nn.Module:
    """The student as its workers hold it on their devices; the same module where there is one worker.

    In parts, each block's weights come together just before it is computed, and leave again behind it. No device ever
    holds it whole, so it is taken there from the CPU block after block, of which each leaves its part.
    """
    if not dist.is_initialized():
        return student.to(device)
    if config.sharding == "none":
        return DistributedDataParallel(student.to(device))
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in getattr(student, "blocks", list)():  # a student without them is one part
        fully_shard(block, mesh=mesh)
    fully_shard(student, mesh=mesh)
    return student


def weights(student: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What has been learnt, by name; empty on all workers but the first. All must call it."""
    kept: dict[str, torch.Tensor] = states.get_model_state_dict(student, options=KEPT)
    return {name: tensor.clone() for name, tensor in kept.items()}  # on the CPU they would change with the student


def restore(student: torch.nn.Module, kept: dict[str, torch.Tensor]) -> None:
    """Put back what had been learnt: the first worker's is given to all, and all must call it.

    Raises RuntimeError on a weight that the student lacks.
    """
    first = not dist.is_initialized() or dist.get_rank() == 0
    given = dict(kept) if first else {}  # torch fills it up; others' names it would not translate to their copies'
    if unknown := states.set_model_state_dict(student, given, options=_given(strict=False)).unexpected_keys:
        raise RuntimeError(f"the checkpoint holds weights that the student lacks: {', '.join(unknown[:3])} ...")


def optimiser(student: torch.nn.Module, steps: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimiser's state, by the weights' names; empty on all workers but the first. All must call it."""
    kept: dict[str, Any] = states.get_optimizer_state_dict(student, steps, options=KEPT)
    return kept


def restore_optimiser(student: torch.nn.Module, steps: torch.optim.Optimizer, kept: dict[str, Any]) -> None:
    """Put the optimiser's state back: the first worker's is given to all, and all must call it."""
    states.set_optimizer_state_dict(student, steps, kept, options=_given(strict=True))


def _given(strict: bool) -> states.StateDictOptions:
    return states.StateDictOptions(full_state_dict=True, strict=strict, broadcast_from_rank0=dist.is_initialized())
