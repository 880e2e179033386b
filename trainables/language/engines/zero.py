"""The engine with DeepSpeed: ZeRO over the ranks of the trial, from a standard DeepSpeed JSON.

DeepSpeed works in the trial's own process. AdamW is torch's, on a GPU and on offloaded state alike, so that nothing is
compiled. bf16 is autocast at every stage, as without DeepSpeed: its own bf16 would cast the parameters and leave the
buffers, which then do not multiply. Its own checkpoints hold pickled objects. Ours hold tensors by name, gathered over
the ranks here.
"""

import functools
import os
import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.language.engines.bfloat16 import Bfloat16
from trainables.language.engines.deepspeed_json import Merged, merged
from trainables.language.engines.engine_config import EngineConfig
from trainables.language.engines.restore import ModuleSnapshot
from trainables.language.engines.schedule import learning_rate_at
from trainables.language.engines.trained import (
    MOMENTS,
    State,
    adamw_moments,
    gradients_of,
    plain,
    require_same,
    set_adamw_moments,
    trained,
)
from trainables.runtime import process_group
from trainables.trial import Trial


class ZeroEngine:
    """See :class:`trainables.language.engines.engine.Engine`."""

    def __init__(
        self,
        module: nn.Module,
        settings: EngineConfig,
        *,
        learning_rate: float,
        steps: int,
        trial: Trial,
        batch_size: int | None = None,
    ) -> None:
        merged_json = merged(
            settings,
            learning_rate=learning_rate,
            batch_size=batch_size,
            ranks=trial.world_size,
            divisor=trial.micro_batch_divisor,
            bf16=trial.device.startswith("cuda"),
        )
        self.micro_batches = merged_json.accumulation
        self._stage = merged_json.config["zero_optimization"]["stage"]
        self._trained = trained(module)
        self._steps = 0
        self._backwards = 0
        self._rate_at = functools.partial(
            learning_rate_at, peak=learning_rate, steps=steps, warm_up=settings.warm_up, schedule=settings.schedule
        )
        process_group.join_alone(trial.device)
        self._snapshot = ModuleSnapshot(module)
        self._optimiser = torch.optim.AdamW(
            self._trained.values(),
            lr=learning_rate,
            weight_decay=settings.weight_decay,
            betas=merged_json.betas,
            eps=merged_json.eps,
            fused=True,
        )
        try:
            self.module = _initialise(module, self._optimiser, merged_json, trial.device)
        except BaseException:
            self._snapshot.restore()
            raise

    def backward(self, loss: Tensor, share: float | None = None) -> None:
        """See :meth:`Engine.backward`."""
        self._backwards += 1
        assert self._backwards <= self.micro_batches, f"a step has {self.micro_batches} micro-batches, but got more"
        self.module.backward(loss * (1 / self.micro_batches if share is None else share), scale_wrt_gas=False)
        if self._backwards < self.micro_batches:
            self.module.step()  # counts the micro-batch, and no more

    def step(self) -> None:
        """See :meth:`Engine.step`."""
        assert self._backwards == self.micro_batches, f"a step has {self.micro_batches} micro-batches, but got fewer"
        if self._stage == 0:
            gradients_of(self._trained.values())
        for group in self.module.optimizer.param_groups:
            group["lr"] = self._rate_at(self._steps)
        self.module.step()
        self._backwards = 0
        self._steps += 1

    def state(self) -> State:
        """See :meth:`Engine.state`."""
        if self._stage == 0:
            whole = {name: plain(parameter) for name, parameter in self._trained.items()}
            return {"steps": self._steps, "parameters": whole, **adamw_moments(self._optimiser, self._trained)}
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        moments: dict[str, dict[str, Tensor]] = {moment: {} for moment in MOMENTS}
        if self._steps:
            for moment in MOMENTS:
                for name, parameter in self._trained.items():
                    moments[moment][name] = plain(safe_get_full_optimizer_state(parameter, moment))
        whole = {name: plain(safe_get_full_fp32_param(parameter)) for name, parameter in self._trained.items()}
        return {"steps": self._steps, "parameters": whole, **moments}

    def restore(self, state: State) -> None:
        """See :meth:`Engine.restore`."""
        require_same({name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in self._trained.items()}, state)
        self._steps = state["steps"]
        if self._stage == 0:
            for name, parameter in self._trained.items():
                parameter.data.copy_(state["parameters"][name])
            set_adamw_moments(self._optimiser, self._trained, state)
            return
        if state["exp_avg"]:
            self._prime(state["steps"])
        else:
            self._optimiser.state.clear()
        for name, parameter in self._trained.items():
            device = torch.device(getattr(self.module, "device", "cpu"))
            values = {moment: state[moment][name].to(device) for moment in MOMENTS if name in state[moment]}
            set_ = _set_partitioned if self._stage == 3 else _set_fragment
            set_(parameter, state["parameters"][name].to(device), values)

    def close(self) -> None:
        """See :meth:`Engine.close`."""
        if self._stage == 3:
            self.module.empty_partition_cache()  # a forward pass that failed holds parameters, which could not go back
        self.module.destroy()
        self.module.optimizer = self.module.basic_optimizer = (
            None  # else its __del__ takes the next engine's parameters
        )
        self._optimiser.state.clear()
        self._snapshot.restore()

    def _prime(self, steps: int) -> None:
        """Give AdamW its (empty) moments of every flat group, which it else makes in its first step."""
        zero: Any = self.module.optimizer
        flats = zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups
        for flat in flats:
            self._optimiser.state[flat] = {
                "step": torch.tensor(float(steps), device=flat.device),
                **{moment: torch.zeros_like(flat.data) for moment in MOMENTS},
            }
        if self._stage < 3:
            zero._lazy_init_hp_params_optimizer_state()


def _initialise(module: nn.Module, optimiser: torch.optim.Optimizer, merged_json: Merged, device: str) -> Any:
    """DeepSpeed's engine over ``module``."""
    deepspeed = _import_deepspeed(device)
    if merged_json.config["bf16"]["enabled"]:
        module = Bfloat16(module, torch.device(device).type)
    config = {**merged_json.config, "bf16": {"enabled": False}}
    try:
        return deepspeed.initialize(model=module, optimizer=optimiser, config=config)[0]
    except (ValueError, AssertionError, deepspeed.runtime.config.DeepSpeedConfigError) as error:
        raise ValueError(f"engine.file: must be a JSON that DeepSpeed takes, but DeepSpeed says: {error}") from error


def _import_deepspeed(device: str) -> Any:
    """DeepSpeed for ``device``, quiet, and without the op that it would else compile for collectives on a CPU."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if device.startswith("cuda") else "cpu")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    import deepspeed
    import deepspeed.ops

    if os.environ["DS_ACCELERATOR"] == "cpu":
        vars(deepspeed.ops).setdefault("__compatible_ops__", {})
    return deepspeed


def _set_fragment(parameter: nn.Parameter, value: Tensor, moments: dict[str, Tensor]) -> None:
    """Write a parameter of ZeRO 1 or 2: what the forward pass reads, and this rank's part of the fp32 copy."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    parameter.data.copy_(value)
    safe_set_full_fp32_param(parameter, value)
    for moment, tensor in moments.items():
        safe_set_full_optimizer_state(parameter, tensor, moment)


def _set_partitioned(parameter: Any, value: Tensor, moments: dict[str, Tensor]) -> None:
    """Write this rank's part of a parameter of ZeRO 3; the last rank's part is filled up with zeros."""
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    size = parameter.ds_tensor.numel()
    begin = dist.get_rank() * size

    def part(whole: Tensor) -> Tensor:
        mine = whole.flatten()[begin : begin + size]
        return nn.functional.pad(mine, (0, size - mine.numel()))

    parameter.ds_tensor.data.copy_(part(value).view_as(parameter.ds_tensor))
    if parameter.data.numel():  # small ones stay whole on every rank
        parameter.data.copy_(value)
    safe_set_local_fp32_param(parameter, part(value))
    for moment, tensor in moments.items():
        safe_set_local_optimizer_state(parameter, part(tensor), moment)
