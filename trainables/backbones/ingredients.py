"""The inputs that every backbone is made from."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """The inputs of a backbone's ``make``, alike for all backbones."""

    dim: int
    """D."""
    max_history: int
    """L, the longest history."""
    dropout: float
    """Rate inside the backbone."""
    generator: torch.Generator
    """Draws the initial weights."""
