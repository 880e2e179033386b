"""Vectors of items that fill the slots of a prompt: a frozen table, brought to the width of the language model."""

import torch
from torch import nn

from trainables.seqrec.layers import deep_linear, linear


class Projected(nn.Module):
    """Rows of a frozen table, projected: items (N,) -> (N, H).

    Args:
        table_ID: float32, row 0 (padding) included; no part of the weights.
        project: from width D to H.
    """

    table_ID: torch.Tensor

    def __init__(self, table_ID: torch.Tensor, project: nn.Module) -> None:
        super().__init__()
        self.register_buffer("table_ID", table_ID, persistent=False)
        self.project = project

    def forward(self, item_N: torch.Tensor) -> torch.Tensor:
        """The vectors (N, H) of items (int64)."""
        vector_NH: torch.Tensor = self.project(self.table_ID[item_N])
        return vector_NH


def one_layer(table_ID: torch.Tensor, width: int, generator: torch.Generator) -> Projected:
    """A linear layer to width H (E4SRec, SLMRec)."""
    return Projected(table_ID, linear(table_ID.shape[1], width, generator))


def two_layers(table_ID: torch.Tensor, width: int, generator: torch.Generator) -> Projected:
    """Linear, GELU, linear, both to width H (LLaRA)."""
    first, second = (deep_linear(size, width, generator) for size in (table_ID.shape[1], width))
    return Projected(table_ID, nn.Sequential(first, nn.GELU(), second))
