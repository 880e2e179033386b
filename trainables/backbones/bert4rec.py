"""BERT4Rec: a bidirectional Transformer that fills in masked items (Sun et al., CIKM 2019).

The original's encoder: LayerNorm and dropout on item plus learned position; each sub-layer's output is dropped out,
added and normalised after (post-LN, as RecBole has it; other ports normalise before); GELU between d -> 4d -> d; before
the scores Linear d -> d, GELU and LayerNorm, as its released code and RecBole have it (its §3.5 has no norm).

Where this departs from it: the scores have no bias per item (§3.5 has one), because every backbone is scored by
the same function. The mask's vector is a parameter here, not a row of the item table, which may be frozen or computed.

Only positions that hold an item or a mask are computed (packed to T tokens), and the last block computes only the M
that are read.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from trainables.backbones import config
from trainables.backbones.ingredients import Ingredients
from trainables.backbones.layout import Layout
from trainables.seqrec.cloze import cloze
from trainables.seqrec.layers import Dropout, linear, normal, pack, unpack
from trainables.seqrec.objectives import Reading


class BERT4Rec(nn.Module):
    """Vectors of a sequence in, states out; what a masked position held cannot be seen.

    Args:
        dim: D.
        max_history: L; there are L + 1 positions, for a history and its target or mask. The newest has the last one.
        blocks: Transformer blocks.
        heads: H, a divisor of ``dim``.
        dropout: rate on the input, the attention weights and the output of each sub-layer.
        generator: draws the initial weights from N(0, .02^2).
    """

    def __init__(
        self,
        dim: int,
        max_history: int,
        *,
        blocks: int = 2,
        heads: int = 1,
        dropout: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.position_LD = normal(max_history + 1, dim, generator=generator)
        self.mask_D = normal(dim, generator=generator)
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout, generator=generator) for _ in range(blocks))
        self.head = nn.Sequential(linear(dim, dim, generator), nn.GELU(), nn.LayerNorm(dim))

    def forward(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The state at every position, each seeing all others and itself, (B, L, D); zero where there is no item.

        Args:
            vectors_BLD: item vectors, the newest last; anything at padding. Up to ``max_history + 1`` positions.
            mask_BL: bool, True where there is an item. The last position always counts as one.
        """
        layout = Layout(mask_BL)
        return layout.unpack(self._states(vectors_BLD, layout, None))

    def last(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The state of a mask appended after the newest item, (B, D).

        Args:
            vectors_BLD: item vectors of histories, the newest last; anything at padding. Up to ``max_history`` of them.
            mask_BL: bool, True where there is an item; a history may be empty.
        """
        grown_BL = functional.pad(mask_BL, (0, 1), value=True)
        masked_BL = functional.pad(torch.zeros_like(mask_BL), (0, 1), value=True)
        return self.masked(functional.pad(vectors_BLD, (0, 0, 0, 1)), grown_BL, masked_BL)

    def masked(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor, masked_BL: torch.Tensor) -> torch.Tensor:
        """The states at the masked positions, row by row, (M, D).

        Args:
            vectors_BLD: item vectors, the newest last; anything at padding and at masked positions.
            mask_BL: bool, True where there is an item or a mask. The last position always counts as one.
            masked_BL: bool, True where the mask's vector stands for the item's.
        """
        layout = Layout(mask_BL | masked_BL)
        read_M = masked_BL.flatten()[layout.index_T].nonzero().squeeze(1)
        return self._states(torch.where(masked_BL[:, :, None], self.mask_D, vectors_BLD), layout, read_M)

    def _states(self, vectors_BLD: torch.Tensor, layout: Layout, read_M: torch.Tensor | None) -> torch.Tensor:
        """The states of tokens ``read_M`` (indexes into T), (M, D); None: of all T."""
        x_TD = self.dropout(self.norm(layout.pack(vectors_BLD + self.position_LD[-layout.length :])))
        for block in self.blocks[:-1]:
            x_TD = block(x_TD, layout)
        states_MD: torch.Tensor = self.head(self.blocks[-1](x_TD, layout, read_M))
        return states_MD


def make(settings: config.BERT4Rec, on: Ingredients) -> tuple[BERT4Rec, Reading]:
    """The backbone of ``backbone.name: bert4rec``, and what its training reads from a batch."""
    backbone = BERT4Rec(
        on.dim, on.max_history, blocks=settings.blocks, heads=settings.heads, dropout=on.dropout, generator=on.generator
    )
    return backbone, cloze(backbone, settings.mask_ratio, settings.newest_share)


class Block(nn.Module):
    """One Transformer block: attention over the whole row, then a feed-forward layer four times as wide.

    Args:
        dim: D.
        heads: H.
        dropout: rate on the attention weights and on the output of both sub-layers.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float, *, generator: torch.Generator) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.query = linear(dim, dim, generator)
        self.key_value = linear(dim, 2 * dim, generator)
        self.out = linear(dim, dim, generator)
        self.norm_attention = nn.LayerNorm(dim)
        self.inner = linear(dim, 4 * dim, generator)
        self.outer = linear(4 * dim, dim, generator)
        self.norm_feed = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_TD: torch.Tensor, layout: Layout, read_M: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens ``read_M`` (indexes into T; None: all) after this block, having seen all T, (M, D)."""
        x_MD = x_TD if read_M is None else pack(x_TD, read_M)
        place_M = layout.index_T if read_M is None else layout.index_T[read_M]
        context_MD = self._attend(self.query(x_MD), place_M, self.key_value(x_TD), layout)
        x_MD = self.norm_attention(x_MD + self.dropout(self.out(context_MD)))
        state_MD: torch.Tensor = self.norm_feed(x_MD + self.dropout(self.outer(functional.gelu(self.inner(x_MD)))))
        return state_MD

    def _attend(
        self, q_MD: torch.Tensor, place_M: torch.Tensor, key_value_TD: torch.Tensor, layout: Layout
    ) -> torch.Tensor:
        """What each query, standing at ``place_M`` of the flat batch, gathers from its row, (M, D)."""
        rows, length, width = layout.rows, layout.length, self.dim // self.heads
        q_BLD = unpack(q_MD, place_M, rows * length).view(rows, length, -1)
        q_SLC, k_SLC, v_SLC = (
            part_BLD.view(rows, length, self.heads, width).transpose(1, 2).reshape(-1, length, width)  # S = B * H
            for part_BLD in (q_BLD, *layout.unpack(key_value_TD).chunk(2, dim=2))
        )
        score_BHLL = torch.bmm(q_SLC, k_SLC.transpose(1, 2)).view(rows, self.heads, length, length)
        hidden_B11L = ~layout.held_BL[:, None, None]
        weight_BHLL = (score_BHLL / math.sqrt(width)).masked_fill(hidden_B11L, -torch.inf).softmax(dim=-1)
        context_SLC = torch.bmm(self.dropout(weight_BHLL).flatten(0, 1), v_SLC)
        context_BLD = context_SLC.view(rows, self.heads, length, width).transpose(1, 2).flatten(2)
        return pack(context_BLD.view(-1, self.dim), place_M)
