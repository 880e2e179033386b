"""Repeated records: a user who met an item before. All arrays are grouped by user, each user's records in order."""

import numpy as np

from trainables.data.config import Duplicates


def in_order(user_N: np.ndarray, time_N: np.ndarray | None) -> np.ndarray:
    """Places of records grouped by user, each user's in order of time, equal times and no times as they stand."""
    return np.argsort(user_N, kind="stable") if time_N is None else np.lexsort((time_N, user_N))


def again(user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """bool (N,): True where the user met the item in an earlier record."""
    again_N = np.ones(len(user_N), bool)
    again_N[np.unique(_pairs(user_N, item_N), return_index=True)[1]] = False
    return again_N


def count_again(user_N: np.ndarray, item_N: np.ndarray) -> int:
    """The number of records whose user met the item in an earlier one."""
    pair_N = np.sort(_pairs(user_N, item_N))
    return int(np.count_nonzero(pair_N[1:] == pair_N[:-1]))


def adjacent(user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    """bool (N,): True where the record right before is of the same user and item."""
    return np.append(np.zeros(min(1, len(user_N)), bool), (user_N[1:] == user_N[:-1]) & (item_N[1:] == item_N[:-1]))


def kept(user_N: np.ndarray, item_N: np.ndarray, duplicates: Duplicates) -> np.ndarray:
    """bool (N,): True for the records that stay."""
    if duplicates == "keep":
        return np.ones(len(user_N), bool)
    return ~(again if duplicates == "drop" else adjacent)(user_N, item_N)


def _pairs(user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
    pair_N: np.ndarray = user_N.astype(np.int64) * (int(item_N.max(initial=0)) + 1) + item_N
    return pair_N
