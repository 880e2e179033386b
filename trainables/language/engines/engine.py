"""The engine of a trial takes the optimiser steps: one interface, with DeepSpeed behind it or without.

Only parameters that require gradients are trained, kept and restored. A state holds them in fp32 under the module's own
names, with AdamW's two moments. It is the same for both engines and for any number of ranks, so that a trial may resume
under another engine, stage or rank count.
"""

from typing import Protocol

from torch import Tensor, nn

from trainables.language.engines.engine_config import EngineConfig
from trainables.language.engines.trained import State
from trainables.trial import Trial


class Engine(Protocol):
    """Optimiser steps over the trained parameters of a module.

    >>> from pathlib import Path
    >>> from trainables.trial import LocalTrial
    >>> settings, trial = EngineConfig(name="torch", accumulation=2), LocalTrial(Path("trial"))
    >>> engine = make_engine(nn.Linear(2, 1), settings, learning_rate=0.1, steps=1, trial=trial)
    >>> for part_NX in Tensor([[1.0, 2.0], [3.0, 4.0]]).chunk(engine.micro_batches):  # exactly as many, on each rank
    ...     engine.backward(engine.module(part_NX).mean())  # a mean over the micro-batch's rows
    >>> engine.step()
    >>> engine.state()["steps"]
    1
    """

    module: nn.Module
    """The module to call for the forward pass."""
    micro_batches: int
    """Micro-batches of this rank in one optimiser step."""

    def backward(self, loss: Tensor, share: float | None = None) -> None:
        """Add the gradient of one micro-batch.

        Args:
            loss: a mean over the micro-batch's rows.
            share: the micro-batch's rows over this rank's rows of the step; by default ``1 / micro_batches``.
        """

    def step(self) -> None:
        """Average over the ranks, clip, take the optimiser step, move the learning rate on, zero the gradients."""

    def state(self) -> State:
        """Gather the state that ``restore`` takes, whole on every rank. All ranks must call it together."""

    def restore(self, state: State) -> None:
        """Go on from ``state``; all ranks must call it together.

        Raises:
            ValueError: the state's trained parameters are not this module's.
        """

    def close(self) -> None:
        """Free what the engine holds; the module itself is the caller's."""


def make_engine(
    module: nn.Module,
    settings: EngineConfig,
    *,
    learning_rate: float,
    steps: int,
    trial: Trial,
    batch_size: int | None = None,
) -> Engine:
    """The engine that ``settings`` name, over the parameters of ``module`` that require gradients.

    Args:
        module: on the trial's device already; it is trained in place.
        settings: accumulation, clipping, schedule and, for DeepSpeed, ZeRO.
        learning_rate: the schedule's peak.
        steps: optimiser steps of the whole training.
        trial: device, ranks and the divisor of micro-batches after a lack of memory.
        batch_size: rows of one optimiser step over all ranks, to be compared with the DeepSpeed JSON's.

    Raises:
        ValueError: nothing in ``module`` is trained, or the settings contradict the DeepSpeed JSON or themselves.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError("an engine must have something to train, but got a module without a trained parameter")
    if settings.name == "torch":
        from trainables.language.engines.torch_engine import TorchEngine

        return TorchEngine(module, settings, learning_rate=learning_rate, steps=steps, trial=trial)
    from trainables.language.engines.zero import ZeroEngine

    return ZeroEngine(module, settings, learning_rate=learning_rate, steps=steps, trial=trial, batch_size=batch_size)
