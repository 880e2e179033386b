"""Cloze: mask items of a row, its target included, and predict each from what is left (Sun et al., CIKM 2019, §3.6)."""

from typing import Protocol

import torch

from trainables.data.batches import Batch
from trainables.seqrec.objectives import Examples, Reading


class Masked(Protocol):
    """A backbone that reads the states of masked positions."""

    def masked(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor, masked_BL: torch.Tensor) -> torch.Tensor:
        """The states at the masked positions, row by row, (N, D)."""
        ...


def cloze(backbone: Masked, mask_ratio: float, newest_share: float = 0.0) -> Reading:
    """The reading that trains ``backbone`` to fill in masked items of history + target (L + 1 positions).

    A chosen item is always replaced by the mask, as in the original and RecBole; other ports keep or swap a fifth of
    them (BERT's 80/10/10 rule). A row may have any number of masks; RecBole stops at the ratio of the padded length.

    Args:
        backbone: reads the masked positions.
        mask_ratio: chance of each item to be masked, in (0, 1); see :func:`draw_masks`.
        newest_share: chance of a row to have its newest item, the target, masked and no other.
    """

    def read(batch: Batch, generator: torch.Generator) -> Examples:
        sequence_BL = torch.cat([batch.history_BL, batch.target_B[:, None]], dim=1)
        held_BL = sequence_BL != 0
        masked_BL = draw_masks(held_BL, mask_ratio, generator, newest_share=newest_share)
        return Examples(
            sequence_BL=sequence_BL.masked_fill(masked_BL, 0),
            held_BL=held_BL,
            target_N=sequence_BL[masked_BL],
            row_N=masked_BL.nonzero()[:, 0],
            encoder=lambda vectors_BLD: backbone.masked(vectors_BLD, held_BL, masked_BL),
        )

    return read


def draw_masks(
    held_BL: torch.Tensor, ratio: float, generator: torch.Generator, *, newest_share: float = 0.0
) -> torch.Tensor:
    """Draw the items to mask, bool (B, L): each with chance ``ratio``, at least one per row.

    Where chance picks none of n items, one is picked, each as likely. A row has n * ratio + (1 - ratio)^n on average.

    Args:
        held_BL: bool, True where there is an item; at least one per row, the newest last.
        ratio: in (0, 1).
        generator: on the device of ``held_BL``.
        newest_share: chance of a row to have its last position masked and no other.
    """
    uniform_BL = torch.rand(held_BL.shape, device=held_BL.device, generator=generator)
    smallest_B1 = uniform_BL.masked_fill(~held_BL, 2.0).argmin(dim=1, keepdim=True)
    masked_BL = ((uniform_BL < ratio) & held_BL).scatter(1, smallest_B1, value=True)
    if newest_share:
        newest_B1 = torch.rand(len(held_BL), 1, device=held_BL.device, generator=generator) < newest_share
        last_L = torch.arange(held_BL.shape[1], device=held_BL.device) == held_BL.shape[1] - 1
        masked_BL = torch.where(newest_B1, last_L, masked_BL)
    return masked_BL
