"""Resampled means, randomisation tests and corrections for many tests: the statistics of paired cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
FLIPS = 10_000
SEED = 0

_AT_ONCE = 1 << 20  # users drawn at once, whatever their number: 8 MiB per copy
_SIGNS_AT_ONCE = 10_000_000  # 90 MB
_DECIMALS = 12  # means over seeds that differ by less are equal: only the order of summing tells them apart


def resampled_means(score_NC: np.ndarray, user_N: np.ndarray) -> np.ndarray:
    """Means of C cells over the rows in each of many samples of users, drawn with replacement, (resamples, C)."""
    unit_N, users = _units(user_N)
    total_UC = totals(score_NC, user_N)
    size_U = np.bincount(unit_N, minlength=users).astype(np.float64)
    generator = np.random.default_rng(SEED)
    means = np.empty((RESAMPLES, score_NC.shape[1]))
    at_once = max(1, _AT_ONCE // users)
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        drawn = generator.integers(users, size=(count, users)) + users * np.arange(count)[:, None]
        times_SU = np.bincount(drawn.ravel(), minlength=count * users).reshape(count, users).astype(np.float64)
        means[start : start + count] = times_SU @ total_UC / (times_SU @ size_U)[:, None]
    return means


def flipped_sums(total_UC: np.ndarray) -> np.ndarray:
    """Sums of C cells' totals over users whose signs are flipped at random, for each of many draws, (flips, C).

    The same signs hold for all cells: the difference of two columns is the flipped sum of their users' differences.
    """
    generator = np.random.default_rng(SEED)
    users = len(total_UC)
    at_once = max(1, _SIGNS_AT_ONCE // users)
    sums = np.empty((FLIPS, total_UC.shape[1]))
    for start in range(0, FLIPS, at_once):
        count = min(at_once, FLIPS - start)
        bits_SU = generator.integers(2, size=(count, users), dtype=np.int8)
        sums[start : start + count] = 2 * (bits_SU.astype(np.float64) @ total_UC) - total_UC.sum(axis=0)
    return sums


def randomisation(flipped_S: np.ndarray, observed: float) -> float:
    """Two-sided p of an observed sum among those under random signs; the observed signs count as one draw more."""
    tolerance = 10.0**-_DECIMALS * max(1.0, float(np.abs(flipped_S).max()))
    return float((1 + np.count_nonzero(np.abs(flipped_S) >= abs(observed) - tolerance)) / (1 + len(flipped_S)))


def signed_rank(difference_U: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; zero differences are dropped, and 1 where all are zero."""
    from scipy.stats import wilcoxon

    left = np.round(difference_U, _DECIMALS)
    left = left[left != 0]
    return float(wilcoxon(left).pvalue) if len(left) else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    corrected = [0.0] * len(p)
    least = 0.0
    for done, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - done) * p[index]))
        corrected[index] = least
    return corrected


def totals(score_NC: np.ndarray, user_N: np.ndarray) -> np.ndarray:
    """Sums of C cells over the rows of each user, (users, C)."""
    unit_N, users = _units(user_N)
    return np.stack([np.bincount(unit_N, weights=column, minlength=users) for column in score_NC.T], axis=1)


def _units(user_N: np.ndarray) -> tuple[np.ndarray, int]:
    """The place of each row's user among the users, and how many there are."""
    users, unit_N = np.unique(user_N, return_inverse=True)
    return unit_N, len(users)
