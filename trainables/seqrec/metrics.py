"""Metrics of a ranking with one relevant item: hit ratio, normalised discounted cumulative gain, reciprocal rank.

Beside them stands what the lists show, whoever it is right for: coverage and mean popularity.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch


def hit_ratio(rank_N: np.ndarray, k: int) -> float:
    """Share of rows whose target ranks among the first ``k``; ranks count from 1."""
    return float(np.mean(rank_N <= k)) if len(rank_N) else float("nan")


def ndcg(rank_N: np.ndarray, k: int) -> float:
    """Mean of 1 / log2(rank + 1) where the rank is at most ``k``, else 0; the ideal gain of one relevant item is 1."""
    return float(np.mean(np.where(rank_N <= k, 1 / np.log2(rank_N + 1.0), 0))) if len(rank_N) else float("nan")


def mrr(rank_N: np.ndarray, k: int) -> float:
    """Mean of 1 / rank where the rank is at most ``k``, else 0."""
    return float(np.mean(np.where(rank_N <= k, 1 / rank_N, 0))) if len(rank_N) else float("nan")


def ranking_metrics(split: str, rank_N: np.ndarray, top_k: Sequence[int]) -> dict[str, float]:
    """All metrics of one split under their reported names, e.g. ``{"valid/hr_10": .05, ...}``."""
    kinds = {"hr": hit_ratio, "ndcg": ndcg, "mrr": mrr}
    return {f"{split}/{name}_{k}": metric(rank_N, k) for name, metric in kinds.items() for k in top_k}


class Shown:
    """The items that stand in the lists of a split's rows, counted while the rows are ranked.

    Args:
        taken_I: how often each item is met in training; padding's is not read.
        top_k: the lengths of the lists.
    """

    def __init__(self, taken_I: np.ndarray, top_k: Sequence[int]) -> None:
        self._taken_I = taken_I
        self._top_k = top_k
        self._count_KI = torch.zeros(len(top_k), len(taken_I), dtype=torch.int64)
        self.seconds = 0.0
        """Wall time that the counting took."""

    def add(self, score_BI: torch.Tensor) -> None:
        """Count the items with the highest scores of each row; items that are taken out have minus infinity."""
        started = time.perf_counter()
        best = score_BI[:, 1:].topk(min(max(self._top_k), score_BI.shape[1] - 1), dim=1)
        item_BS = torch.where(best.values == -torch.inf, 0, best.indices + 1).cpu()
        for count_I, k in zip(self._count_KI, self._top_k, strict=True):
            count_I += item_BS[:, :k].flatten().bincount(minlength=len(count_I))
        self.seconds += time.perf_counter() - started

    def metrics(self, split: str) -> dict[str, float]:
        """``coverage_k``, the share of all items in some list, and ``popularity_k``, the mean count of those shown."""
        count_KI = self._count_KI[:, 1:].numpy()
        shown_K = np.maximum(count_KI.sum(axis=1), 1)
        coverage_K, popularity_K = (count_KI > 0).mean(axis=1), count_KI @ self._taken_I[1:] / shown_K
        found = {"coverage": coverage_K, "popularity": popularity_K}
        return {
            f"{split}/{n}_{k}": float(v) for n, of_K in found.items() for k, v in zip(self._top_k, of_K, strict=True)
        }
