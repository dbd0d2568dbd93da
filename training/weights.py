"""What a model has learnt: the weights that are not frozen, by name."""

import torch

Weights = dict[str, torch.Tensor]


def weights(module: torch.nn.Module) -> Weights:
    """The learnt weights; they change as the module goes on learning."""
    return {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}


@torch.no_grad()  # type: ignore[untyped-decorator]
def restore(module: torch.nn.Module, learnt: Weights) -> None:
    """Give the module what was learnt. Raises KeyError on a weight that is missing."""
    for name, weight in module.named_parameters():
        if weight.requires_grad:
            weight.copy_(learnt[name])
