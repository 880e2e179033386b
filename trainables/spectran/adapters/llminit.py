"""LLMInit: free ID embeddings that start from columns of the text vectors (Zhang et al., 2025).

The original keeps the D columns that vary most over the 20 % of items met most often (or evenly spaced, or random
ones), in their order; so does the paper's description, and so does the default. AlphaFuse's version starts from
whitened principal coordinates instead (``select="whitened"``). The entries of text vectors may be of any size (about
1/sqrt(V) where vectors have unit length), hence ``std``, which the original does not have. The item vectors are
:class:`trainables.seqrec.items.IdItems` with this start.
"""

from typing import Literal

import numpy as np
import torch

from trainables.seqrec.items import IdItems
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients, item_counts


def make(settings: config.LLMInit, on: Ingredients) -> IdItems:
    """The items of ``adapter.name: llminit``."""
    if settings.select == "pca" or settings.select == "whitened":  # `in` would narrow no type
        table_ID = on.coordinates(on.dim, whitened=settings.select == "whitened")
    else:
        table_ID = start_table(
            on.text["vectors"],
            dim=on.dim,
            select=settings.select,
            count_I=item_counts(on.sequences, on.train),
            share=settings.share,
            generator=on.generator,
        )
    initial_ID = torch.from_numpy(rescaled(table_ID, settings.std))
    return IdItems(on.sequences.num_items, on.dim, generator=on.generator, initial_ID=initial_ID)


def start_table(
    vectors_IV: np.ndarray,
    *,
    dim: int,
    select: Literal["variance", "even", "random"],
    count_I: np.ndarray,
    share: float = 0.2,
    generator: torch.Generator,
) -> np.ndarray:
    """``dim`` columns of the text vectors, (I, D), in their order.

    Args:
        vectors_IV: text vectors, row 0 (padding) zero.
        dim: D, at most V.
        select: columns of largest variance, evenly spaced from the first to the last, or drawn at random.
        count_I: how often training meets each item.
        share: share of the items, the most met ones, that ``variance`` looks at; equally met ones by their number.
        generator: draws for ``random``.

    Raises:
        ValueError: the text has fewer than ``dim`` columns.
    """
    text_width = vectors_IV.shape[1]
    if dim > text_width:
        raise ValueError(
            f"dim must be at most the width of the text vectors, but got dim {dim} and width {text_width}; "
            "lower dim or use wider text vectors (data.text, data.text_width)"
        )
    if select == "variance":
        column_D = widest_columns(vectors_IV, dim, most_frequent(count_I, share))
    elif select == "even":
        column_D = np.linspace(0, text_width - 1, dim).round().astype(np.int64)
    else:
        column_D = torch.randperm(text_width, generator=generator)[:dim].sort().values.numpy()
    return np.asarray(vectors_IV[:, column_D])


def most_frequent(count_I: np.ndarray, share: float) -> np.ndarray:
    """The items that hold this share of all items' number, those met most often first; at least one."""
    order = np.argsort(-count_I[1:], kind="stable") + 1
    return order[: max(1, int(np.ceil(share * len(order))))]


def widest_columns(vectors_IV: np.ndarray, dim: int, item_N: np.ndarray) -> np.ndarray:
    """The ``dim`` columns of largest variance over the items ``item_N``, in ascending order."""
    variance_V = np.asarray(vectors_IV[item_N], dtype=np.float64).var(axis=0)
    return np.sort(np.argsort(-variance_V, kind="stable")[:dim])


def rescaled(table_ID: np.ndarray, std: float | None) -> np.ndarray:
    """``table_ID`` times what gives its entries, padding's left out, this standard deviation; None leaves it be."""
    return table_ID if std is None else (table_ID * (std / table_ID[1:].std())).astype(np.float32)
