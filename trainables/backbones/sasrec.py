"""SASRec: causal self-attention over the history (Kang and McAuley, ICDM 2018), as SpecTran §4.1.5 sets it.

Departs from the original as its maintained ports do: a fused projection, an output projection, LayerNorm before
each sub-layer and once at the end. Three things are computed differently with the same result:

* only positions that hold an item are computed (packed to T tokens), so padding costs nothing and can change nothing;
  attention alone is padded: on a CPU rows of like length together (:mod:`trainables.backbones.slots`), elsewhere all
  alike in one fused kernel, as a GPU waits for kernels to begin and not for padding;
* where only the last position is read, the last block computes only that one, and since its single query meets keys
  and values linearly, their projections are applied to it instead of to every position;
* the key bias adds the same to every score of a query, which the softmax takes out again, so ``last`` leaves it out.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from trainables.backbones import config
from trainables.backbones.causal import CausalStack
from trainables.backbones.ingredients import Ingredients
from trainables.backbones.layout import Layout
from trainables.seqrec.layers import INIT_STD, Dropout, linear, pack
from trainables.seqrec.objectives import Reading, next_item


class SASRec(CausalStack):
    """History vectors in, hidden states out.

    Args:
        dim: D.
        max_history: L, positions that have an embedding; the newest item always has the last one.
        blocks: Transformer blocks.
        heads: H, a divisor of ``dim``.
        scale: whether item vectors are multiplied by sqrt(D) before positions are added.
        dropout: rate on the input, the attention weights and inside the feed-forward layers.
        generator: draws the initial weights from N(0, .02^2).
    """

    def __init__(
        self,
        dim: int,
        max_history: int,
        *,
        blocks: int = 2,
        heads: int = 1,
        scale: bool = True,
        dropout: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            dim,
            max_history,
            (Block(dim, heads, dropout, generator=generator) for _ in range(blocks)),
            nn.LayerNorm(dim),
            scale=scale,
            position_std=INIT_STD,
            dropout=dropout,
            generator=generator,
        )


def make(settings: config.SASRec, on: Ingredients) -> tuple[SASRec, Reading]:
    """The backbone of ``backbone.name: sasrec``, and what its training reads from a batch."""
    backbone = SASRec(
        on.dim,
        on.max_history,
        blocks=settings.blocks,
        heads=settings.heads,
        scale=settings.scale,
        dropout=on.dropout,
        generator=on.generator,
    )
    return backbone, next_item(backbone)


class Block(nn.Module):
    """One Transformer block: attention, then a feed-forward layer of the same width, each on normalised input.

    Args:
        dim: D.
        heads: H.
        dropout: rate on the attention weights and after each feed-forward layer.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float, *, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.project = linear(dim, 3 * dim, generator)
        self.out = linear(dim, dim, generator)
        self.norm_feed = nn.LayerNorm(dim)
        self.inner = linear(dim, dim, generator)
        self.outer = linear(dim, dim, generator)
        self.dropout = Dropout(dropout)

    def forward(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The T tokens after this block, (T, D)."""
        normed_TD = self.norm_attention(x_TD)
        attend = self._in_groups if x_TD.device.type == "cpu" else self._at_once
        return self._feed(x_TD + self.out(attend(normed_TD, layout)))

    def _in_groups(self, normed_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """What the tokens read of each other, (T, D), a few kernels for each group of rows of like length."""
        slots, width = layout.slots(self.heads), normed_TD.shape[1] // self.heads
        project = zip(self.project.weight.chunk(3), self.project.bias.chunk(3), strict=True)
        spread = [slots.spread(functional.linear(normed_TD, weight, bias)) for weight, bias in project]
        contexts = []
        for group, *parts in zip(slots.groups, *spread, strict=True):
            q_XLC, k_XLC, v_XLC = (part_SC.view(-1, group.length, width) for part_SC in parts)  # X = G * H
            score_GHLL = torch.bmm(q_XLC, k_XLC.transpose(1, 2)).unflatten(0, (group.rows, self.heads))
            # A position without an item may see nothing; a finite bound keeps its unused row of weights finite.
            weight_GHLL = (score_GHLL / math.sqrt(width)).masked_fill(group.hidden_G1LL, -1e9).softmax(dim=-1)
            contexts.append(torch.bmm(self.dropout(weight_GHLL).flatten(0, 1), v_XLC).flatten(0, 1))
        return slots.gather(contexts)

    def _at_once(self, normed_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The same in one kernel over all rows."""
        part_BL3HC = layout.unpack(self.project(normed_TD)).unflatten(-1, (3, self.heads, -1))
        q_BHLC, k_BHLC, v_BHLC = part_BL3HC.permute(2, 0, 3, 1, 4)
        rate = self.dropout.rate if self.training else 0.0
        context_BHLC = functional.scaled_dot_product_attention(
            q_BHLC, k_BHLC, v_BHLC, attn_mask=layout.open_B1LL, dropout_p=rate
        )
        return layout.pack(context_BHLC.transpose(1, 2).flatten(2))

    def last(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The last token of each row after this block, (B, D)."""
        dim, heads = x_TD.shape[1], self.heads
        normed_TD = self.norm_attention(x_TD)
        normed_BLD = layout.unpack(normed_TD)
        w_q, w_k, w_v = self.project.weight.chunk(3)
        b_q, _, b_v = self.project.bias.chunk(3)
        q_BHC = functional.linear(normed_BLD[:, -1], w_q, b_q).view(-1, heads, dim // heads)
        probe_BHD = torch.einsum("bhc,hcd->bhd", q_BHC, w_k.view(heads, dim // heads, dim))
        score_BHL = (probe_BHD @ normed_BLD.transpose(1, 2)) / math.sqrt(dim // heads)
        weight_BHL = self.dropout(score_BHL.masked_fill(~layout.held_BL[:, None], -1e9).softmax(dim=-1))
        context_BHC = torch.einsum("bhd,hcd->bhc", weight_BHL @ normed_BLD, w_v.view(heads, dim // heads, dim))
        context_BHC = context_BHC + weight_BHL.sum(dim=2, keepdim=True) * b_v.view(heads, dim // heads)
        return self._feed(pack(x_TD, layout.last_B) + self.out(context_BHC.flatten(1)))

    def _feed(self, x_ND: torch.Tensor) -> torch.Tensor:
        inner_ND = self.dropout(functional.relu(self.inner(self.norm_feed(x_ND))))
        outer_ND: torch.Tensor = self.dropout(self.outer(inner_ND))
        return x_ND + outer_ND
