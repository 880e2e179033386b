"""Positions of a batch that hold an item: only those are computed, so padding costs nothing and changes nothing."""

import functools

import torch

from trainables.backbones.slots import Slots
from trainables.seqrec.layers import pack, unpack


class Layout:
    """The positions of a (B, L) batch that hold an item, packed and unpacked.

    Args:
        mask_BL: bool; the last position is taken as held in every row.
    """

    def __init__(self, mask_BL: torch.Tensor) -> None:
        self.rows, self.length = mask_BL.shape
        self.held_BL = mask_BL.clone()
        self.held_BL[:, -1] = True
        self.index_T = self.held_BL.flatten().nonzero().squeeze(1)
        self.last_B = self.held_BL.sum(dim=1).cumsum(dim=0) - 1
        self._slots: dict[int, Slots] = {}

    @functools.cached_property
    def open_B1LL(self) -> torch.Tensor:  # noqa: N802
        """bool, True where a position, third axis, may read another: one of an item, not later; and each itself."""
        causal_LL = torch.ones(self.length, self.length, dtype=torch.bool, device=self.held_BL.device).tril()
        itself_LL = torch.eye(self.length, dtype=torch.bool, device=self.held_BL.device)
        return ((causal_LL & self.held_BL[:, None]) | itself_LL)[:, None]

    def slots(self, heads: int) -> Slots:
        """Slots of the tokens in the attention of ``heads`` heads, made once."""
        if heads not in self._slots:
            self._slots[heads] = Slots(self.held_BL, heads)
        return self._slots[heads]

    def pack(self, x_BLD: torch.Tensor) -> torch.Tensor:
        """The T tokens of ``x_BLD``, (T, D)."""
        return pack(x_BLD.reshape(-1, x_BLD.shape[-1]), self.index_T)

    def unpack(self, x_TD: torch.Tensor) -> torch.Tensor:
        """Tokens at their positions, (B, L, D), zero elsewhere."""
        return unpack(x_TD, self.index_T, self.rows * self.length).view(self.rows, self.length, -1)
