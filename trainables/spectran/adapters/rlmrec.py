"""RLMRec: free ID embeddings whose training also matches them with the text (Ren et al., WWW 2024).

By default AlphaFuse's version: ``weight`` times 1 - mean cosine, over all items, of the ID vectors and an MLP of the
text (con), or of the text and an MLP of the ID vectors (gen). The original takes InfoNCE at temperature .2 instead
(``loss="info_nce"``); con contrasts the distinct items of the batch with each other.

The original's gen hides nodes of a graph behind a mask, so that an MLP restores their text from what the graph's other
nodes say. Here the history says it: of ``mask_ratio`` of the rows the target, which the history does not show, is
restored from the state after the history, against the other hidden targets' texts.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from trainables.data.batches import Batch
from trainables.seqrec.items import Items, Lookup
from trainables.seqrec.layers import linear, normal
from trainables.seqrec.text import scaled_linear
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients


class RLMRecItems(nn.Module, Items):
    """Free ID embeddings, and a second loss that ties them to the text.

    Args:
        text_IV: text vectors, float32, row 0 (padding) zero. Not part of the checkpoint.
        dim: D.
        objective: whether the MLP maps text to IDs (``con``) or IDs, or states, to text (``gen``).
        loss: how both sides are compared.
        weight: of the second loss.
        temperature: divides the cosines of ``info_nce``.
        mask_ratio: share of the rows whose target is hidden and restored, for ``gen`` with ``info_nce``.
        scale: what the text is multiplied by.
        generator: draws the initial weights.
    """

    text_IV: torch.Tensor

    def __init__(
        self,
        text_IV: torch.Tensor,
        *,
        dim: int,
        objective: Literal["con", "gen"] = "con",
        loss: Literal["cosine", "info_nce"] = "cosine",
        weight: float = 0.1,
        temperature: float = 0.2,
        mask_ratio: float = 0.1,
        scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, text_width = text_IV.shape
        self.width, self.scale = dim, scale
        self.objective, self.loss, self.weight = objective, loss, weight
        self.temperature, self.mask_ratio = temperature, mask_ratio
        self.register_buffer("text_IV", text_IV, persistent=False)
        self.table_ID = normal(self.num_items, dim, generator=generator)
        with torch.no_grad():
            self.table_ID[0] = 0
        inner = (text_width + dim) // 2
        ends = (text_width, dim) if objective == "con" else (dim, text_width)
        self.inner, self.outer = linear(ends[0], inner, generator), linear(inner, ends[1], generator)

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        return self.table_ID if index_N is None else functional.embedding(index_N, self.table_ID)

    def penalty(
        self, batch: Batch, lookup: Lookup, encode: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor | None:
        """See :meth:`Items.penalty`."""
        if self.loss == "cosine":
            given_NX, wanted_NX = self.pairs(slice(1, None))
            return self.weight * (1 - functional.cosine_similarity(given_NX, wanted_NX).mean())
        if self.objective == "con":
            item_N = torch.cat([batch.history_BL.flatten(), batch.target_B]).unique()
            given_NX, wanted_NX = self.pairs(item_N[item_N != 0])
        else:
            hidden_B = torch.rand(len(batch), device=batch.target_B.device) < self.mask_ratio
            if not hidden_B.any():
                return None
            given_NX = self._map(encode(batch.history_BL[hidden_B]), 1.0)
            wanted_NX = self.text_IV[batch.target_B[hidden_B]]
        return self.weight * in_batch_info_nce(given_NX, wanted_NX, temperature=self.temperature)

    def pairs(self, chosen: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
        """What is compared, for these items: ID vectors with the MLP's, (N, D), or the MLP's with text, (N, V)."""
        if self.objective == "con":
            return self.table_ID[chosen], self._map(self.text_IV[chosen], self.scale)
        return self._map(self.table_ID[chosen], 1.0), self.text_IV[chosen]

    def _map(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        mapped: torch.Tensor = self.outer(functional.leaky_relu(scaled_linear(x, self.inner, scale)))
        return mapped


def make(settings: config.RLMRec, on: Ingredients) -> RLMRecItems:
    """The items of ``adapter.name: rlmrec``."""
    return RLMRecItems(
        on.text_vectors,
        dim=on.dim,
        objective=settings.objective,
        loss=settings.loss,
        weight=settings.weight,
        temperature=settings.temperature,
        mask_ratio=settings.mask_ratio,
        scale=on.scale_to(settings.length),
        generator=on.generator,
    )


def in_batch_info_nce(given_NX: torch.Tensor, wanted_NX: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Mean of -log softmax of the cosine of each row with its own counterpart among its cosines with all of them."""
    cosine_NN = functional.normalize(given_NX, dim=1) @ functional.normalize(wanted_NX, dim=1).T
    own_N = torch.arange(len(cosine_NN), device=cosine_NN.device)
    return functional.cross_entropy(cosine_NN / temperature, own_N)
