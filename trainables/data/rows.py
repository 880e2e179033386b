"""Rows, which all kinds of split have in common: a user's history and the item after it."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

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
    mask_target: bool = True
    """True if a ranking that leaves seen items out leaves out a target among them, which is then never hit."""

    def __len__(self) -> int:
        return len(self.target_N)

    def take(self, index: np.ndarray | slice) -> "Rows":
        """These rows, in this order."""
        return replace(
            self,
            history_NL=self.history_NL[index],
            target_N=self.target_N[index],
            user_N=self.user_N[index],
            start_N=self.start_N[index],
            stop_N=self.stop_N[index],
        )

    def sample(self, count: int, random: np.random.Generator) -> "Rows":
        """``count`` of these rows, drawn without replacement, all where there are fewer; in their order."""
        if count >= len(self):
            return self
        return self.take(np.sort(random.choice(len(self), count, replace=False)))


@dataclass(frozen=True)
class Splits:
    """The three splits of one data set."""

    train: Rows
    valid: Rows
    test: Rows
    origin: str
    """Kind of split and fingerprint of the data."""

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the validation and test rows: whose they are, where history and target lie.

        Two trials with the same one were evaluated on the same rows. It depends on the interactions, the kind of split
        and what chooses rows (`keep_last`, `split_seed`, `eval_rows`; under `time` also `max_history`); not on the
        training rows, and not on how a model reads or ranks (`max_history` elsewhere, `mask_seen`), but for
        `mask_target`: false adds targets to the ranking.
        """
        return _digest(self.origin, self.valid, self.test)

    @cached_property
    def trained_on(self) -> str:
        """16 hexadecimal digits of the interactions and the training and validation rows, for keys of what is trained.

        Under `time` the times decide which rows these are, and only so do they reach a key; what histories hold is told
        by the interactions, where they start and stop, and `max_history`, which is not part of it.
        """
        return _digest(self.origin, self.train, self.valid)

    @cached_property
    def train_fingerprint(self) -> str:
        """The same of the training rows alone, for keys of what is trained without a look at the validation rows."""
        return _digest(self.origin, self.train)


def _digest(origin: str, *splits: Rows) -> str:
    digest = hashlib.sha256(origin.encode())
    for rows in splits:
        digest.update(len(rows).to_bytes(8, "little") + (b"" if rows.mask_target else b"targets stay"))
        for column in (rows.user_N, rows.target_N, rows.start_N, rows.stop_N):
            digest.update(column.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class History:
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


def training_counts(sequences: Sequences, train: Rows) -> np.ndarray:
    """Counts of each item in the users' training parts, first kept interaction to last target: int64 (I,)."""
    _, place = steps(*covered_ranges(sequences, train))
    return np.bincount(np.asarray(sequences.items)[place], minlength=sequences.num_items)


def training_pairs(sequences: Sequences, train: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Each two items that stand side by side in a user's training part, int32 (P,) both, without a loop over users."""
    start, end = covered_ranges(sequences, train)
    users, place = steps(start, end)
    items = np.asarray(sequences.items)[place]
    pair = users[:-1] == users[1:]
    return items[:-1][pair], items[1:][pair]


def seen_items(sequences: Sequences, rows: Rows) -> History:
    """All kept items before each row's target, for ``mask_seen`` (PAD: at test the validation item is among them)."""
    counts = rows.stop_N - rows.start_N
    offsets = np.concatenate([[0], np.cumsum(counts)])
    index = np.arange(offsets[-1]) + np.repeat(rows.start_N - offsets[:-1], counts)
    return History(items=np.asarray(sequences.items)[index].astype(np.int64), offsets=offsets)


def kept_ranges(sequences: Sequences, keep_last: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Start and end in ``sequences.items`` of each user's newest ``keep_last`` interactions, two int64 (U,) arrays."""
    start, end = np.asarray(sequences.offsets[:-1]), np.asarray(sequences.offsets[1:])
    return (start if keep_last is None else np.maximum(start, end - keep_last)), end


def covered_ranges(sequences: Sequences, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Start and end in ``sequences.items`` of what the rows of each user hold, last target included: int64 (U,) each.

    From the first interaction kept of the user; start and end are both 0 where a user has no row.
    """
    start, end = np.zeros(sequences.num_users, np.int64), np.zeros(sequences.num_users, np.int64)
    start[rows.user_N] = rows.start_N
    np.maximum.at(end, rows.user_N, rows.stop_N + 1)
    return start, end


def steps(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every place from ``first[u]`` to before ``stop[u]``: the number u and the place, user by user, int64 each."""
    counts = np.maximum(stop - first, 0)
    users = np.repeat(np.arange(len(counts)), counts)
    return users, np.arange(len(users)) + np.repeat(first - (np.cumsum(counts) - counts), counts)


def rows_at(sequences: Sequences, users: np.ndarray, start: np.ndarray, stop: np.ndarray, max_history: int) -> Rows:
    """Rows whose targets stand at ``stop``, those without any history left out.

    Args:
        sequences: all users' interactions.
        users: int64 (N,), the users' row numbers.
        start: int64 (N,), where the users' kept interactions start.
        stop: int64 (N,), where the targets stand.
        max_history: L.
    """
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
