"""Items by how often they are met: buckets for PAD's gate (§3.3), groups for its warm, median and cold rows (Figure 2).

The paper says only that items are divided by frequency. As in the released code, a bucket holds a share of the
interactions, not of the items: few items in the first, most of them in the last.
"""

from collections.abc import Sequence

import numpy as np

from trainables.data.atomic import DataError
from trainables.data.sequences import Sequences
from trainables.data.splits import Rows, covered_ranges, training_counts
from trainables.pad.config import GROUPS
from trainables.seqrec.metrics import ranking_metrics

GROUP_BUCKETS = 10
"""Buckets that the groups are made of, whatever number the gate has, so that trials can be compared."""

GROUP_ENDS = (3, 7, 10)
"""The last bucket of each group. A choice of ours: the paper does not say what the groups of Figure 2 are. Where it
calls bucket IDs 7-10 cold (§4.4) it speaks of Figure 6, and names no warm and no median ones."""


def item_frequency(sequences: Sequences, train: Rows) -> np.ndarray:
    """Count each item in the users' training parts, from the first kept interaction to the last target.

    Under `leave_one_out` that is all but the last two of each user, however many training rows a user has.

    Args:
        sequences: all interactions.
        train: the training rows.

    Returns:
        int64 (I,), 0 for padding.

    Raises:
        DataError: the rows are those of one user, whose counts say nothing of others.
    """
    _, end = covered_ranges(sequences, train)
    if np.count_nonzero(end) < 2:
        raise DataError(
            f"item frequencies need the training rows of 2 users or more, but {sequences.name} has those of "
            f"{np.count_nonzero(end)}; use a larger data set"
        )
    return training_counts(sequences, train)


def buckets(frequency_I: np.ndarray, count: int = 10) -> np.ndarray:
    """The bucket of each item: 1 for the most frequent ones, ``count`` for the coldest, 0 for padding.

    From the most frequent item on, a bucket is closed by the item that brings it to a ``count``-th of all interactions;
    the last takes what is left, all items never met among it. Items of one frequency go in the order of their numbers
    (in the released code in no fixed order).

    Args:
        frequency_I: int64, how often each item is met; padding's, at 0, is not read.
        count: B.

    Returns:
        int64 (I,).

    Raises:
        DataError: a bucket would be empty.
    """
    order = 1 + np.argsort(-frequency_I[1:], kind="stable")
    mass = np.cumsum(frequency_I[order]) * count  # in shares of a bucket, without rounding
    total = int(frequency_I[1:].sum())
    bucket_I = np.zeros(len(frequency_I), np.int64)
    first = before = 0
    for bucket in range(1, count + 1):
        last = len(order) if bucket == count else int(np.searchsorted(mass, before + total)) + 1
        if first >= len(order) or total == 0:
            raise DataError(
                f"each of {count} buckets needs an item, but bucket {bucket} gets none of the {len(order)} items with "
                f"{total} interactions in all; lower the number of buckets or use a larger data set"
            )
        bucket_I[order[first:last]] = bucket
        before, first = int(mass[min(last, len(order)) - 1]), last
    return bucket_I


def groups(frequency_I: np.ndarray) -> np.ndarray:
    """The group of each item: 1 warm, 2 median, 3 cold, 0 for padding; buckets 1-3, 4-7 and 8-10 of 10.

    Args:
        frequency_I: int64, how often each item is met.

    Returns:
        int64 (I,).

    Raises:
        DataError: there are too few items for 10 buckets, so that a group would mean nothing.
    """
    return np.searchsorted((0, *GROUP_ENDS), buckets(frequency_I, GROUP_BUCKETS))


def target_groups(group_I: np.ndarray, rows: Rows, split: str) -> np.ndarray:
    """The group of each row's target; ask before training, since it can refuse.

    Args:
        group_I: of each item.
        rows: of the split that is reported.
        split: its name, for the message.

    Returns:
        int64 (N,).

    Raises:
        DataError: no target is warm, or median, or cold.
    """
    group_N: np.ndarray = group_I[rows.target_N]
    for number, name in enumerate(GROUPS, start=1):
        if not np.any(group_N == number):
            raise DataError(
                f"metrics of {name} items need a {split} row whose target is one, but got none in {len(group_N)} rows; "
                "use a larger data set or raise data.eval_rows"
            )
    return group_N


def group_metrics(split: str, rank_N: np.ndarray, group_N: np.ndarray, top_k: Sequence[int]) -> dict[str, float]:
    """Metrics of the rows with warm, median and cold targets apart, e.g. ``{"test/ndcg_10_cold": .05, ...}``.

    Args:
        split: ``test`` or ``valid``.
        rank_N: rank of each row's target, from 1.
        group_N: group of each row's target, from :func:`target_groups`.
        top_k: cut-offs.
    """
    return {
        f"{metric}_{name}": value
        for number, name in enumerate(GROUPS, start=1)
        for metric, value in ranking_metrics(split, rank_N[group_N == number], top_k).items()
    }
