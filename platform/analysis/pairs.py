"""Paired tests between the cells of a table, on the ranks that every trial leaves for each of its test rows.

A row's score is its NDCG@k, averaged over the seeds of the cell's winner. Rows of one user are not independent, so
users are what is resampled and tested; with one row a user that is the usual paired test over rows. What training
seeds add to the uncertainty is not in the intervals: that is the deviation over seeds in the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from platform.analysis.compare import Cell, Comparison, write_lines

NAME = "pairs.csv"
RESAMPLES = 10_000
LEVEL = 0.95

_SEED = 0
_AT_ONCE = 1 << 20  # users drawn at once, whatever their number: 8 MiB a copy
_DECIMALS = 12  # means over seeds that differ by less are equal: only the order of summing tells them apart
_DEFAULT_K = 20


@dataclass(frozen=True)
class Pair:
    """Two cells on the same rows; `first - second` throughout."""

    first: str
    second: str
    mean_first: float
    mean_second: float
    difference: float
    low: float
    """Lower end of the bootstrap interval of the difference (percentiles, 95 %)."""
    high: float
    p: float
    """Of Wilcoxon's signed-rank test, two-sided."""
    p_holm: float
    """`p` corrected for all pairs of the table (Holm)."""
    rows: int
    users: int


@dataclass(frozen=True)
class PairedTests:
    """All pairs of a table that can be compared, and why the others cannot."""

    k: int
    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Scores:
    label: str
    user_N: np.ndarray
    score_N: np.ndarray
    rows: str | None
    """Fingerprint of the test rows; trials of an older version have none."""
    data: str | None
    mask_seen: str | None
    """Whether seen items were left out of the ranking, true or false; as `rows`."""


class _Unusable(Exception):  # noqa: N818
    """Why a cell's ranks cannot be used."""


def paired(comparison: Comparison) -> PairedTests:
    """Test each pair of cells that ranked the same rows; the result is the same each time."""
    k = cutoff(comparison.objective)
    scores: list[_Scores] = []
    left_out: list[str] = []
    for cell in comparison.cells:
        try:
            scores.append(_scores(comparison.label(cell), cell, k))
        except _Unusable as error:
            left_out.append(f"{comparison.label(cell)} is in no pair: {error}")
    apart: dict[str, list[tuple[_Scores, _Scores]]] = {}
    admitted: list[tuple[_Scores, _Scores]] = []
    for one, other in combinations(scores, 2):
        reason = _apart(one, other)
        if reason:
            apart.setdefault(reason, []).append((one, other))
        else:
            admitted.append((one, other))
    for reason, couples in apart.items():
        first, second = couples[0]
        count = "1 pair is" if len(couples) == 1 else f"{len(couples)} pairs are"
        left_out.append(f"{count} left out, {reason}: {first.label} and {second.label}{', ...' * (len(couples) > 1)}")
    return PairedTests(k, _tested(admitted), tuple(left_out))


def write(tests: PairedTests, folder: Path) -> Path:
    """Write the tests as `pairs.csv`."""
    metric = f"test/ndcg_{tests.k}"
    lines: list[Sequence[Any]] = [
        ["first", "second", "metric", "mean_first", "mean_second", "difference", "low", "high", "p", "p_holm", "rows",
         "users"]
    ]  # fmt: skip
    for pair in tests.pairs:
        lines.append(
            [pair.first, pair.second, metric, pair.mean_first, pair.mean_second, pair.difference, pair.low, pair.high,
             pair.p, pair.p_holm, pair.rows, pair.users]
        )  # fmt: skip
    return write_lines(lines, folder / NAME)


def cutoff(metric: str) -> int:
    """k of a metric such as `valid/ndcg_20`; 20 where its name has none."""
    match = re.search(r"_(\d+)$", metric)
    return int(match[1]) if match else _DEFAULT_K


def gain(rank: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k (float64) of rows with one target each, from ranks counted from 1."""
    return np.where(rank <= k, 1 / np.log2(rank + 1.0), 0.0)


def resampled_means(score_NC: np.ndarray, user_N: np.ndarray) -> np.ndarray:
    """Means of C cells over the rows in each of many samples of users, drawn with replacement, (resamples, C)."""
    unit_N, users = _units(user_N)
    total_UC = np.stack([np.bincount(unit_N, weights=column, minlength=users) for column in score_NC.T], axis=1)
    size_U = np.bincount(unit_N, minlength=users).astype(np.float64)
    generator = np.random.default_rng(_SEED)
    means = np.empty((RESAMPLES, score_NC.shape[1]))
    at_once = max(1, _AT_ONCE // users)
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        drawn = generator.integers(users, size=(count, users)) + users * np.arange(count)[:, None]
        times_SU = np.bincount(drawn.ravel(), minlength=count * users).reshape(count, users).astype(np.float64)
        means[start : start + count] = times_SU @ total_UC / (times_SU @ size_U)[:, None]
    return means


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


def _tested(couples: Sequence[tuple[_Scores, _Scores]]) -> tuple[Pair, ...]:
    """The tests of pairs on equal rows; cells over the same users share their resamples."""
    groups: dict[bytes, list[_Scores]] = {}
    for score in dict.fromkeys(score for couple in couples for score in couple):
        groups.setdefault(score.user_N.tobytes(), []).append(score)
    means: dict[_Scores, np.ndarray] = {}
    for group in groups.values():
        table = resampled_means(np.stack([score.score_N for score in group], axis=1), group[0].user_N)
        means |= dict(zip(group, table.T, strict=True))
    users = {score: _user_means(score) for score in means}
    tail = 50 * (1 - LEVEL)
    found: list[tuple[_Scores, _Scores, float, float, float]] = []
    for one, other in couples:
        low, high = np.percentile(means[one] - means[other], [tail, 100 - tail])
        found.append((one, other, float(low), float(high), signed_rank(users[one] - users[other])))
    corrected = holm([p for *_, p in found])
    return tuple(
        Pair(
            first=one.label,
            second=other.label,
            mean_first=float(one.score_N.mean()),
            mean_second=float(other.score_N.mean()),
            difference=float((one.score_N - other.score_N).mean()),
            low=low,
            high=high,
            p=p,
            p_holm=p_holm,
            rows=len(one.user_N),
            users=len(users[one]),
        )
        for (one, other, low, high, p), p_holm in zip(found, corrected, strict=True)
    )


def _scores(label: str, cell: Cell, k: int) -> _Scores:
    """A cell's scores over its seeds.

    Raises:
        _Unusable: a trial left no ranks, or its trials ranked different rows.
    """
    total_N: np.ndarray | None = None
    user_N, rows, data, mask_seen = np.empty(0), None, None, None
    for index, files in enumerate(cell.trials):
        table = _ranks(files.folder / "artifacts" / "ranks.npy", files.number)
        tags = files.read("tags.json")
        if total_N is None:
            user_N, rows, data = table["user"].astype(np.int64), tags.get("data.rows"), tags.get("data.fingerprint")
            total_N = np.zeros(len(table))
        same = (rows, data) == (tags.get("data.rows"), tags.get("data.fingerprint"))
        if not same or not np.array_equal(user_N, table["user"]):
            raise _Unusable(f"trials {cell.trials[0].number} and {cell.trials[index].number} ranked different rows")
        mask_seen = mask_seen or tags.get("data.mask_seen")
        total_N += gain(table["rank"], k)
    assert total_N is not None, "a cell has a trial"
    return _Scores(label, user_N, total_N / len(cell.trials), rows, data, mask_seen)


def _ranks(path: Path, number: int) -> np.ndarray:
    try:
        table = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise _Unusable(f"trial {number} left no artifacts/{path.name}") from None
    except (OSError, ValueError, EOFError) as error:
        raise _Unusable(f"artifacts/{path.name} of trial {number} cannot be read ({error})") from None
    if not isinstance(table, np.ndarray) or table.ndim != 1 or not {"user", "rank"} <= set(table.dtype.names or ()):
        raise _Unusable(f"artifacts/{path.name} of trial {number} must hold user and rank of each row, but does not")
    if not len(table) or table["rank"].min() < 1:
        raise _Unusable(f"artifacts/{path.name} of trial {number} must hold ranks from 1 on, but does not")
    return table


def _apart(one: _Scores, other: _Scores) -> str | None:
    """Why two cells cannot be paired."""
    if one.rows and other.rows:
        if one.rows != other.rows:
            return "as they ranked other test rows (data.rows)"
    elif not one.data or not other.data:
        return "as nothing says which data they ranked (no data.fingerprint)"
    elif one.data != other.data:
        return "as they ranked other data (data.fingerprint)"
    if one.mask_seen and other.mask_seen and one.mask_seen != other.mask_seen:
        return "as one leaves seen items out (data.mask_seen)"
    return None if np.array_equal(one.user_N, other.user_N) else "as their rows are of other users"


def _user_means(scores: _Scores) -> np.ndarray:
    unit_N, users = _units(scores.user_N)
    total_U = np.bincount(unit_N, weights=scores.score_N, minlength=users)
    return total_U / np.bincount(unit_N, minlength=users)


def _units(user_N: np.ndarray) -> tuple[np.ndarray, int]:
    """The place of each row's user among the users, and how many there are."""
    users, unit_N = np.unique(user_N, return_inverse=True)
    return unit_N, len(users)
