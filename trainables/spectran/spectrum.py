"""The spectrum of the text vectors, as a stage: E_LLM = U Sigma V^T (SpecTran §2.2.2), shared by all trials."""

from collections.abc import Mapping

import numpy as np

from trainables.data import synthetic
from trainables.data import text as texts
from trainables.data.config import Data
from trainables.stages import Arrays, stage


@stage(version=1)
def spectrum(text: Mapping[str, np.ndarray], center: bool, normalise: bool) -> Arrays:
    """Stage: :func:`decompose` of the text stage's ``vectors``, (I, V) with a padding row 0."""
    left_IR, singular_R = decompose(text["vectors"], center=center, normalise=normalise)
    return {"left_IR": left_IR, "singular_R": singular_R}


def decompose(vectors_IV: np.ndarray, *, center: bool, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors U and singular values of the items' text vectors.

    The paper leaves centring and scaling open. Rows of unit length bound the singular values, and with them the item
    vectors' size; they rank clearly better on validation, centred or not (README).

    Args:
        vectors_IV: text vectors, row 0 (padding) left out of the decomposition.
        center: subtract the mean of the items' vectors first.
        normalise: then give every item's vector unit length; a zero vector stays zero.

    Returns:
        ``left_IR`` float32 (I, R), row 0 zero, columns orthonormal, each column's largest entry positive;
        ``singular_R`` float32 (R,), descending. R is the numerical rank in float32: directions whose singular value
        vanishes carry no text and are cut.
    """
    item_V = np.asarray(vectors_IV[1:], dtype=np.float64)
    if center:
        item_V = item_V - item_V.mean(axis=0)
    if normalise:
        length = np.linalg.norm(item_V, axis=1, keepdims=True)
        item_V = np.divide(item_V, length, out=np.zeros_like(item_V), where=length > 0)
    left, singular, _ = np.linalg.svd(item_V, full_matrices=False)
    rank = int(np.sum(singular > singular[0] * max(item_V.shape) * np.finfo(np.float32).eps))
    left, singular = left[:, :rank], singular[:rank]
    largest = left[np.abs(left).argmax(axis=0), np.arange(rank)]
    left = np.concatenate([np.zeros((1, rank)), left * np.where(largest < 0, -1.0, 1.0)])
    return left.astype(np.float32), singular.astype(np.float32)


def largest_rank(data: Data, *, center: bool) -> int | None:
    """The most components that the text vectors of ``data`` can have, from their shape alone; None if unknown."""
    if data.text == texts.TFIDF:
        items = synthetic.ITEMS if data.name == synthetic.NAME else None
        width = data.text_width
    elif data.text.endswith(".npy"):
        items, width = np.load(texts.locate_vectors(data), mmap_mode="r").shape
    else:
        return None
    return width if items is None else min(width, items - center)
