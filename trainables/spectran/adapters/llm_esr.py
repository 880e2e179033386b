"""LLM-ESR: every item in two views, IDs and text, read by one encoder and joined (Liu et al., NeurIPS 2024).

The ID view starts from the text's first D principal coordinates; the text view is Linear V -> V/2 -> D without
activation. Two cross-attentions (two heads) give each stream its values and take the queries from the other; the shared
encoder reads both, and states and item vectors are the two views side by side, 2 D columns. Two extra losses:

* alignment: contrasts the two views of the batch's items with each other, with the views' own similarities as targets;
  AlphaFuse's version has it with weight .1, the default; it is optional in the original and off there;
* distillation: squared distance of a user's state to the mean state, held fixed, of the N users most like her; weight
  .1 in the original, 0 here: AlphaFuse's version has none, and in the paper's Table 5 this method trains as fast as
  RLMRec, which the states of ten more users per row would not allow.

The original finds similar users by language embeddings of prompts about them. Here a user is the mean of the text
vectors of her training history. The original adds positions before the cross-attention too; here the encoder alone has
them. AlphaFuse's version feeds the text view into both streams, an oversight that is not repeated.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.data.batches import Batch
from trainables.seqrec.items import Encoder, Items, Lookup
from trainables.seqrec.layers import linear
from trainables.seqrec.text import mean_length, scaled_linear
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients, last_rows
from trainables.storage.stages import Arrays, stage

HEADS = 2
_USERS_AT_ONCE = 512


class LLMESRItems(nn.Module, Items):
    """E_item = [IDs, MLP(text)], 2 D columns; the vector of index 0 is zero.

    Args:
        text_IV: text vectors, float32, row 0 (padding) zero. Not part of the checkpoint.
        initial_ID: what the ID embeddings start from.
        alignment: weight of the loss between both views; 0 leaves it out.
        distillation: weight of the distance to similar users; 0 leaves it out.
        history_UL: a training history of each user, for the distillation; a user without one has zeros.
        similar_UN: int64, each user's similar users.
        scale: what the text is multiplied by.
        generator: draws the initial weights.
    """

    computed = True
    text_IV: torch.Tensor
    history_UL: torch.Tensor | None
    similar_UN: torch.Tensor | None

    def __init__(
        self,
        text_IV: torch.Tensor,
        initial_ID: torch.Tensor,
        *,
        alignment: float = 0.1,
        distillation: float = 0.0,
        history_UL: torch.Tensor | None = None,
        similar_UN: torch.Tensor | None = None,
        scale: float = 1.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, dim = initial_ID.shape
        text_width = text_IV.shape[1]
        self.width, self.scale = 2 * dim, scale
        self.alignment, self.distillation = alignment, distillation
        self.register_buffer("text_IV", text_IV, persistent=False)
        self.register_buffer("history_UL", history_UL, persistent=False)
        self.register_buffer("similar_UN", similar_UN, persistent=False)
        self.id_ID = nn.Parameter(initial_ID.detach().clone())
        with torch.no_grad():
            self.id_ID[0] = 0
        self.inner = linear(text_width, text_width // 2, generator)
        self.outer = linear(text_width // 2, dim, generator)
        self.to_id, self.to_text = CrossAttention(dim, generator), CrossAttention(dim, generator)

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`; ID columns first."""
        id_ND: torch.Tensor = self.id_ID
        text_NV = self.text_IV
        if index_N is None:
            index_N = torch.arange(self.num_items, device=id_ND.device)
        else:
            id_ND, text_NV = functional.embedding(index_N, id_ND, padding_idx=0), text_NV[index_N]
        text_ND = self.outer(scaled_linear(text_NV, self.inner, self.scale))
        return torch.cat([id_ND, text_ND], dim=1).masked_fill((index_N == 0)[:, None], 0)

    def lookup(self, needed_N: torch.Tensor | None = None) -> Lookup:
        """See :meth:`Items.lookup`; similar users may have met any item."""
        return Items.lookup(self, None if self.training and self.distillation else needed_N)

    def encode(self, encoder: Encoder, vectors_BLW: torch.Tensor, held_BL: torch.Tensor) -> torch.Tensor:
        """See :meth:`Items.encode`. Attention sees neither padding nor masked positions, whose vectors are zero."""
        return attended(self.to_id, self.to_text, encoder, vectors_BLW, held_BL)

    def penalty(
        self, batch: Batch, lookup: Lookup, encode: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor | None:
        """See :meth:`Items.penalty`."""
        losses = []
        if self.alignment:
            item_N = batch.history_BL.unique()
            id_ND, text_ND = lookup.vectors(item_N[item_N != 0]).chunk(2, dim=1)
            losses.append(self.alignment * alignment(text_ND, id_ND))
        if self.distillation and self.similar_UN is not None and self.history_UL is not None:
            history_BNL = self.history_UL[self.similar_UN[batch.user_B]]
            with torch.no_grad():
                state_BNW = encode(history_BNL.flatten(0, 1)).view(*history_BNL.shape[:2], -1)
            losses.append(self.distillation * functional.mse_loss(encode(batch.history_BL), state_BNW.mean(dim=1)))
        return sum(losses[1:], losses[0]) if losses else None


def attended(
    to_id: nn.Module, to_text: nn.Module, encoder: Encoder, vectors_BLW: torch.Tensor, held_BL: torch.Tensor
) -> torch.Tensor:
    """States (N, W) of both streams, each after attention on the other; see :meth:`LLMESRItems.encode`."""
    key_BL = held_BL & (vectors_BLW.detach() != 0).any(dim=2)
    id_BLD, text_BLD = vectors_BLW.chunk(2, dim=2)
    streams = to_id(text_BLD, id_BLD, key_BL), to_text(id_BLD, text_BLD, key_BL)
    return torch.cat([encoder(stream_BLD) for stream_BLD in streams], dim=1)


class Streams(nn.Module):
    """The two attentions alone, for item vectors that are finished.

    Args:
        dim: columns of each stream.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_id, self.to_text = (CrossAttention(dim, torch.Generator()) for _ in range(2))

    def encode(self, encoder: Encoder, vectors_BLW: torch.Tensor, held_BL: torch.Tensor) -> torch.Tensor:
        """See :meth:`LLMESRItems.encode`."""
        return attended(self.to_id, self.to_text, encoder, vectors_BLW, held_BL)


def make(settings: config.LLMESR, on: Ingredients) -> LLMESRItems:
    """The items of ``adapter.name: llm_esr``."""
    length = mean_length(on.text["vectors"])
    history_UL = similar_UN = None
    if settings.distillation:
        last = last_rows(on.train)
        users, history = on.train.user_N[last], on.train.history_NL[last]
        inputs = {"text": on.text, "history": history.tolist(), "count": settings.similar_users}
        similar = on.stages.get(similar_users, inputs)["similar_UN"]
        history_UL = torch.zeros(on.sequences.num_users, history.shape[1], dtype=torch.int64)
        history_UL[users] = torch.from_numpy(history).long()
        similar_UN = torch.zeros(on.sequences.num_users, similar.shape[1], dtype=torch.int64)
        similar_UN[users] = torch.from_numpy(users[similar]).long()
    return LLMESRItems(
        on.text_vectors,
        torch.from_numpy(on.coordinates(on.dim) / np.float32(length)),
        alignment=settings.alignment,
        distillation=settings.distillation,
        history_UL=history_UL,
        similar_UN=similar_UN,
        scale=settings.length / length,
        generator=on.generator,
    )


class CrossAttention(nn.Module):
    """Attention of one sequence on another of the same length: no position, no bias but the output's.

    Args:
        dim: D, even.
        generator: draws the initial weights.
    """

    def __init__(self, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (linear(dim, dim, generator) for _ in range(4))
        for layer in (self.query, self.key, self.value):
            layer.register_parameter("bias", None)

    def forward(self, asking_BLD: torch.Tensor, asked_BLD: torch.Tensor, key_BL: torch.Tensor) -> torch.Tensor:
        """Context of each position from the positions ``key_BL``, (B, L, D). The output's bias where there are none.

        Args:
            asking_BLD: where the queries come from.
            asked_BLD: where keys and values come from.
            key_BL: bool, positions that may be seen.
        """
        rows, length, dim = asking_BLD.shape
        q_BHLC, k_BHLC, v_BHLC = (
            x_BLD.view(rows, length, HEADS, dim // HEADS).transpose(1, 2)
            for x_BLD in (self.query(asking_BLD), self.key(asked_BLD), self.value(asked_BLD))
        )
        key_B11L = key_BL[:, None, None, :]
        score_BHLL = (q_BHLC @ k_BHLC.transpose(2, 3)) / math.sqrt(dim // HEADS)
        weight_BHLL = score_BHLL.masked_fill(~key_B11L, -1e9).softmax(dim=3).masked_fill(~key_B11L, 0)
        context_BHLC = weight_BHLL @ v_BHLC
        out_BLD: torch.Tensor = self.out(context_BHLC.transpose(1, 2).flatten(2))
        return out_BLD


def alignment(text_ND: torch.Tensor, id_ND: torch.Tensor) -> torch.Tensor:
    """Contrastive loss of two views of N items, with soft targets: how alike the items are in the mean of both."""
    score_NN = text_ND @ id_ND.T
    target_NN = ((text_ND @ text_ND.T + id_ND @ id_ND.T) / 2).softmax(dim=1)
    by_text_N = (target_NN * score_NN.log_softmax(dim=1)).sum(dim=1)
    by_id_N = (target_NN * score_NN.log_softmax(dim=0)).sum(dim=0)
    return -(by_text_N + by_id_N).mean() / 2


@stage(version=1)
def similar_users(text: Mapping[str, np.ndarray], history: Sequence[Sequence[int]], count: int) -> Arrays:
    """Stage: :func:`most_similar` of users by their histories and the text stage's ``vectors``, as ``similar_UN``."""
    return {"similar_UN": most_similar(text["vectors"], np.asarray(history, dtype=np.int64), count)}


def most_similar(vectors_IV: np.ndarray, history_UL: np.ndarray, count: int) -> np.ndarray:
    """Each user's ``count`` most similar others, the most similar first: int64 (U, N); all others where they are fewer.

    A user is the mean of the text vectors of her history; similar is a large cosine.

    Args:
        vectors_IV: text vectors, row 0 (padding) zero.
        history_UL: items of each user, 0 at padding.
        count: N.
    """
    users, count = len(history_UL), min(count, len(history_UL) - 1)
    blocks = [slice(start, start + _USERS_AT_ONCE) for start in range(0, users, _USERS_AT_ONCE)]
    user_UV = np.concatenate([np.asarray(vectors_IV)[history_UL[block]].sum(axis=1) for block in blocks])
    length_U1 = np.linalg.norm(user_UV, axis=1, keepdims=True)
    user_UV = np.divide(user_UV, length_U1, out=np.zeros_like(user_UV), where=length_U1 > 0)
    similar_UN = np.empty((users, count), np.int64)
    for block in blocks:
        cosine_BU = user_UV[block] @ user_UV.T
        own_B = np.arange(len(cosine_BU))
        cosine_BU[own_B, own_B + block.start] = -np.inf
        nearest_BN = (
            np.argpartition(-cosine_BU, count - 1, axis=1)[:, :count] if count else np.empty((len(own_B), 0), int)
        )
        order_BN = np.argsort(-np.take_along_axis(cosine_BU, nearest_BN, axis=1), axis=1, kind="stable")
        similar_UN[block] = np.take_along_axis(nearest_BN, order_BN, axis=1)
    return similar_UN
