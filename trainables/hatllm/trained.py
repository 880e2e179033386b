"""The trained parameters of a module, by name, and what a state must say of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's running means of gradients and of their squares."""


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of ``module`` that require gradients, in its own order."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def require_same(names: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Refuse a ``state`` of other parameters than ``names``.

    Raises:
        ValueError: naming the first parameters that one of them lacks.
    """
    missing = sorted(set(names) ^ set(state["parameters"]))
    if missing:
        raise ValueError(
            f"a state must hold the trained parameters of the module, but {', '.join(missing[:3])} "
            f"{'is' if len(missing) == 1 else 'are'} in one of them only; start the trial afresh"
        )
    for name, parameter in names.items():
        ours, its = tuple(parameter.shape), tuple(state["parameters"][name].shape)
        if ours != its:
            raise ValueError(f"{name} must have the shape {ours}, but got {its}; start the trial afresh")


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of ``tensor`` in fp32 on the CPU, as states keep it."""
    return tensor.detach().to("cpu", torch.float32, copy=True)
