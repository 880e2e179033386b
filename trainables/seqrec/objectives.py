"""Examples of a training step: the positions it reads, the targets it predicts, the negatives."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from trainables.data.batches import Batch
from trainables.seqrec.evaluate import Score
from trainables.seqrec.items import Encoder, Items, Lookup, TableLookup, all_scores
from trainables.seqrec.layers import pack
from trainables.seqrec.losses import bce, draw_negatives, info_nce


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
    """int64, the row of the batch that each target belongs to, in ascending order; at most L examples a row."""
    encoder: Encoder
    """From the sequence's vectors (B, L, D) to the states (N, D)."""


Reading = Callable[[Batch, torch.Generator], Examples]
"""A backbone's way of training: from a batch, and a generator on its device, to the examples in it."""


class Backbone(Protocol):
    """A sequence encoder: item vectors in, states out."""

    def last(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The states (B, D) that predict what comes after the sequences; ``mask_BL`` is True where there is an item."""


class Causal(Backbone, Protocol):
    """A backbone that also gives the states of all positions, none of which has seen what comes after it."""

    def forward(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The states (B, L, D); ``mask_BL`` is True where there is an item."""


def next_item(backbone: Backbone) -> Reading:
    """One prediction a row: the target, from the state after the history."""

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


def every_position(backbone: Causal) -> Reading:
    """One prediction an item of the history: what comes next, at the last one the target (SASRec's own, PAD).

    A row whose history is empty predicts nothing.

    Args:
        backbone: a causal one. A bidirectional one would see what it has to predict.
    """

    def read(batch: Batch, generator: torch.Generator) -> Examples:
        held_BL = batch.history_BL != 0
        index_N = held_BL.flatten().nonzero().squeeze(1)
        following_BL = torch.cat([batch.history_BL[:, 1:], batch.target_B[:, None]], dim=1)
        return Examples(
            sequence_BL=batch.history_BL,
            held_BL=held_BL,
            target_N=following_BL.flatten()[index_N],
            row_N=index_N // held_BL.shape[1],
            encoder=lambda vectors_BLD: pack(backbone.forward(vectors_BLD, held_BL).flatten(0, 1), index_N),
        )

    return read


def positions(batch: Batch) -> int:
    """Number of examples that :func:`every_position` reads from a batch."""
    return int((batch.history_BL != 0).sum())


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


def bce_loss(items: Items, backbone: Backbone, read: Reading) -> Callable[[Batch, torch.Generator], torch.Tensor]:
    """The loss of a batch: BCE of every example and one negative (:func:`bce`), plus the items' own penalty.

    A score is the plain dot product; ranking, which divides all of them by sqrt(W), orders items alike.

    Args:
        items: item vectors.
        backbone: sequence encoder.
        read: what a batch asks to predict.
    """

    def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        examples = read(batch, generator)
        negative_N = unseen_negatives(batch, examples, items.num_items, generator)
        candidate_N2 = torch.stack([examples.target_N, negative_N], dim=1)
        lookup = items.lookup(torch.cat([examples.sequence_BL.flatten(), candidate_N2.flatten()]))
        state_NW = items.encode(examples.encoder, lookup.vectors(examples.sequence_BL), examples.held_BL)
        score_N2 = lookup.scores(state_NW, candidate_N2) * math.sqrt(state_NW.shape[1])
        mean = bce(score_N2[:, 0], score_N2[:, 1])
        extra = items.penalty(batch, lookup, lambda history_BL: after(items, backbone, lookup, history_BL))
        return mean if extra is None else mean + extra

    return loss


def unseen_negatives(batch: Batch, examples: Examples, num_items: int, generator: torch.Generator) -> torch.Tensor:
    """A negative for each example, drawn uniformly from the items outside its row's history and target, int64 (N,).

    Args:
        batch: the rows.
        examples: what they ask to predict.
        num_items: I, padding included.
        generator: on the batch's device.

    Raises:
        ValueError: a row could have no item outside it.
    """
    seen_BE = torch.cat([batch.history_BL, batch.target_B[:, None]], dim=1)
    draws = examples.sequence_BL.shape[1]
    negative_BL = draw_negatives(num_items, draws, seen_BE, generator)  # a row's examples share its exclusions
    count_B = torch.bincount(examples.row_N, minlength=len(batch))
    turn_N = torch.arange(len(examples.row_N), device=examples.row_N.device)
    turn_N = turn_N - (count_B.cumsum(0) - count_B)[examples.row_N]
    return negative_BL[examples.row_N, turn_N]


def after(items: Items, backbone: Backbone, lookup: Lookup, history_BL: torch.Tensor) -> torch.Tensor:
    """The states (B, W) after histories, which predict what comes next."""
    held_BL = history_BL != 0
    return items.encode(lambda vectors: backbone.last(vectors, held_BL), lookup.vectors(history_BL), held_BL)


def next_scores(items: Items, backbone: Backbone, *, cosine: bool) -> Score:
    """A function that scores all items after a batch's histories. The item vectors are computed here, once.

    Args:
        items: item vectors, as they are now.
        backbone: sequence encoder.
        cosine: as in training.
    """
    with torch.inference_mode():
        table_IW = items.rows()
        lookup = TableLookup(table_IW)
    return lambda batch: all_scores(after(items, backbone, lookup, batch.history_BL), table_IW, cosine=cosine)
