"""Training, validation and test rows of a data set, in the three ways the papers have.

`leave_one_out`: by position inside each user. `users`: whole users are held out. `time`: windows in global time.
"""

from dataclasses import replace

import numpy as np

from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.held_out_users import LEAST_USERS, held_out_users
from trainables.data.rows import (
    History,
    Rows,
    Splits,
    covered_ranges,
    kept_ranges,
    rows_at,
    seen_items,
    steps,
    training_counts,
    training_pairs,
)
from trainables.data.sequences import Sequences
from trainables.data.windows import LEAST_WINDOWS, first_targets, windows_by_time

__all__ = [
    "History",
    "Rows",
    "Splits",
    "covered_ranges",
    "kept_ranges",
    "leave_one_out",
    "seen_items",
    "shortage",
    "split",
    "steps",
    "training_counts",
    "training_pairs",
]


def split(sequences: Sequences, data: Data) -> Splits:
    """Split as ``data.split`` says; with ``eval_rows``, that many validation and test rows, drawn from ``split_seed``.

    Raises:
        DataError: a split would have no row, or ``time`` is asked of data without times.
    """
    problem = shortage(np.diff(sequences.offsets), data)
    if problem:
        raise DataError(problem)
    kinds = {"leave_one_out": leave_one_out, "users": held_out_users, "time": windows_by_time}
    splits = kinds[data.split](sequences, data)
    if data.mask_seen and not data.mask_target:
        valid, test = (replace(rows, mask_target=False) for rows in (splits.valid, splits.test))
        splits = replace(splits, valid=valid, test=test)
    if data.eval_rows is None:
        return splits
    valid, test = (
        rows.sample(data.eval_rows, np.random.default_rng([data.split_seed, number]))
        for number, rows in ((1, splits.valid), (2, splits.test))
    )
    return replace(splits, valid=valid, test=test)


def leave_one_out(sequences: Sequences, data: Data) -> Splits:
    """Split every user's kept interactions by position, no loop over users.

    The reading of SpecTran's protocol that its printed figures support: one test row a user, over all users, after the
    newest 13 interactions of each are kept (10 of history and one target a split). The test target is the last item
    and its history holds the validation item; the validation target is the second last. Training ends before both: one
    row a user with the third last as target (``train_rows`` "last"), or one for every prefix ("all"). A row without
    history is no row, so a user of n kept items has a test row from n = 2 on, a validation row from 3 and a training
    row from 4.

    Args:
        sequences: all users' interactions.
        data: ``keep_last``, ``max_history`` and ``train_rows`` are read.
    """
    start, end = kept_ranges(sequences, data.keep_last)
    users = np.arange(len(start))
    trained, place = steps(start + 1, end - 2) if data.train_rows == "all" else (users, end - 3)
    return Splits(
        train=rows_at(sequences, trained, start[trained], place, data.max_history),
        valid=rows_at(sequences, users, start, end - 2, data.max_history),
        test=rows_at(sequences, users, start, end - 1, data.max_history),
        origin=f"leave_one_out {sequences.fingerprint}",
    )


def shortage(lengths_U: np.ndarray, data: Data) -> str | None:
    """Say that some split of ``data`` would have no row, or None; from the users' numbers of interactions alone.

    Args:
        lengths_U: int64, interactions of each user.
        data: ``split``, ``keep_last`` and ``max_history`` are read.
    """
    kept_U = lengths_U if data.keep_last is None else np.minimum(lengths_U, data.keep_last)
    if data.split == "leave_one_out":
        longest = int(kept_U.max(initial=0))
        if longest >= 4:
            return None
        need, has = "a user of 4 interactions or more", f"the longest of {len(kept_U)} users has {longest}"
    elif data.split == "users":
        enough = int((kept_U >= 2).sum())
        if enough >= LEAST_USERS:
            return None
        need, has = f"{LEAST_USERS} users of 2 interactions or more", f"there are {enough}"
    else:
        some_U = kept_U[kept_U >= 2]
        windows = int((some_U - first_targets(np.zeros_like(some_U), some_U, data.max_history)).sum())
        if windows >= LEAST_WINDOWS:
            return None
        need, has = f"{LEAST_WINDOWS} windows (an item and at least one before it)", f"there are {windows}"
    return (
        f"data.split: {data.split} needs {need}, so that training, validation and test each have a row, "
        f"but in {data.name} {has}; use a larger data set"
    )
