"""UniSRec: a gated mixture of parametric whitenings of frozen text (Hou et al., KDD 2022), without its pre-training.

An expert is (dropout(x) - b) W without bias; the gate is a softmax over all experts of x W_g, to which training adds
noise of standard deviation softplus(x W_n) + .01; W_g and W_n start at zero. Departs from the original in one way: the
experts share a dropout mask instead of drawing one each, so that all are one matrix product. IDs are left out as in
AlphaFuse's version, which the paper's baselines most likely come from; the original's transductive default adds them.
"""

import torch
from torch import nn
from torch.nn import functional

from trainables.seqrec.items import Items
from trainables.seqrec.layers import Dropout, normal
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients

LEAST_NOISE = 0.01


class UniSRecItems(nn.Module, Items):
    """E_item = sum over experts of gate * whitening(text), plus ID embeddings where asked for.

    Args:
        text_IV: text vectors, float32, row 0 (padding) zero. Not part of the checkpoint.
        dim: D.
        experts: E, whitenings that the gate mixes.
        dropout: rate on the text before the whitenings.
        ids: whether free ID embeddings are added.
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
        experts: int = 8,
        dropout: float = 0.2,
        ids: bool = False,
        scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, text_width = text_IV.shape
        self.width, self.scale = dim, scale
        self.register_buffer("text_IV", text_IV, persistent=False)
        self.dropout = Dropout(dropout)
        self.weight_EDV = normal(experts, dim, text_width, generator=generator)
        self.shift_EV = nn.Parameter(torch.zeros(experts, text_width))
        self.gate_EV = nn.Parameter(torch.zeros(experts, text_width))
        self.noise_EV = nn.Parameter(torch.zeros(experts, text_width))
        self.id_ID: nn.Parameter | None = None
        if ids:
            self.id_ID = normal(self.num_items, dim, generator=generator)
            with torch.no_grad():
                self.id_ID[0] = 0

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        text_NV = self.text_IV if index_N is None else self.text_IV[index_N]
        experts, dim, _ = self.weight_EDV.shape
        shift_ED = (self.weight_EDV @ self.shift_EV[:, :, None]).squeeze(2)
        mixed_NED = functional.linear(
            self.dropout(text_NV), (self.weight_EDV * self.scale).flatten(0, 1), -shift_ED.flatten()
        ).view(-1, experts, dim)
        vector_ND = torch.bmm(self.gate(text_NV)[:, None, :], mixed_NED).squeeze(1)
        if self.id_ID is None:
            return vector_ND
        return vector_ND + (self.id_ID if index_N is None else functional.embedding(index_N, self.id_ID, padding_idx=0))

    def gate(self, text_NV: torch.Tensor) -> torch.Tensor:
        """Weights (N, E) of the experts, noisy while training."""
        score_NE = functional.linear(text_NV, self.gate_EV * self.scale)
        if self.training:
            spread_NE = functional.softplus(functional.linear(text_NV, self.noise_EV * self.scale)) + LEAST_NOISE
            score_NE = score_NE + torch.randn_like(score_NE) * spread_NE
        return score_NE.softmax(dim=1)


def make(settings: config.UniSRec, on: Ingredients) -> UniSRecItems:
    """The items of ``adapter.name: unisrec``."""
    return UniSRecItems(
        on.text_vectors,
        dim=on.dim,
        experts=settings.experts,
        dropout=settings.dropout,
        ids=settings.ids,
        scale=on.scale_to(settings.length),
        generator=on.generator,
    )
