"""The frame of SASRec and HSTU: learned positions, then causal blocks over the tokens of a history alone."""

import math
from collections.abc import Iterable
from typing import Protocol, cast

import torch
from torch import nn

from trainables.backbones.layout import Layout
from trainables.seqrec.layers import Dropout, normal


class CausalBlock(Protocol):
    """A block of a stack, which reads T packed tokens; no token sees a later one of its row."""

    def __call__(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """All tokens after the block, (T, D)."""

    def last(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """The newest token of each row after the block, (B, D)."""


class CausalStack(nn.Module):
    """History vectors in, hidden states out.

    Args:
        dim: D.
        max_history: L, positions that have an embedding; the newest item always has the last one.
        blocks: made one after another, after the positions.
        norm: of the states that leave.
        scale: whether item vectors are multiplied by sqrt(D) before positions are added.
        position_std: of the first positions.
        dropout: rate on the input.
        generator: draws the first positions.
    """

    def __init__(
        self,
        dim: int,
        max_history: int,
        blocks: Iterable[nn.Module],
        norm: nn.Module,
        *,
        scale: bool,
        position_std: float,
        dropout: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.position_LD = normal(max_history, dim, generator=generator, std=position_std)
        self.scale = math.sqrt(dim) if scale else 1.0
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm

    def forward(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The state at every position, (B, L, D); zero where there is no item.

        Args:
            vectors_BLD: item vectors, the newest last; anything at padding.
            mask_BL: bool, True where there is an item. The last position always counts as one.
        """
        layout, x_TD = self._enter(vectors_BLD, mask_BL)
        for block in self.blocks:
            x_TD = block(x_TD, layout)
        return layout.unpack(self.norm(x_TD))

    def last(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The state at the last position alone, (B, D): ``forward(...)[:, -1]`` for a fraction of the work."""
        layout, x_TD = self._enter(vectors_BLD, mask_BL)
        for block in self.blocks[:-1]:
            x_TD = block(x_TD, layout)
        states_BD: torch.Tensor = self.norm(cast(CausalBlock, self.blocks[-1]).last(x_TD, layout))
        return states_BD

    def _enter(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> tuple[Layout, torch.Tensor]:
        layout = Layout(mask_BL)
        position_LD = self.position_LD[-vectors_BLD.shape[1] :]
        return layout, self.dropout(layout.pack(torch.add(position_LD, vectors_BLD, alpha=self.scale)))
