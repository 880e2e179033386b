"""Item vectors as a part of a recommender: where they come from is their business, how they are read is written here.

A training step, or an evaluation, asks its `Items` once for a `Lookup`, and reads histories and candidates from that.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from trainables.data.batches import Batch
from trainables.seqrec.layers import normal

NEEDED_SHARE = 0.6
"""Largest share of all items that a step may need for which computing those alone beats computing all."""

Encoder = Callable[[torch.Tensor], torch.Tensor]
"""From item vectors (B, L, D) to the states (N, D) that an objective reads."""


class Lookup(Protocol):
    """Item vectors as one step sees them; W columns."""

    def vectors(self, index: torch.Tensor) -> torch.Tensor:
        """Vectors (..., W) of the items ``index`` (int64, any shape); what stands for 0 (padding) means nothing."""

    def scores(self, state_NW: torch.Tensor, candidate_NS: torch.Tensor, *, cosine: bool = False) -> torch.Tensor:
        """Scores (N, S) of each state with its own candidates: the dot product over sqrt(W), or the cosine."""


class Table:
    """A lookup of vectors that stand in one table.

    Args:
        table_ID: vectors of all I items, or of some.
        index_N: int64, the item of each row of ``table_ID``; None where row i holds item i.
        place_I: int64, its inverse: the row that holds an item's vector.
    """

    def __init__(
        self, table_ID: torch.Tensor, index_N: torch.Tensor | None = None, place_I: torch.Tensor | None = None
    ) -> None:
        self.table_ID = table_ID
        self.index_N = index_N
        self.place_I = place_I

    def vectors(self, index: torch.Tensor) -> torch.Tensor:
        """See :meth:`Lookup.vectors`; padding gets no gradient."""
        if self.place_I is None:
            return functional.embedding(index, self.table_ID, padding_idx=0)
        return functional.embedding(self.place_I[index], self.table_ID)

    def scores(self, state_NW: torch.Tensor, candidate_NS: torch.Tensor, *, cosine: bool = False) -> torch.Tensor:
        """See :meth:`Lookup.scores`."""
        if self.place_I is not None:
            candidate_NS = self.place_I[candidate_NS]
        if cosine:
            return candidate_dots(
                functional.normalize(state_NW, dim=1), functional.normalize(self.table_ID, dim=1), candidate_NS
            )
        return candidate_dots(state_NW / math.sqrt(state_NW.shape[1]), self.table_ID, candidate_NS)


class Items(Protocol):
    """Item vectors: W columns for each of I items. Inherit explicitly for the defaults below; only `rows` is a must."""

    width: int
    """W, columns of an item vector, as the objective scores it."""
    num_items: int
    """I, padding included."""
    computed: bool = False
    """Whether a row costs work, so that a step may be better off with those that it needs."""

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """Vectors (N, W) of the items ``index_N``, or (I, W) of all; padding's means nothing."""
        ...

    def lookup(self, needed_N: torch.Tensor | None = None) -> Lookup:
        """What one step reads from.

        Args:
            needed_N: int64, every item that will be asked for, repeats included; None for any.
        """
        if needed_N is None or not self.computed:
            return Table(self.rows())
        is_needed_I = torch.zeros(self.num_items, dtype=torch.bool, device=needed_N.device)
        is_needed_I[needed_N] = True
        needed_N = is_needed_I.nonzero().squeeze(1)
        if len(needed_N) > NEEDED_SHARE * self.num_items:
            return Table(self.rows())
        place_I = torch.zeros(self.num_items, dtype=torch.int64, device=needed_N.device)
        place_I[needed_N] = torch.arange(len(needed_N), device=needed_N.device)
        return Table(self.rows(needed_N), needed_N, place_I)

    def encode(self, encoder: Encoder, vectors_BLW: torch.Tensor, held_BL: torch.Tensor) -> torch.Tensor:
        """States (N, W) of the vectors of some sequences.

        Args:
            encoder: reads (B, L, D) vectors.
            vectors_BLW: a lookup's vectors of the sequences.
            held_BL: bool, True where there is an item or a mask.
        """
        return encoder(vectors_BLW)

    def penalty(
        self, batch: Batch, lookup: Lookup, encode: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor | None:
        """A loss of the items' own, added to the objective; None for none.

        Args:
            batch: the rows of the step.
            lookup: what the step reads from.
            encode: from histories (B, L) to the states (B, W) after them.
        """
        return None


class IdItems(nn.Module, Items):
    """Free ID embeddings: one row an item, row 0 (padding) zero.

    Args:
        num_items: I, padding included.
        dim: D.
        generator: draws the initial rows from N(0, .02^2).
        initial_ID: initial rows instead, copied; row 0 is zeroed.
    """

    def __init__(
        self, num_items: int, dim: int, *, generator: torch.Generator, initial_ID: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        self.num_items, self.width = num_items, dim
        if initial_ID is None:
            self.table_ID = normal(num_items, dim, generator=generator)
        else:
            self.table_ID = nn.Parameter(initial_ID.detach().clone())
        with torch.no_grad():
            self.table_ID[0] = 0

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        return self.table_ID if index_N is None else functional.embedding(index_N, self.table_ID)


def candidate_dots(state_NW: torch.Tensor, table_IW: torch.Tensor, candidate_NS: torch.Tensor) -> torch.Tensor:
    """The dot product of every state with the rows of its own candidates, (N, S).

    On a CPU the rows are read where they stand, not gathered first: a third of the time (tests/benchmarks/adapters.py).

    Args:
        state_NW: states.
        table_IW: one row an item; gets a gradient where it wants one.
        candidate_NS: int64 rows of ``table_IW``.
    """
    if table_IW.device.type == "cpu":
        dots: torch.Tensor = _CandidateDots.apply(state_NW, table_IW, candidate_NS.contiguous())
        return dots
    return torch.bmm(functional.embedding(candidate_NS, table_IW), state_NW[:, :, None]).squeeze(2)


class _CandidateDots(torch.autograd.Function):
    """Dots by the kernels of ``embedding_bag``: of a sum of rows with weights, the weights' gradient is these dots.

    Its sum and its gradient by the rows are then the dots' gradients by state and by row.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        state_NW: torch.Tensor,
        table_IW: torch.Tensor,
        candidate_NS: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(state_NW, table_IW, candidate_NS)
        flat, start_N, row = _bags(candidate_NS)
        dots_B: torch.Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            state_NW, table_IW, flat, start_N, row, 0
        )
        return dots_B.view_as(candidate_NS)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_NS: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        state_NW, table_IW, candidate_NS = ctx.saved_tensors  # type: ignore[attr-defined]
        to_state, to_table, _ = ctx.needs_input_grad  # type: ignore[attr-defined]
        grad_state = grad_table = None
        if to_state:
            grad_state = functional.embedding_bag(candidate_NS, table_IW, per_sample_weights=grad_NS, mode="sum")
        if to_table:
            flat, _, row = _bags(candidate_NS)
            size_N = torch.full((len(candidate_NS),), candidate_NS.shape[1])
            nothing = torch.empty(0, dtype=torch.int64)
            grad_table = torch.ops.aten._embedding_bag_dense_backward(
                state_NW, flat, row, size_N, nothing, len(table_IW), False, 0, grad_NS.flatten(), -1
            )
        return grad_state, grad_table, None


def _bags(candidate_NS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Candidates one after another, where each state's begin, and whose each is."""
    rows, size = candidate_NS.shape
    row_N = torch.arange(rows)
    return candidate_NS.flatten(), row_N * size, row_N.repeat_interleave(size)


def all_scores(state_NW: torch.Tensor, table_IW: torch.Tensor, *, cosine: bool = False) -> torch.Tensor:
    """The score of every state with every item, (N, I): the dot product over sqrt(W), or the cosine.

    Column 0 (padding) means nothing.
    """
    if cosine:
        return functional.normalize(state_NW, dim=1) @ functional.normalize(table_IW, dim=1).T
    return (state_NW / math.sqrt(state_NW.shape[1])) @ table_IW.T
