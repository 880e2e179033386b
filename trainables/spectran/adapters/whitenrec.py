"""WhitenRec: a dense projection of whitened frozen text, without IDs (Zhang et al., ICDE 2024).

By default AlphaFuse's version: coordinates along the principal directions, each of unit variance, then Linear + GELU.
The original turns them back into the text's own directions (ZCA); its "+" variant averages, behind one projection, the
full whitening and one of ``groups`` groups of neighbouring dimensions, each group apart. Eigenvalues are floored, so
that directions without variance, as with fewer items than dimensions, stay zero instead of growing without bound.
"""

import functools
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import nn

from trainables.data.text import row_blocks
from trainables.seqrec.items import Items
from trainables.seqrec.text import Projection, mapped
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients
from trainables.spectran.spectrum import centred, has_text, mean_text, principal_directions
from trainables.storage.stages import Arrays, stage


class WhitenRecItems(nn.Module, Items):
    """E_item = GELU(Linear(whitened text)), averaged over one or two whitenings.

    Args:
        whitened_IV: what :func:`whiten` makes of the text, row 0 (padding) zero. Not part of the checkpoint.
        grouped_IV: the same text whitened by groups, of the same width; None for none.
        dim: D.
        layers: Linear + GELU layers.
        generator: draws the initial weights.
    """

    computed = True
    whitened_IV: torch.Tensor
    grouped_IV: torch.Tensor | None

    def __init__(
        self,
        whitened_IV: torch.Tensor,
        grouped_IV: torch.Tensor | None = None,
        *,
        dim: int,
        layers: int = 1,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, text_width = whitened_IV.shape
        self.width = dim
        self.register_buffer("whitened_IV", whitened_IV, persistent=False)
        self.register_buffer("grouped_IV", grouped_IV, persistent=False)
        self.project = Projection(text_width, dim, layers=layers, generator=generator)

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        whitenings = [x_IV for x_IV in (self.whitened_IV, self.grouped_IV) if x_IV is not None]
        read = [x_IV if index_N is None else x_IV[index_N] for x_IV in whitenings]
        projected: list[torch.Tensor] = [self.project(x_IV) for x_IV in read]
        return projected[0] if len(projected) == 1 else (projected[0] + projected[1]) / 2


def make(settings: config.WhitenRec, on: Ingredients) -> WhitenRecItems:
    """The items of ``adapter.name: whitenrec``."""

    def whitened(groups: int) -> torch.Tensor:
        inputs = {"text": on.text, "rotation": settings.rotation, "groups": groups, "floor": settings.floor}
        return mapped(on.stages.get(whitening, inputs)["whitened_IV"])

    return WhitenRecItems(
        whitened(1),
        whitened(settings.groups) if settings.groups > 1 else None,
        dim=on.dim,
        layers=settings.layers,
        generator=on.generator,
    )


@stage(version=3)
def whitening(text: Mapping[str, np.ndarray], rotation: Literal["pca", "zca"], groups: int, floor: float) -> Arrays:
    """Stage: :func:`whiten` of the text stage's ``vectors``, as ``whitened_IV``."""
    return {"whitened_IV": whiten(text["vectors"], rotation=rotation, groups=groups, floor=floor)}


def whiten(
    vectors_IV: np.ndarray, *, rotation: Literal["pca", "zca"], groups: int = 1, floor: float = 1e-5
) -> np.ndarray:
    """The text with identity covariance, float32 (I, V), row 0 (padding) zero, as is that of an item without text.

    Args:
        vectors_IV: text vectors, row 0 and other zero rows left out of mean and covariance.
        rotation: ``pca`` leaves coordinates along principal directions, the strongest first; ``zca`` turns them back.
        groups: how many groups of neighbouring dimensions are whitened, each apart; sizes differ by one at most.
        floor: least eigenvalue, as a share of the largest of its group. Weaker directions keep less than unit variance.
    """
    held_N = has_text(vectors_IV)
    mean_V, count = mean_text(vectors_IV, held_N), max(held_N.sum(), 1)

    def parts(rows: slice) -> list[np.ndarray]:
        return np.array_split(centred(vectors_IV, rows, mean_V), groups, axis=1)

    matrices = []
    grams = ([part.T @ part for part in parts(rows)] for rows in row_blocks(vectors_IV))
    for gram_GG in functools.reduce(_added, grams):
        eigenvalue_G, direction_GG = principal_directions(gram_GG / count)
        least = max(eigenvalue_G[0] * floor, np.finfo(np.float64).tiny)
        matrix_GG = direction_GG / np.sqrt(np.maximum(eigenvalue_G, least))
        matrices.append(matrix_GG if rotation == "pca" else matrix_GG @ direction_GG.T)
    whitened_IV = np.zeros(vectors_IV.shape, np.float32)
    for rows in row_blocks(vectors_IV):
        turned = [part @ matrix_GG for part, matrix_GG in zip(parts(rows), matrices, strict=True)]
        whitened_IV[rows] = np.concatenate(turned, axis=1)
    return whitened_IV


def _added(first: list[np.ndarray], second: list[np.ndarray]) -> list[np.ndarray]:
    return [one + other for one, other in zip(first, second, strict=True)]
