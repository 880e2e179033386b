"""PAD's experts: each has item vectors and a backbone of its own. A gate weighs their scores by the scored item.

Experts side by side are one `Items` and one backbone again. Every backbone reads histories on its own columns. A
state's score with an item is the sum of the experts' dot products, each times the gate's weight (equation 11). That is
one dot product of the joined state with the item's joined vectors, each expert's columns times its weight.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from trainables.seqrec.evaluate import Score
from trainables.seqrec.items import IdItems, Items, TableLookup, all_scores
from trainables.seqrec.layers import Dropout, deep_linear
from trainables.seqrec.objectives import Backbone, after
from trainables.seqrec.recommend import FrozenItems

Gate = Callable[[Sequence[torch.Tensor], torch.Tensor], torch.Tensor]
"""From the experts' vectors (N, D) of some items, and the items' buckets (N,), to the experts' weights (N, E)."""


class FusedItems(nn.Module, Items):
    """The aligned expert's item vectors: GELU(Linear(dropout([ID, text]))), equation 9.

    Args:
        ids: item vectors of IDs, D columns.
        text: item vectors of text, D columns.
        dropout: rate before the fusion.
        generator: draws the fusion's initial weights.
    """

    computed = True

    def __init__(self, ids: IdItems, text: Items, *, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.num_items, self.width = ids.num_items, ids.width
        self.ids, self.text = ids, text
        self.fusion = deep_linear(ids.width + text.width, self.width, generator)
        self.dropout = Dropout(dropout)

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        both_NX = torch.cat([self.ids.rows(index_N), self.text.rows(index_N)], dim=1)
        return functional.gelu(self.fusion(self.dropout(both_NX)))


class JoinedItems(nn.Module, Items):
    """The item vectors of E experts side by side.

    Args:
        experts: item vectors of each, D columns.
        bucket_I: int64, the bucket of each item, 0 for padding.
        gate: weighs the experts; None scores with the sum of all.
    """

    computed = True
    bucket_I: torch.Tensor

    def __init__(self, experts: Sequence[Items], bucket_I: torch.Tensor, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)  # type: ignore[arg-type]
        self.num_items = experts[0].num_items
        self.width = sum(expert.width for expert in experts)
        self.gate = gate
        self.register_buffer("bucket_I", bucket_I, persistent=False)

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`; as histories read them, without the gate."""
        return torch.cat([expert.rows(index_N) for expert in self.experts], dim=1)  # type: ignore[operator]

    def lookup(self, needed_N: torch.Tensor | None = None) -> "JoinedLookup":
        """See :meth:`Items.lookup`."""
        read = Items.lookup(self, needed_N)
        assert isinstance(read, TableLookup)
        if self.gate is None:
            return JoinedLookup(read, read)
        bucket_N = self.bucket_I if read.index_N is None else self.bucket_I[read.index_N]
        vectors = read.table_ID.split([expert.width for expert in self.experts], dim=1)
        weight_NE = self.gate(vectors, bucket_N)
        scored = torch.cat([v * w[:, None] for v, w in zip(vectors, weight_NE.unbind(dim=1), strict=True)], dim=1)
        return JoinedLookup(read, TableLookup(scored, read.index_N, read.place_I))

    def tables(self) -> dict[str, torch.Tensor]:
        """The finished tables: what histories read, and what items are scored by, with the gate's weights."""
        with torch.inference_mode():
            lookup = self.lookup()
        scored = {} if lookup.scored is lookup.read else {"scored_IW": lookup.scored.table_ID}
        return {"read_IW": lookup.read.table_ID, **scored}


class JoinedLookup:
    """Item vectors that are read as they are and scored with the gate's weights.

    Args:
        read: what histories see.
        scored: what candidates are scored by.
    """

    def __init__(self, read: TableLookup, scored: TableLookup) -> None:
        self.read = read
        self.scored = scored

    def vectors(self, index: torch.Tensor) -> torch.Tensor:
        """See :meth:`Lookup.vectors`."""
        return self.read.vectors(index)

    def scores(self, state_NW: torch.Tensor, candidate_NS: torch.Tensor, *, cosine: bool = False) -> torch.Tensor:
        """See :meth:`Lookup.scores`."""
        return self.scored.scores(state_NW, candidate_NS, cosine=cosine)


class JoinedBackbone(nn.Module):
    """The backbones of E experts, each on its own columns.

    Args:
        experts: sequence encoders of D columns each.
    """

    def __init__(self, experts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)

    def forward(self, vectors_BLW: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The joined states at every position, (B, L, W)."""
        chunks = vectors_BLW.chunk(len(self.experts), dim=2)
        return torch.cat([expert(chunk, mask_BL) for expert, chunk in zip(self.experts, chunks, strict=True)], dim=2)

    def last(self, vectors_BLW: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The joined states after the newest item, (B, W)."""
        chunks = vectors_BLW.chunk(len(self.experts), dim=2)
        last = [expert.last(chunk, mask_BL) for expert, chunk in zip(self.experts, chunks, strict=True)]  # type: ignore[operator]
        return torch.cat(last, dim=1)


def gated_scores(items: JoinedItems, backbone: Backbone) -> Score:
    """A function that scores all items after a batch's histories. Item vectors and gate are computed here, once."""
    return frozen_scores(items.tables(), backbone)


def frozen_scores(tables: Mapping[str, torch.Tensor], backbone: Backbone) -> Score:
    """A function that scores all items after a batch's histories by :meth:`JoinedItems.tables`."""
    items = FrozenItems(tables["read_IW"])
    lookup, scored_IW = items.lookup(), tables.get("scored_IW", tables["read_IW"])
    return lambda batch: all_scores(after(items, backbone, lookup, batch.history_BL), scored_IW)
