"""Small histories for tests of backbones, and backbones whose every part shows."""

from typing import TypeVar

import torch
from torch import nn

DIM, LENGTH, ROWS = 12, 6, 7

Model = TypeVar("Model", bound=nn.Module)


def histories(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and masks of rows that hold 1 to 6 items, left-padded, the rows in no order of length."""
    vectors_BLD = torch.randn(ROWS, LENGTH, DIM, generator=torch.Generator().manual_seed(seed))
    held_B = torch.tensor([3, 6, 1, 4, 2, 6, 5])
    return vectors_BLD, torch.arange(LENGTH) >= LENGTH - held_B[:, None]


def shaken(model: Model, generator: torch.Generator) -> Model:
    """The model far from its small initial weights, so that every part shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(std=0.3, generator=generator))
    return model
