"""Leave-one-out: the last item of every user is the test target, the one before validates, the rest trains.

The reading of SpecTran's protocol that its printed figures support: one test row a user, over all users, after the
newest 13 interactions of each are kept (10 of history and one target a split).
"""

from dataclasses import dataclass

import numpy as np

from trainables.data.config import Data
from trainables.data.sequences import Sequences


@dataclass(frozen=True)
class Rows:
    """Examples of one split: what a user did, and what came next. N rows, histories of at most L items."""

    history_NL: np.ndarray
    """int32, oldest first, left-padded with 0; never empty."""
    target_N: np.ndarray
    """int32, the item that followed."""
    user_N: np.ndarray
    """int32, the user's row number in `Sequences`."""
    start_N: np.ndarray
    """int64, where the user's kept interactions start in `Sequences.items`."""
    stop_N: np.ndarray
    """int64, where the target stands in `Sequences.items`: `items[start:stop]` is all that came before it."""

    def __len__(self) -> int:
        return len(self.target_N)


@dataclass(frozen=True)
class Splits:
    """The three splits of one data set."""

    train: Rows
    valid: Rows
    test: Rows


@dataclass(frozen=True)
class Seen:
    """The items that each row's user has met before its target, repeats included, as one flat array."""

    items: np.ndarray
    """int64, all rows' items one after another."""
    offsets: np.ndarray
    """int64, (N + 1,): row n owns `items[offsets[n]:offsets[n + 1]]`."""

    def pairs(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Row (counted from ``start``) and item, both int64, of every seen item of rows ``start:stop``."""
        stop = min(stop, len(self.offsets) - 1)
        counts = np.diff(self.offsets[start : stop + 1])
        return np.repeat(np.arange(len(counts)), counts), self.items[self.offsets[start] : self.offsets[stop]]


def kept_ranges(sequences: Sequences, keep_last: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Start and end in ``sequences.items`` of each user's newest ``keep_last`` interactions, two int64 (U,) arrays."""
    start, end = np.asarray(sequences.offsets[:-1]), np.asarray(sequences.offsets[1:])
    return (start if keep_last is None else np.maximum(start, end - keep_last)), end


def leave_one_out(sequences: Sequences, data: Data) -> Splits:
    """Split every user's kept interactions by position, no loop over users.

    The test target is the last item and its history holds the validation item; the validation target is the second
    last. Training ends before both: one row a user with the third last as target (``train_rows`` "last"), or one for
    every prefix ("all"). A row without history is no row, so a user of n kept items has a test row from n = 2 on, a
    validation row from 3 and a training row from 4.

    Args:
        sequences: all users' interactions.
        data: ``keep_last``, ``max_history`` and ``train_rows`` are read.
    """
    start, end = kept_ranges(sequences, data.keep_last)
    users = np.arange(len(start))
    if data.train_rows == "all":
        counts = np.maximum(end - start - 3, 0)
        users_train = np.repeat(users, counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        train = _rows(sequences, users_train, start[users_train], start[users_train] + 1 + within, data.max_history)
    else:
        train = _rows(sequences, users, start, end - 3, data.max_history)
    return Splits(
        train=train,
        valid=_rows(sequences, users, start, end - 2, data.max_history),
        test=_rows(sequences, users, start, end - 1, data.max_history),
    )


def seen_items(sequences: Sequences, rows: Rows) -> Seen:
    """All kept items before each row's target, for ``mask_seen`` (PAD: at test the validation item is among them)."""
    counts = rows.stop_N - rows.start_N
    offsets = np.concatenate([[0], np.cumsum(counts)])
    index = np.arange(offsets[-1]) + np.repeat(rows.start_N - offsets[:-1], counts)
    return Seen(items=np.asarray(sequences.items)[index].astype(np.int64), offsets=offsets)


def _rows(sequences: Sequences, users: np.ndarray, start: np.ndarray, stop: np.ndarray, max_history: int) -> Rows:
    """Rows whose targets stand at ``stop``, those without any history left out."""
    items = np.asarray(sequences.items)  # a plain array over the memory map: what is picked from it is writable
    keep = stop > start
    users, start, stop = users[keep], start[keep], stop[keep]
    index_NL = stop[:, None] + np.arange(-max_history, 0)
    inside_NL = index_NL >= start[:, None]
    history_NL = np.where(inside_NL, items[np.where(inside_NL, index_NL, 0)], 0)
    return Rows(
        history_NL=history_NL.astype(np.int32, copy=False),
        target_N=items[stop].astype(np.int32, copy=False),
        user_N=users.astype(np.int32),
        start_N=start,
        stop_N=stop,
    )
