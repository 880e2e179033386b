"""The spectrum of the text vectors, as a stage: E_LLM = U Sigma V^T (SpecTran §2.2.2), shared by all trials."""

import functools
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from trainables.data import synthetic
from trainables.data import text as texts
from trainables.data.config import Data
from trainables.data.text import row_blocks
from trainables.storage.arrays import open_array
from trainables.storage.stages import Arrays, stage


@stage(version=5)
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
        center: subtract the mean of the items' vectors first. A zero vector, of an item without words, is no part of
            the mean and stays zero.
        normalise: then give every item's vector unit length; a zero vector stays zero.

    Returns:
        ``left_IR`` float32 (I, R), row 0 zero, columns orthonormal, each column's largest entry positive;
        ``singular_R`` float32 (R,), descending. R is the numerical rank: directions whose singular value is at most
        :func:`vanishing` carry no text and are cut.
    """
    held_N = has_text(vectors_IV)
    mean_V = mean_text(vectors_IV, held_N) if center else None

    def prepared(rows: slice) -> np.ndarray:
        item_NV = centred(vectors_IV, rows, mean_V)
        if normalise:
            length = np.linalg.norm(item_NV, axis=1, keepdims=True)
            np.divide(item_NV, length, out=item_NV, where=length > 0)
        return item_NV

    # The smaller Gram matrix in float64 gives what float32 can tell of the SVD for a tenth of its time and memory.
    items, width = len(held_N), vectors_IV.shape[1]
    if items < width:
        item_NV = prepared(slice(1, None))
        square, basis = principal_directions(item_NV @ item_NV.T)
    else:
        grams = (item_NV.T @ item_NV for item_NV in map(prepared, row_blocks(vectors_IV)))
        square, basis = principal_directions(total(grams))
    singular = np.sqrt(np.maximum(square, 0))
    rank = int(np.sum(singular > singular[0] * vanishing(width)))
    singular, basis = singular[:rank], basis[:, :rank]
    left_IR = np.zeros((items + 1, rank), np.float32)
    if items < width:
        left_IR[1:] = basis
    else:
        _project(vectors_IV, prepared, basis / singular, left_IR)
    left_IR[1:][~held_N] = 0  # of few items these are basis vectors, zero but for rounding
    return left_IR, singular.astype(np.float32)


def _project(
    vectors_IV: np.ndarray, prepared: Callable[[slice], np.ndarray], direction_VR: np.ndarray, out_IR: np.ndarray
) -> None:
    """Write the prepared rows times the directions, each column's largest entry positive."""
    largest_R = np.zeros(direction_VR.shape[1])
    for rows in row_blocks(vectors_IV):
        left_NR = prepared(rows) @ direction_VR
        out_IR[rows] = left_NR
        largest_R = largest(np.stack([largest_R, largest(left_NR)]))
    out_IR[1:] *= np.where(largest_R < 0, np.float32(-1), np.float32(1))


def principal_directions(gram_VV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (V,) of a Gram or covariance matrix, the largest first, and its eigenvectors, columns of (V, V).

    Each column's largest entry is positive: one sign, whatever the machine.
    """
    eigenvalue_V, direction_VV = np.linalg.eigh(gram_VV)
    eigenvalue_V, direction_VV = eigenvalue_V[::-1], direction_VV[:, ::-1]
    return eigenvalue_V, direction_VV * np.where(largest(direction_VV) < 0, -1.0, 1.0)


def largest(columns_NR: np.ndarray) -> np.ndarray:
    """The entry of each column that is the farthest from 0, (R,); the first of equals."""
    entry_R: np.ndarray = columns_NR[np.abs(columns_NR).argmax(axis=0), np.arange(columns_NR.shape[1])]
    return entry_R


def vanishing(width: int) -> float:
    """The share of the largest singular value that rounding may leave of a direction which ``width`` columns lack.

    Rounding to float32 leaves well below ``eps * sqrt(width)`` (1e-8 of MiniLM's 384 columns), and a Gram matrix in
    float64 adds nothing to it. The share does not grow with the number of items: a weak direction of many is text.
    """
    tolerance: float = max(1e-6, float(np.finfo(np.float32).eps) * width**0.5)
    return tolerance


def mean_text(vectors_IV: np.ndarray, held_N: np.ndarray) -> np.ndarray:
    """The mean text vector of the items with text, which :func:`has_text` tells, float64 (V,)."""
    sums = (np.array(vectors_IV[rows], dtype=np.float64).sum(axis=0) for rows in row_blocks(vectors_IV))
    mean_V: np.ndarray = total(sums) / max(held_N.sum(), 1)
    return mean_V


def centred(vectors_IV: np.ndarray, rows: slice, mean_V: np.ndarray | None) -> np.ndarray:
    """Text vectors ``rows`` minus the mean, if there is one, in float64; those of items without text stay zero."""
    item_NV = np.array(vectors_IV[rows], dtype=np.float64)
    if mean_V is not None:
        held_N = item_NV.any(axis=1)
        item_NV -= mean_V
        item_NV[~held_N] = 0
    return item_NV


def total(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays of one shape, at least one."""
    return functools.reduce(np.add, parts)


def has_text(vectors_IV: np.ndarray) -> np.ndarray:
    """Mask of the items, padding left out, whose text vector is not zero, bool (I - 1,)."""
    return np.concatenate([np.asarray(vectors_IV[rows]).any(axis=1) for rows in row_blocks(vectors_IV)])


def largest_rank(data: Data, *, center: bool) -> int | None:
    """The most components that the text vectors of ``data`` can have, from their shape alone; None if unknown."""
    items, width = text_shape(data)
    if items is None or width is None:
        return width
    return min(width, items - center)


def text_width(data: Data) -> int | None:
    """The most columns that the text vectors of ``data`` can have, without reading them; None if unknown."""
    return text_shape(data)[1]


def text_shape(data: Data) -> tuple[int | None, int | None]:
    """Rows (items without padding) and most columns of the text vectors of ``data``, None for what is unknown."""
    if data.text == texts.TFIDF:
        return synthetic.ITEMS if data.name == synthetic.NAME else None, data.text_width
    if data.text.endswith(".npy"):
        items, width = open_array(texts.locate_vectors(data)).shape
        return items, width
    return None, None
