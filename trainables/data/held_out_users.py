"""Whole users held out 8 : 1 : 1: no evaluated user is trained on (DreamRec; AlphaFuse's cold-start users)."""

import numpy as np

from trainables.data.config import Data
from trainables.data.rows import Splits, kept_ranges, rows_at, steps
from trainables.data.sequences import Sequences

LEAST_USERS = 6
"""With fewer, a tenth rounded down leaves a split without a user."""


def held_out_users(sequences: Sequences, data: Data) -> Splits:
    """Draw 8 of 10 users for training, one for validation and one for the test, from ``split_seed`` alone.

    Users of fewer than two interactions have no row and are not drawn. A training user's kept interactions are
    training rows to the last: one row with the last item as target (``train_rows`` "last"), or one for every item but
    the first ("all"). A held-out user has one row, its last item as target; with ``held_out_rows`` "all" one for every
    item but the first (DreamRec's files also hold the first, whose history is empty, and which is no row here).

    Args:
        sequences: all users' interactions.
        data: ``split_seed``, ``keep_last``, ``max_history``, ``train_rows`` and ``held_out_rows`` are read.
    """
    start, end = kept_ranges(sequences, data.keep_last)
    drawn = np.random.default_rng([data.split_seed, 0]).permutation(np.flatnonzero(end - start >= 2))
    first, second = len(drawn) * 8 // 10, len(drawn) * 9 // 10
    chosen = [np.sort(part) for part in (drawn[:first], drawn[first:second], drawn[second:])]
    rows = []
    for users, which in zip(chosen, (data.train_rows, *[data.held_out_rows] * 2), strict=True):
        number, place = steps(start[users] + 1 if which == "all" else end[users] - 1, end[users])
        rows.append(rows_at(sequences, users[number], start[users][number], place, data.max_history))
    train, valid, test = rows
    return Splits(train=train, valid=valid, test=test, origin=f"users {sequences.fingerprint}")
