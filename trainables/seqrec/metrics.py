"""Metrics of a ranking with one relevant item: hit ratio, normalised discounted cumulative gain, reciprocal rank."""

from collections.abc import Sequence

import numpy as np


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
