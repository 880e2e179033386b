"""MoRec: item vectors are a dense projection of frozen text, without IDs (Yuan et al., SIGIR 2023).

AlphaFuse's version, by default, is one Linear + GELU. The original trains the text encoder too; its two-stage variant
on frozen features stacks up to ten such layers with dropout .1 between them (``layers``, ``dropout``).
"""

import torch
from torch import nn

from trainables.seqrec.items import Items
from trainables.spectran.adapters.projection import Projection


class MoRecItems(nn.Module, Items):
    """E_item = GELU(Linear(text)), ``layers`` times.

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
        return self.project(self.text_IV if index_N is None else self.text_IV[index_N])
