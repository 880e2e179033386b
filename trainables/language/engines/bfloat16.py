"""The forward pass in bf16, for both engines."""

import torch
from torch import nn


class Bfloat16(nn.Module):
    """A module called under autocast to bf16; its parameters stay as they are."""

    def __init__(self, module: nn.Module, device: str) -> None:
        super().__init__()
        self.module = module
        self._device = device

    def forward(self, *inputs: object, **named: object) -> object:
        """Call the module under bfloat16 autocast."""
        with torch.autocast(self._device, torch.bfloat16):
            return self.module(*inputs, **named)
