"""The trained parameters of a module, by name, and the state of their training."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

State = dict[str, Any]
"""``steps`` (optimiser steps done), ``parameters``, ``exp_avg`` and ``exp_avg_sq``: name -> fp32 tensor on the CPU."""

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's running means of gradients and of their squares."""


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of ``module`` that require gradients, in its own order."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def require_same(shapes: Mapping[str, tuple[int, ...]], state: State) -> None:
    """Refuse a ``state`` of other parameters than those of ``shapes``.

    Raises:
        ValueError: naming the first parameters that one of them lacks.
    """
    missing = sorted(set(shapes) ^ set(state["parameters"]))
    if missing:
        raise ValueError(
            f"a state must hold the trained parameters of the module, but {', '.join(missing[:3])} "
            f"{'is' if len(missing) == 1 else 'are'} in only one of the two; start a new trial"
        )
    for name, ours in shapes.items():
        its = tuple(state["parameters"][name].shape)
        if ours != its:
            raise ValueError(f"{name} must have the shape {ours}, but got {its}; start a new trial")


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """Their gradients, zero where the step did not reach a parameter: all take every step, on all ranks alike."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    return gradients


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of ``tensor`` in fp32 on the CPU, as states keep it."""
    return tensor.detach().to("cpu", torch.float32, copy=True)


def adamw_moments(optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Any]:
    """AdamW's moments by name, as states keep them; those of parameters that it has not stepped yet are left out."""
    kept = optimiser.state
    return {
        moment: {name: plain(kept[parameter][moment]) for name, parameter in parameters.items() if parameter in kept}
        for moment in MOMENTS
    }


def set_adamw_moments(optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], state: State) -> None:
    """Give AdamW the moments of ``state`` and the number of steps it has taken."""
    optimiser.state.clear()
    for name, parameter in parameters.items():
        if name in state["exp_avg"]:
            optimiser.state[parameter] = {
                "step": torch.tensor(float(state["steps"]), device=parameter.device),
                **{moment: state[moment][name].to(parameter, copy=True) for moment in MOMENTS},
            }
