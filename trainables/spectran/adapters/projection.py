"""Linear + GELU layers over frozen text: the dense adapter of MoRec and WhitenRec."""

import torch
from torch import nn
from torch.nn import functional

from trainables.seqrec.layers import Dropout, linear


class Projection(nn.Module):
    """``layers`` times Linear + GELU, from V to D columns.

    Args:
        text_width: V.
        dim: D.
        layers: at least 1; those after the first are D to D.
        scale: what the text is multiplied by.
        dropout: rate before every layer but the first.
        generator: draws the initial weights from N(0, .02^2).
    """

    def __init__(
        self,
        text_width: int,
        dim: int,
        *,
        layers: int = 1,
        scale: float = 1.0,
        dropout: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.first = linear(text_width, dim, generator)
        self.others = nn.ModuleList(linear(dim, dim, generator) for _ in range(layers - 1))
        self.dropout = Dropout(dropout)

    def forward(self, text_NV: torch.Tensor) -> torch.Tensor:
        """Item vectors (N, D) of text vectors."""
        x_ND = functional.gelu(scaled_linear(text_NV, self.first, self.scale))
        for layer in self.others:
            x_ND = functional.gelu(layer(self.dropout(x_ND)))
        return x_ND


def scaled_linear(text_NV: torch.Tensor, layer: nn.Linear, scale: float) -> torch.Tensor:
    """``layer(scale * text_NV)``; the scale multiplies the few weights, so the text is not copied."""
    return functional.linear(text_NV, layer.weight * scale, layer.bias)
