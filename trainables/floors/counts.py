"""Scores from counts alone: occurrences of each item, and transitions from one item to the next.

No paper: these are the floors that a learned model has to beat. Only training parts are counted, from a user's first
kept interaction to the last training target. Under `leave_one_out` that is all but the last two of each user. Under
`users` it is all of the training users, under `time` all before the cut of users who have a training window. A model
trained on these rows sees the same interactions, as history or as target.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from trainables.data.sequences import Sequences
from trainables.data.splits import Rows, training_counts, training_pairs

_LEAST = 1e-9
"""Shares that a long window decays to less than this are no more than a tie."""


@dataclass(frozen=True)
class Counts:
    """Counts of the training parts, over I items."""

    taken_I: np.ndarray
    """int64, occurrences of each item."""
    follows_II: sparse.csr_array
    """float64, ``follows[a, b]``: how often b came right after a, as a share of a's occurrences."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The counts as tensors by name."""
        follows = self.follows_II
        arrays = {"taken_I": self.taken_I, "data": follows.data, "indices": follows.indices, "indptr": follows.indptr}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> "Counts":
        """The counts that :meth:`tensors` gave."""
        taken_I, *parts = (tensors[name].cpu().numpy() for name in ("taken_I", "data", "indices", "indptr"))
        return cls(taken_I=taken_I, follows_II=sparse.csr_array(tuple(parts), shape=(len(taken_I), len(taken_I))))


def count(sequences: Sequences, train: Rows) -> Counts:
    """Count items and adjacent pairs in every user's training part, without a loop over users.

    Args:
        sequences: all interactions.
        train: the training rows; whether there is one a user or one for every prefix makes no difference.
    """
    size, taken_I = sequences.num_items, training_counts(sequences, train)
    before, after = training_pairs(sequences, train)
    shares = 1.0 / taken_I[before]
    follows_II = sparse.csr_array((shares, (before, after)), shape=(size, size))  # repeated pairs add up
    return Counts(taken_I=taken_I, follows_II=follows_II)


def popularity_scores(counts: Counts, rows: int) -> np.ndarray:
    """(``rows``, I) float64 scores: how often each item was taken, the same for everyone."""
    return np.tile(counts.taken_I.astype(np.float64), (rows, 1))


def transition_scores(counts: Counts, history_BL: np.ndarray, window: int, decay: float) -> np.ndarray:
    """(B, I) float64 scores: decayed shares of what followed the newest items, and a little popularity.

    The item that stands ``age`` steps back (the newest: 0) adds ``decay**age * follows[item]``. Popularity is scaled to
    below half the smallest share, so that it orders what no transition reaches and what transitions leave tied; but
    not below :data:`_LEAST` / 2, or adding it to a share would change nothing.

    Args:
        counts: of the training parts.
        history_BL: int item numbers, left-padded with 0.
        window: how many of the newest items add to the scores.
        decay: weight of an item relative to the next newer one, in (0, 1].
    """
    newest_BW = history_BL[:, -window:]
    rows, width = newest_BW.shape
    weight_BW = decay ** np.arange(width)[::-1] * (newest_BW > 0)
    shape = (rows, len(counts.taken_I))
    history_BI = sparse.csr_array((weight_BW.ravel(), (np.repeat(np.arange(rows), width), newest_BW.ravel())), shape)
    smallest = max(counts.follows_II.data.min(initial=1.0) * decay ** (width - 1), _LEAST)
    fill_I = counts.taken_I * (smallest / 2 / max(counts.taken_I.max(), 1))
    score_BI: np.ndarray = (history_BI @ counts.follows_II).toarray() + fill_I
    return score_BI
