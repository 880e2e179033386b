"""A snapshot of a module, restored after DeepSpeed has worked on it.

DeepSpeed changes the module itself. ZeRO 1 and 2 make the trained parameters views of flat buffers. ZeRO 3 empties all
of them and puts a dictionary of its own into each part. The frozen base model outlives the trial, so all changes are
undone, but the trained parameters keep their last values.
"""

from torch import nn

_HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")
"""Ends of the names under which a module keeps its hooks."""


class ModuleSnapshot:
    """The state of ``module`` before DeepSpeed changes it.

    Args:
        module: to be lent.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._names = {id(parameter): set(vars(parameter)) for parameter in module.parameters()}
        self._parts = [
            (part, set(vars(part)), {name: dict(value) for name, value in vars(part).items() if name.endswith(_HOOKS)})
            for part in module.modules()
        ]
        self._buffers = [(part, dict(part._buffers)) for part in module.modules()]

    def restore(self) -> None:
        """Put everything back; DeepSpeed's engine must be destroyed already. A second call does nothing."""
        partitioned = [p for p in self._module.parameters() if hasattr(p, "ds_id")]
        if partitioned:
            self._gather(partitioned)
        for part, buffers in self._buffers:
            part._buffers.update(buffers)
        for parameter in self._module.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.clone()
            parameter.grad = None
            for name in set(vars(parameter)) - self._names[id(parameter)]:
                delattr(parameter, name)
        for part, names, hooks in self._parts:
            if type(part._parameters) is not dict:
                part._parameters = dict(part._parameters)
            for name, before in hooks.items():
                now = vars(part)[name]
                now.clear()
                now.update(before)
            for name in set(vars(part)) - names:
                delattr(part, name)
        self._buffers = []

    def _gather(self, partitioned: list[nn.Parameter]) -> None:
        """Make the parameters whole again that ZeRO 3 emptied."""
        import deepspeed

        with deepspeed.zero.GatheredParameters(partitioned):
            whole = [parameter.data.clone() for parameter in partitioned]
        for parameter, data in zip(partitioned, whole, strict=True):
            parameter.data = data
