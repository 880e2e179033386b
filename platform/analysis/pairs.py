"""Paired tests between the cells of a table, on the ranks that every trial leaves for each of its test rows.

A row's score is its NDCG@k, averaged over the seeds of the cell's winner. Rows of one user are not independent, so
users are resampled and tested. With one row per user this is the usual paired test over rows. The difference of
means, its bootstrap interval and its p value speak of one statistic. The p value comes from a randomisation test, which
flips the signs of users' total differences (Fisher 1935; for ranking metrics Smucker et al., CIKM 2007). Wilcoxon's
signed-rank test stands beside it and asks about the median instead. Neither includes the uncertainty that training
seeds add: the table's deviation over seeds shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from platform.analysis import resampling
from platform.analysis.comparison import Cell, Comparison, write_lines
from trainables.storage.arrays import open_array

NAME = "pairs.csv"
LEAST_USERS = 6
"""Users that a p value needs: with fewer, no pattern of signs is rarer than one in twenty."""
LEVEL = 0.95

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
    p: float | None
    """Of the randomisation test of the difference, two-sided; None where there are too few users."""
    p_holm: float | None
    """`p` corrected for all tested pairs of the table (Holm)."""
    p_wilcoxon: float | None
    """Of Wilcoxon's signed-rank test of users' means, two-sided, not corrected."""
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
    """`true` if the ranking left seen items out, else `false`; trials of an older version have none."""


class _Unusable(Exception):  # noqa: N818
    """A cell's ranks cannot be used, with the reason."""


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
    tested = _tested(admitted)
    if few := [pair for pair in tested if pair.p is None]:
        left_out.append(
            f"a p value needs at least {LEAST_USERS} users, but {few[0].first} and {few[0].second} have "
            f"{few[0].users}{', as others have' * (len(few) > 1)}; no test is made there"
        )
    return PairedTests(k, tested, tuple(left_out))


def write(tests: PairedTests, folder: Path) -> Path:
    """Write the tests as `pairs.csv`."""
    metric = f"test/ndcg_{tests.k}"
    lines: list[Sequence[Any]] = [
        ["first", "second", "metric", "mean_first", "mean_second", "difference", "low", "high", "p", "p_holm",
         "p_wilcoxon", "rows", "users"]
    ]  # fmt: skip
    for pair in tests.pairs:
        lines.append(
            [pair.first, pair.second, metric, pair.mean_first, pair.mean_second, pair.difference, pair.low, pair.high,
             pair.p, pair.p_holm, pair.p_wilcoxon, pair.rows, pair.users]
        )  # fmt: skip
    return write_lines(lines, folder / NAME)


def cutoff(metric: str) -> int:
    """k of a metric such as `valid/ndcg_20`; 20 where its name has none."""
    match = re.search(r"_(\d+)$", metric)
    return int(match[1]) if match else _DEFAULT_K


def gain(rank: np.ndarray, k: int) -> np.ndarray:
    """NDCG@k (float64) of rows with one target each, from ranks counted from 1."""
    return np.where(rank <= k, 1 / np.log2(rank + 1.0), 0.0)


def _tested(couples: Sequence[tuple[_Scores, _Scores]]) -> tuple[Pair, ...]:
    """The tests of pairs on equal rows; cells over the same users share their resamples and flips."""
    groups: dict[bytes, list[_Scores]] = {}
    for score in dict.fromkeys(score for couple in couples for score in couple):
        groups.setdefault(score.user_N.tobytes(), []).append(score)
    means: dict[_Scores, np.ndarray] = {}
    flipped: dict[_Scores, np.ndarray] = {}
    per_user: dict[_Scores, np.ndarray] = {}
    for group in groups.values():
        user_N, score_NC = group[0].user_N, np.stack([score.score_N for score in group], axis=1)
        total_UC = resampling.totals(score_NC, user_N)
        size_U = np.unique(user_N, return_counts=True)[1]
        means |= dict(zip(group, resampling.resampled_means(score_NC, user_N).T, strict=True))
        flipped |= dict(zip(group, resampling.flipped_sums(total_UC).T, strict=True))
        per_user |= dict(zip(group, total_UC.T / size_U, strict=True))
    pairs = [
        _pair(one, other, means[one] - means[other], flipped[one] - flipped[other], per_user[one] - per_user[other])
        for one, other in couples
    ]
    corrected = iter(resampling.holm([pair.p for pair in pairs if pair.p is not None]))
    return tuple(pair if pair.p is None else replace(pair, p_holm=next(corrected)) for pair in pairs)


def _pair(
    one: _Scores, other: _Scores, resampled_S: np.ndarray, flipped_S: np.ndarray, difference_U: np.ndarray
) -> Pair:
    """One pair, before its p value is corrected; the arrays are differences of the two, the last of users' means."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(resampled_S, [tail, 100 - tail])
    difference_N = one.score_N - other.score_N
    is_tested = len(difference_U) >= LEAST_USERS
    return Pair(
        first=one.label,
        second=other.label,
        mean_first=float(one.score_N.mean()),
        mean_second=float(other.score_N.mean()),
        difference=float(difference_N.mean()),
        low=float(low),
        high=float(high),
        p=resampling.randomisation(flipped_S, float(difference_N.sum())) if is_tested else None,
        p_holm=None,
        p_wilcoxon=resampling.signed_rank(difference_U) if is_tested else None,
        rows=len(one.user_N),
        users=len(difference_U),
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
        table = open_array(path)
    except FileNotFoundError:
        raise _Unusable(f"trial {number} left no artifacts/{path.name}") from None
    except (OSError, ValueError) as error:
        raise _Unusable(f"artifacts/{path.name} of trial {number} cannot be read ({error})") from None
    if table.ndim != 1 or not {"user", "rank"} <= set(table.dtype.names or ()):
        raise _Unusable(f"artifacts/{path.name} of trial {number} must hold user and rank of each row, but does not")
    if not len(table) or table["rank"].min() < 1:
        raise _Unusable(f"artifacts/{path.name} of trial {number} must hold ranks from 1 on, but does not")
    return table


def _apart(one: _Scores, other: _Scores) -> str | None:
    """The reason against pairing two cells, None if there is none."""
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
