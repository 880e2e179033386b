"""Alignment of text to IDs in phase 2: the loss of a step (equation 4), and the distance that is left."""

from collections.abc import Callable

import torch

from trainables.data.batches import Batch
from trainables.pad.config import PAD
from trainables.pad.contrast import info_nce
from trainables.pad.experts import FusedItems
from trainables.pad.mmd import mmd
from trainables.pad.training import Penalty
from trainables.seqrec.randomness import generator_for

LITERAL = (-3.0, -2.0, -1.0, 1.0)
"""sigma of equation 12 as printed, without 0, under which no kernel is defined."""

CLOSENESS = "valid/neg_discrepancy"
"""Metric of a phase that aligns without recommendation: minus the alignment loss of items drawn once."""

COMPARED = 4096
"""Most items of :func:`drawn_once`."""


def text_to_ids(items: FusedItems, method: PAD) -> Penalty:
    """gamma times :func:`discrepancy` of items of the step: those of :func:`step_items`, at most ``mmd_rows``."""

    def penalty(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        return method.gamma * discrepancy(items, method, step_items(batch, items.num_items, method.mmd_rows, generator))

    return penalty


def discrepancy(items: FusedItems, method: PAD, index_N: torch.Tensor) -> torch.Tensor:
    """Distance of these items' text vectors from their ID embeddings (equation 5, or 16)."""
    text_ND, id_ND = items.text.rows(index_N), items.ids.rows(index_N)
    if method.kernel == "info_nce":
        return info_nce(text_ND, id_ND)
    literal = LITERAL if method.bandwidths == "literal" else None
    return mmd(text_ND, id_ND, kernel=method.kernel, bandwidths=literal)


def closeness(items: FusedItems, method: PAD, seed: int) -> Callable[[], dict[str, float]]:
    """An evaluation by :data:`CLOSENESS`, over at most :data:`COMPARED` items."""
    drawn_N = drawn_once(items.num_items, seed, "closeness")

    def evaluate() -> dict[str, float]:
        with torch.no_grad():
            return {CLOSENESS: -float(discrepancy(items, method, drawn_N.to(next(items.parameters()).device)))}

    return evaluate


def drawn_once(num_items: int, seed: int, purpose: str) -> torch.Tensor:
    """The items that an evaluation without rankings looks at, int64, at most :data:`COMPARED`, the same each time."""
    return torch.randperm(num_items - 1, generator=generator_for(seed, purpose))[:COMPARED] + 1


def step_items(batch: Batch, num_items: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """The items of a step that alignment compares, int64, at most ``rows``, repeats included.

    As in the released code: those at positions of the batch, and as many drawn at random, for the negatives.
    """
    item_BX = torch.cat([batch.history_BL, batch.target_B[:, None]], dim=1)
    item_N = item_BX[item_BX != 0]
    chosen_N = torch.randperm(len(item_N), generator=generator, device=item_N.device)[: rows // 2]
    drawn_N = torch.randint(1, num_items, (len(chosen_N),), generator=generator, device=item_N.device)
    return torch.cat([item_N[chosen_N], drawn_N])
