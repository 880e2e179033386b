"""What a training step reads and predicts: which positions, which targets, which negatives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from trainables.data.batches import Batch
from trainables.seqrec.evaluate import Score
from trainables.seqrec.items import Encoder, Items, Lookup, Table, all_scores
from trainables.seqrec.losses import draw_negatives, info_nce


@dataclass(frozen=True)
class Examples:
    """The predictions that a batch of B rows asks for: N of them."""

    sequence_BL: torch.Tensor
    """int64 items that the encoder may see; 0 at padding and where an item is masked."""
    held_BL: torch.Tensor
    """bool, True where there is an item or a mask."""
    target_N: torch.Tensor
    """int64, what each state has to predict."""
    row_N: torch.Tensor
    """int64, the row of the batch that each target belongs to."""
    encoder: Encoder
    """From the sequence's vectors (B, L, D) to the states (N, D)."""


Reading = Callable[[Batch, torch.Generator], Examples]
"""How a backbone is trained: from a batch, and a generator on its device, to the examples in it."""


class Backbone(Protocol):
    """A sequence encoder: item vectors in, states out."""

    def last(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The states (B, D) that predict what comes after the sequences; ``mask_BL`` is True where there is an item."""


def next_item(backbone: Backbone) -> Reading:
    """One prediction a row: the target, from the state after the history (SASRec, HSTU)."""

    def read(batch: Batch, generator: torch.Generator) -> Examples:
        held_BL = batch.history_BL != 0
        return Examples(
            sequence_BL=batch.history_BL,
            held_BL=held_BL,
            target_N=batch.target_B,
            row_N=torch.arange(len(batch), device=held_BL.device),
            encoder=lambda vectors_BLD: backbone.last(vectors_BLD, held_BL),
        )

    return read


def sampled_loss(
    items: Items,
    backbone: Backbone,
    read: Reading,
    *,
    negatives: int,
    exclude: Literal["target", "history"],
    cosine: bool,
    temperature: float,
) -> Callable[[Batch, torch.Generator], torch.Tensor]:
    """The loss of a batch: InfoNCE of every example against sampled negatives, plus the items' own penalty.

    Args:
        items: item vectors.
        backbone: sequence encoder.
        read: what a batch asks to predict.
        negatives: K, drawn uniformly for each example.
        exclude: what a negative may not be: the example's target, or all items of its row as well.
        cosine: score by cosine instead of the scaled dot product.
        temperature: divides the scores.
    """

    def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        examples = read(batch, generator)
        excluded_NE = examples.target_N[:, None]
        if exclude == "history":
            seen_BE = torch.cat([batch.history_BL, batch.target_B[:, None]], dim=1)
            excluded_NE = torch.cat([excluded_NE, seen_BE[examples.row_N]], dim=1)
        negative_NK = draw_negatives(items.num_items, negatives, excluded_NE, generator)
        candidate_NS = torch.cat([examples.target_N[:, None], negative_NK], dim=1)
        lookup = items.lookup(torch.cat([examples.sequence_BL.flatten(), candidate_NS.flatten()]))
        state_NW = items.encode(examples.encoder, lookup.vectors(examples.sequence_BL), examples.held_BL)
        mean = info_nce(lookup.scores(state_NW, candidate_NS, cosine=cosine), temperature=temperature)
        extra = items.penalty(batch, lookup, lambda history_BL: after(items, backbone, lookup, history_BL))
        return mean if extra is None else mean + extra

    return loss


def after(items: Items, backbone: Backbone, lookup: Lookup, history_BL: torch.Tensor) -> torch.Tensor:
    """The states (B, W) after histories, which predict what comes next."""
    held_BL = history_BL != 0
    return items.encode(lambda vectors: backbone.last(vectors, held_BL), lookup.vectors(history_BL), held_BL)


def next_scores(items: Items, backbone: Backbone, *, cosine: bool) -> Score:
    """What ranks all items after a batch's histories; the item vectors are computed here, once.

    Args:
        items: item vectors, as they are now.
        backbone: sequence encoder.
        cosine: as in training.
    """
    with torch.inference_mode():
        table_IW = items.rows()
        lookup = Table(table_IW)
    return lambda batch: all_scores(after(items, backbone, lookup, batch.history_BL), table_IW, cosine=cosine)
