"""AlphaFuse: frozen whitened text, and IDs learned in its weakest dimensions (Hu et al., SIGIR 2025).

As the released code has it: the text minus its mean, along its D strongest principal directions, each scaled to the
same variance; the "null space" is the weakest ``null_width`` of these D, and the ID embeddings are added there, or
stand in their place (``cover``). The released code trains with cosine scores; here scores are the objective's.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.data.text import row_blocks
from trainables.seqrec.items import Items
from trainables.seqrec.layers import normal
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients, first_columns, item_counts
from trainables.spectran.spectrum import centred, has_text, principal_directions, total, vanishing
from trainables.storage.stages import Arrays, stage


class AlphaFuseItems(nn.Module, Items):
    """E_item = frozen text + [0, IDs], or [frozen text, IDs].

    Args:
        frozen_IC: standardised text, the strongest direction first, row 0 (padding) zero; D columns, or D - null_width
            with ``cover``. Not part of the checkpoint.
        null_width: columns of the ID embeddings.
        start: ID embeddings at the start, zero or from N(0, .02^2).
        cover: whether the IDs are the last columns instead of being added onto them.
        generator: draws the ID embeddings.
    """

    frozen_IC: torch.Tensor

    def __init__(
        self,
        frozen_IC: torch.Tensor,
        *,
        null_width: int = 64,
        start: Literal["zeros", "normal"] = "zeros",
        cover: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, columns = frozen_IC.shape
        self.width = columns + null_width if cover else columns
        self.register_buffer("frozen_IC", frozen_IC, persistent=False)
        self.id_IZ = normal(self.num_items, null_width, generator=generator)
        with torch.no_grad():
            self.id_IZ[0 if start == "normal" else slice(None)] = 0

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        frozen_NC, id_NZ = (
            x if index_N is None else functional.embedding(index_N, x, padding_idx=0)
            for x in (self.frozen_IC, self.id_IZ)
        )
        kept = self.width - id_NZ.shape[1]
        if kept < frozen_NC.shape[1]:
            id_NZ = frozen_NC[:, kept:] + id_NZ
        return torch.cat([frozen_NC[:, :kept], id_NZ], dim=1)


def make(settings: config.AlphaFuse, on: Ingredients) -> AlphaFuseItems:
    """The items of ``adapter.name: alphafuse``."""
    columns = on.dim - settings.null_width if settings.cover else on.dim
    if settings.weighted:
        inputs = {"text": on.text, "met": item_counts(on.sequences, on.train).tolist()}
        frozen_IC = first_columns(on.stages.get(weighted_coordinates, inputs)["coordinates_IR"], columns)
    else:
        frozen_IC = on.coordinates(columns, whitened=True)
    return AlphaFuseItems(
        torch.from_numpy(frozen_IC * np.float32(settings.std)),
        null_width=settings.null_width,
        start=settings.start,
        cover=settings.cover,
        generator=on.generator,
    )


@stage(version=4)
def weighted_coordinates(text: Mapping[str, np.ndarray], met: Sequence[int]) -> Arrays:
    """Stage: :func:`standardise` of the text stage's ``vectors``, all directions, each item counted ``met`` times."""
    return {"coordinates_IR": standardise(text["vectors"], np.asarray(met, dtype=np.float64))}


def standardise(vectors_IV: np.ndarray, count_I: np.ndarray) -> np.ndarray:
    """Principal coordinates under weighted mean and covariance, each of unit weighted variance; float32 (I, R).

    The released code centres the weighted rows a second time and divides by the number of items, which turns the
    directions a little and stretches all coordinates alike.

    Args:
        vectors_IV: text vectors, row 0 (padding) and other zero rows left out; these stay zero.
        count_I: weight of each item, at least 0; of those with text not all 0.
    """
    weight_N = count_I[1:] * has_text(vectors_IV)
    weight_I = np.concatenate([[0], weight_N / weight_N.sum()])
    blocks = list(row_blocks(vectors_IV))
    mean_V = total(weight_I[rows] @ np.asarray(vectors_IV[rows], dtype=np.float64) for rows in blocks)
    parts = ((weight_I[rows, None], centred(vectors_IV, rows, mean_V)) for rows in blocks)
    covariance_VV = total((item_NV * weight_N1).T @ item_NV for weight_N1, item_NV in parts)
    eigenvalue_V, direction_VV = principal_directions(covariance_VV)
    rank = int(np.sum(eigenvalue_V > eigenvalue_V[0] * vanishing(len(eigenvalue_V)) ** 2))
    coordinates_IR = np.zeros((len(vectors_IV), rank), np.float32)
    matrix_VR = direction_VV[:, :rank] / np.sqrt(eigenvalue_V[:rank])
    for rows in blocks:
        coordinates_IR[rows] = centred(vectors_IV, rows, mean_V) @ matrix_VR
    return coordinates_IR
