"""HSTU: gated attention without softmax (Zhai et al., ICML 2024, "Actions speak louder than words", equations 1-3).

A block, in the released research code's form: one bias-free matrix and SiLU give the gate u and v, q, k from the
normalised input (no affine); weights SiLU(q k^T + bias) / n, zero for later positions; Linear(dropout(u * LN(weights
v))) is added to the input. No feed-forward layer, no dropout on the weights, no 1/sqrt(d) in the scores.

Where this departs from it:

* no time bias: SpecTran gives the model item IDs only; the position bias, one learned number a distance, stays;
* its table holds the L distances to earlier items; the L - 1 to later ones, which causality hides, are left out;
* n is ``max_history`` whatever the width of a batch, so that more padding changes nothing;
* a LayerNorm at the end (``final_norm``) instead of L2-normalised states: scores are dot products over sqrt(D) of
  states of length sqrt(D), as after SASRec; under cosine similarity the original's scoring is ``final_norm=False``;
* every weight starts from N(0, .02^2), but positions from N(0, 1/D), which the original truncates.

Dense: the projections see only positions that hold an item. A padding position has v = 0 and so needs no mask.
Where only the last position is read, the last block computes u, q and its output for that one alone.
"""

import torch
from torch import nn
from torch.nn import functional

from trainables.backbones import config
from trainables.backbones.causal import CausalStack
from trainables.backbones.ingredients import Ingredients
from trainables.backbones.layout import Layout
from trainables.seqrec.layers import Dropout, linear, normal, pack
from trainables.seqrec.objectives import Reading, next_item

NORM_EPS = 1e-6
"""Of every norm, as released. What the inner one normalises is about .001 at the start, where torch's 1e-5 rules."""


class HSTU(CausalStack):
    """History vectors in, hidden states out.

    Args:
        dim: D.
        max_history: L, positions that have an embedding; the newest item always has the last one.
        blocks: HSTU blocks.
        heads: H, a divisor of ``dim``; values and queries of a head have D / H columns.
        scale: whether item vectors are multiplied by sqrt(D) before positions are added.
        final_norm: whether states leave a LayerNorm.
        dropout: rate on the input and before each block's output projection.
        generator: draws the initial weights.
    """

    def __init__(
        self,
        dim: int,
        max_history: int,
        *,
        blocks: int = 2,
        heads: int = 1,
        scale: bool = True,
        final_norm: bool = True,
        dropout: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            dim,
            max_history,
            (Block(dim, max_history, heads, dropout, generator=generator) for _ in range(blocks)),
            nn.LayerNorm(dim, eps=NORM_EPS) if final_norm else nn.Identity(),
            scale=scale,
            position_std=dim**-0.5,
            dropout=dropout,
            generator=generator,
        )


def make(settings: config.HSTU, on: Ingredients) -> tuple[HSTU, Reading]:
    """The backbone of ``backbone.name: hstu``, and what its training reads from a batch."""
    backbone = HSTU(
        on.dim,
        on.max_history,
        blocks=settings.blocks,
        heads=settings.heads,
        scale=settings.scale,
        final_norm=settings.final_norm,
        dropout=on.dropout,
        generator=on.generator,
    )
    return backbone, next_item(backbone)


class Block(nn.Module):
    """One Hierarchical Sequential Transduction Unit.

    Args:
        dim: D.
        max_history: L, which attention is divided by; also the distances that have a bias.
        heads: H.
        dropout: rate before the output projection.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, max_history: int, heads: int, dropout: float, *, generator: torch.Generator) -> None:
        super().__init__()
        self.dim, self.max_history, self.heads = dim, max_history, heads
        self.gate_query = normal(2 * dim, dim, generator=generator)
        self.value_key = normal(2 * dim, dim, generator=generator)
        self.distance_L = normal(max_history, generator=generator)
        self.out = linear(dim, dim, generator)
        self.dropout = Dropout(dropout)

    def forward(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The T tokens after this block, (T, D)."""
        normed_TD = self._norm(x_TD)
        u_TD, q_TD = functional.silu(functional.linear(normed_TD, self.gate_query)).chunk(2, dim=1)
        context_BLD = self._attend(layout.unpack(q_TD), normed_TD, layout)
        return self._leave(x_TD, u_TD, layout.pack(context_BLD))

    def last(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The last token of each row after this block, (B, D)."""
        normed_TD = self._norm(x_TD)
        u_BD, q_BD = functional.silu(functional.linear(pack(normed_TD, layout.last_B), self.gate_query)).chunk(2, dim=1)
        context_B1D = self._attend(q_BD[:, None], normed_TD, layout)
        return self._leave(pack(x_TD, layout.last_B), u_BD, context_B1D.squeeze(1))

    def _attend(self, q_BQD: torch.Tensor, normed_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """What the last Q positions gather from themselves and those before, (B, Q, D)."""
        value_key_TD = functional.silu(functional.linear(normed_TD, self.value_key))
        v_SLC, k_SLC = (self._split(part_BLD) for part_BLD in layout.unpack(value_key_TD).chunk(2, dim=2))
        queries, length = q_BQD.shape[1], layout.length
        place_L = torch.arange(length, device=q_BQD.device)
        distance_QL = place_L[length - queries :, None] - place_L
        bias_QL = self.distance_L[distance_QL.clamp(min=0)]
        score_SQL = torch.baddbmm(bias_QL, self._split(q_BQD), k_SLC.transpose(1, 2))
        context_SQC = torch.bmm(functional.silu(score_SQL) * ((distance_QL >= 0) / self.max_history), v_SLC)
        return context_SQC.view(-1, self.heads, queries, self.dim // self.heads).transpose(1, 2).flatten(2)

    def _split(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """One matrix a head: (S, L, C) with S = B * H, C = D / H; no copy for one head."""
        length, width = x_BLD.shape[1], self.dim // self.heads
        return x_BLD.view(-1, length, self.heads, width).transpose(1, 2).reshape(-1, length, width)

    def _leave(self, x_ND: torch.Tensor, u_ND: torch.Tensor, context_ND: torch.Tensor) -> torch.Tensor:
        out_ND: torch.Tensor = self.out(self.dropout(u_ND * self._norm(context_ND)))
        return x_ND + out_ND

    def _norm(self, x_ND: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x_ND, (self.dim,), eps=NORM_EPS)
