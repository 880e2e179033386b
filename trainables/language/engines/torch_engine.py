"""The engine without DeepSpeed: AdamW on every rank, gradients averaged once per step.

The trained part (adapter and head) is small beside the frozen model. Its gradients therefore travel as one flat tensor
at the step, not in buckets during the backward pass.
"""

import functools
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.language.engines.bfloat16 import Bfloat16
from trainables.language.engines.engine_config import EngineConfig
from trainables.language.engines.schedule import learning_rate_at
from trainables.language.engines.trained import (
    State,
    adamw_moments,
    gradients_of,
    plain,
    require_same,
    set_adamw_moments,
    trained,
)
from trainables.trial import Trial


class TorchEngine:
    """See :class:`trainables.language.engines.engine.Engine`."""

    def __init__(
        self, module: nn.Module, settings: EngineConfig, *, learning_rate: float, steps: int, trial: Trial
    ) -> None:
        device = torch.device(trial.device)
        self.micro_batches = (settings.accumulation or 1) * trial.micro_batch_divisor
        self.module = module
        if (settings.precision or ("bf16" if device.type == "cuda" else "fp32")) == "bf16":
            self.module = Bfloat16(module, device.type)
        self._trained = trained(module)
        self._clipping = settings.gradient_clipping or 1.0
        self._steps = 0
        self._rate_at = functools.partial(
            learning_rate_at, peak=learning_rate, steps=steps, warm_up=settings.warm_up, schedule=settings.schedule
        )
        self._world_size = trial.world_size
        self._optimiser = torch.optim.AdamW(
            self._trained.values(), lr=learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        if self._world_size > 1:
            _as_one([parameter.data for parameter in self._trained.values()], lambda flat: dist.broadcast(flat, src=0))

    def backward(self, loss: Tensor, share: float | None = None) -> None:
        """See :meth:`Engine.backward`."""
        (loss * (1 / self.micro_batches if share is None else share)).backward()

    def step(self) -> None:
        """See :meth:`Engine.step`."""
        gradients = gradients_of(self._trained.values())
        if self._world_size > 1:
            _as_one(gradients, lambda flat: dist.all_reduce(flat.div_(self._world_size)))
        torch.nn.utils.clip_grad_norm_(self._trained.values(), self._clipping)
        self._optimiser.param_groups[0]["lr"] = self._rate_at(self._steps)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._steps += 1

    def state(self) -> State:
        """See :meth:`Engine.state`."""
        return {
            "steps": self._steps,
            "parameters": {name: plain(parameter) for name, parameter in self._trained.items()},
            **adamw_moments(self._optimiser, self._trained),
        }

    def restore(self, state: State) -> None:
        """See :meth:`Engine.restore`."""
        require_same({name: tuple(p.shape) for name, p in self._trained.items()}, state)
        self._steps = state["steps"]
        for name, parameter in self._trained.items():
            parameter.data.copy_(state["parameters"][name])
        set_adamw_moments(self._optimiser, self._trained, state)

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        self._optimiser.zero_grad()
        self._optimiser.state.clear()


def _as_one(tensors: list[Tensor], collective: Callable[[Tensor], object]) -> None:
    """Run ``collective`` in place on all ``tensors``, as one flat tensor for each number format."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        group = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        collective(flat)
        for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(part.view_as(tensor))
