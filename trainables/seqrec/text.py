"""Item vectors from frozen text alone: Linear + GELU layers, the dense adapter that many methods share."""

import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.data.text import row_blocks
from trainables.seqrec.items import Items
from trainables.seqrec.layers import Dropout, deep_linear, linear


class Projection(nn.Module):
    """``layers`` times Linear + GELU, from V to D columns.

    Args:
        text_width: V.
        dim: D.
        layers: at least 1; those after the first are D to D.
        scale: what the text is multiplied by.
        dropout: rate before every layer but the first.
        generator: draws the initial weights: the first layer's from N(0, .02^2), so that ``scale`` says how long item
            vectors are at first, the others' so that they keep it.
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
        self.others = nn.ModuleList(deep_linear(dim, dim, generator) for _ in range(layers - 1))
        self.dropout = Dropout(dropout)

    def forward(self, text_NV: torch.Tensor) -> torch.Tensor:
        """Item vectors (N, D) of text vectors."""
        x_ND = functional.gelu(scaled_linear(text_NV, self.first, self.scale))
        for layer in self.others:
            x_ND = functional.gelu(layer(self.dropout(x_ND)))
        return x_ND


class TextItems(nn.Module, Items):
    """E_item = GELU(Linear(text)), ``layers`` times: MoRec with frozen text (Yuan et al., SIGIR 2023).

    SpecTran's baseline most likely has one layer, as in AlphaFuse's repository; PAD's has five, with dropout between
    them. The original trains the text encoder as well.

    Args:
        text_IV: text vectors, float32, row 0 (padding) zero. Not part of the checkpoint.
        dim: D.
        layers: Linear + GELU layers.
        dropout: rate between them.
        scale: what the text is multiplied by.
        generator: draws the initial weights.
    """

    computed = True
    text_IV: torch.Tensor

    def __init__(
        self,
        text_IV: torch.Tensor,
        *,
        dim: int,
        layers: int = 1,
        dropout: float = 0.0,
        scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, text_width = text_IV.shape
        self.width = dim
        self.register_buffer("text_IV", text_IV, persistent=False)
        self.project = Projection(text_width, dim, layers=layers, scale=scale, dropout=dropout, generator=generator)

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        vector_ND: torch.Tensor = self.project(self.text_IV if index_N is None else self.text_IV[index_N])
        return vector_ND


def scaled_linear(text_NV: torch.Tensor, layer: nn.Linear, scale: float) -> torch.Tensor:
    """``layer(scale * text_NV)``; the scale multiplies the few weights, so the text is not copied."""
    return functional.linear(text_NV, layer.weight * scale, layer.bias)


def mean_length(vectors_IV: np.ndarray) -> float:
    """Mean length of the vectors of those items that have a text, whose vector is not zero; 1 where none has."""
    lengths_I = np.concatenate([np.linalg.norm(vectors_IV[rows], axis=1) for rows in row_blocks(vectors_IV)])
    with_text = np.count_nonzero(lengths_I)
    return float(lengths_I.sum() / with_text) if with_text else 1.0


def mapped(array: np.ndarray) -> torch.Tensor:
    """A tensor on a stage's memory map: no copy, so trials share the pages; never to be written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
