"""PAD's diagnostics besides rankings: distances between items before and after alignment (§4.2, §4.3), and the gate.

Each function gives plain arrays. ``seqrec.curves`` makes a CSV of them whose first column is the horizontal axis, and
the driver draws it. Shape letters beside the common ones: P pairs of items, B buckets, E experts, H bins.
"""

from dataclasses import dataclass

import numpy as np

from trainables.data.splits import Rows
from trainables.seqrec.randomness import seed_for

_AT_ONCE = 1 << 16


def history_pairs(rows: Rows, *, every_position: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of an item that a user met and a target it is met before (§4.3), two int32 (P,): history and target.

    Args:
        rows: of one split.
        every_position: each item of a history is a target too, of the items before it, as in training on all positions;
            for rows of one a user. Without, the row's target alone.
    """
    both_NX = np.concatenate([rows.history_NL, rows.target_N[:, None]], axis=1)
    width = both_NX.shape[1]
    columns = range(1, width) if every_position else (width - 1,)
    met = [both_NX[:, :column].ravel() for column in columns]
    target = [np.repeat(both_NX[:, column], column) for column in columns]
    met_P, target_P = np.concatenate(met), np.concatenate(target)
    held_P = (met_P != 0) & (target_P != 0)
    return met_P[held_P], target_P[held_P]


def distances(table_ID: np.ndarray, left_P: np.ndarray, right_P: np.ndarray) -> np.ndarray:
    """Euclidean distances (P,), float64, of pairs of items under one table of item vectors."""
    found_P = np.empty(len(left_P))
    for start in range(0, len(left_P), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        difference_PD = table_ID[left_P[part]].astype(np.float64) - table_ID[right_P[part]]
        found_P[part] = np.sqrt(np.einsum("pd,pd->p", difference_PD, difference_PD))
    return found_P


def kendall_tau(
    before_ID: np.ndarray,
    after_IX: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    bucket_I: np.ndarray,
    *,
    seed: int,
    most: int,
) -> np.ndarray:
    """Agreement of two tables of item vectors on the order of pairs by distance, per bucket (equation 13, Figure 6).

    Pairs that are as far apart as others in a table (the same two items met twice) are ties, which the paper does not
    mention. They are left out of both counts (Kendall's tau-b), so that a table agrees fully with itself.

    Args:
        before_ID: one table, of all items.
        after_IX: the other, of any width.
        pairs: history and target items, from :func:`history_pairs`.
        bucket_I: of each item; a pair is in its target's.
        seed: draws the pairs where a bucket has more than ``most``.
        most: pairs of a bucket up to which its value is exact.

    Returns:
        float64 (B,) for buckets 1..B, in [-1, 1]; not a number where a bucket has no two distances to compare.

    Raises:
        ValueError: the tables are not of the same items.
    """
    from scipy.stats import kendalltau

    if len(before_ID) != len(after_IX):
        raise ValueError(
            f"two tables are compared item by item, but got {len(before_ID)} and {len(after_IX)} rows; "
            "take both from one data set"
        )
    met_P, target_P = pairs
    bucket_P = bucket_I[target_P]
    tau_B = np.full(int(bucket_I.max()), np.nan)
    for bucket in range(1, len(tau_B) + 1):
        chosen_P = np.flatnonzero(bucket_P == bucket)
        if len(chosen_P) > most:
            random = np.random.default_rng(seed_for(seed, "kendall_tau", bucket))
            chosen_P = np.sort(random.choice(chosen_P, most, replace=False))
        if len(chosen_P) > 1:
            left_P, right_P = met_P[chosen_P], target_P[chosen_P]
            tau_B[bucket - 1] = kendalltau(
                distances(before_ID, left_P, right_P), distances(after_IX, left_P, right_P)
            ).statistic
    return tau_B


@dataclass(frozen=True)
class Histograms:
    """Distances, under one table, of the pairs that are nearest and farthest under the ID table."""

    middle_H: np.ndarray
    """float64, the middles of the bins."""
    nearest_H: np.ndarray
    """float64, share of the nearest tenth's pairs in each bin (the paper's Bottom-10%)."""
    farthest_H: np.ndarray
    """float64, share of the farthest tenth's pairs in each bin (Top-10%)."""
    separation: float
    """Chance that a farthest pair is farther apart than a nearest one, ties halved: .5 where the table cannot tell them
    apart, 1 under the ID table."""


def distance_histograms(
    id_ID: np.ndarray,
    text_IX: np.ndarray,
    items_N: np.ndarray,
    *,
    seed: int,
    tail: float = 0.1,
    bins: int = 50,
    most: int,
) -> tuple[Histograms, Histograms]:
    """Histograms of the nearest and the farthest pairs by ID distance, over ID and over text distance (Figures 3, 7).

    Args:
        id_ID: item vectors from IDs.
        text_IX: item vectors from text.
        items_N: int64, whose pairs are looked at: the cold items (Figure 3) or the warm ones (Figure 7).
        seed: draws the pairs, with replacement, where there are more than ``most``.
        tail: share of the pairs that are called nearest, and farthest.
        bins: H.
        most: pairs up to which all are looked at.

    Returns:
        By ID distance, by text distance.

    Raises:
        ValueError: there are too few items for one pair in each tail.
    """
    count = len(items_N)
    total = count * (count - 1) // 2
    if total * tail < 1:
        raise ValueError(
            f"the nearest and farthest {tail:.0%} of pairs need {int(np.ceil(1 / tail))} pairs or more, but got "
            f"{total} of {count} items; look at more items"
        )
    if total <= most:
        left_P, right_P = np.triu_indices(count, 1)
    else:
        random = np.random.default_rng(seed_for(seed, "distance_histograms"))
        left_P = random.integers(0, count, most)
        right_P = (left_P + random.integers(1, count, most)) % count
    left_P, right_P = items_N[left_P], items_N[right_P]
    by_id_P, by_text_P = distances(id_ID, left_P, right_P), distances(text_IX, left_P, right_P)
    order_P = np.argsort(by_id_P, kind="stable")
    size = int(len(order_P) * tail)
    nearest, farthest = order_P[:size], order_P[-size:]
    by_id, by_text = (_histograms(found_P[nearest], found_P[farthest], bins) for found_P in (by_id_P, by_text_P))
    return by_id, by_text


def _histograms(nearest_P: np.ndarray, farthest_P: np.ndarray, bins: int) -> Histograms:
    edges = np.histogram_bin_edges(np.concatenate([nearest_P, farthest_P]), bins)
    nearest_H, farthest_H = (np.histogram(found_P, edges)[0] / len(found_P) for found_P in (nearest_P, farthest_P))
    ordered = np.sort(nearest_P)
    below = np.searchsorted(ordered, farthest_P, "left") + np.searchsorted(ordered, farthest_P, "right")
    return Histograms(
        middle_H=(edges[1:] + edges[:-1]) / 2,
        nearest_H=nearest_H,
        farthest_H=farthest_H,
        separation=float(below.mean() / 2 / len(nearest_P)),
    )


def gate_weights(weight_IE: np.ndarray, bucket_I: np.ndarray) -> np.ndarray:
    """Mean weight (B, E), float64, of each expert over the items of buckets 1..B; not a number for a bucket of none.

    Args:
        weight_IE: the gate's weights of all items, padding included.
        bucket_I: of each item, 0 for padding.
    """
    sums_BE = np.zeros((int(bucket_I.max()) + 1, weight_IE.shape[1]))
    np.add.at(sums_BE, bucket_I, weight_IE)
    size_B1 = np.bincount(bucket_I)[:, None]
    return np.divide(sums_BE, size_B1, out=np.full_like(sums_BE, np.nan), where=size_B1 > 0)[1:]
