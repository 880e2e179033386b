"""Metrics against the definition, one example at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.seqrec.config import METRICS, TOP_K, split_metrics
from trainables.seqrec.metrics import Shown, hit_ratio, ndcg, ranking_metrics


@settings(max_examples=50)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 50))
def test_metrics_equal_their_definition(ranks: list[int], k: int) -> None:
    gains = [1 / math.log2(rank + 1) if rank <= k else 0.0 for rank in ranks]
    assert ndcg(np.array(ranks), k) == pytest.approx(sum(gains) / len(ranks))
    assert hit_ratio(np.array(ranks), k) == pytest.approx(sum(rank <= k for rank in ranks) / len(ranks))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_a_longer_list_never_scores_lower_and_a_hit_bounds_its_gain(ranks: list[int]) -> None:
    rank_N = np.array(ranks)
    for k in range(1, 30):
        assert ndcg(rank_N, k) <= ndcg(rank_N, k + 1) <= hit_ratio(rank_N, k + 1)


def test_known_values() -> None:
    rank_N = np.array([1, 3, 10, 11, 20, 21], np.int32)
    assert ranking_metrics("valid", rank_N, (10, 20)) == pytest.approx(
        {
            "valid/hr_10": 3 / 6,
            "valid/hr_20": 5 / 6,
            "valid/ndcg_10": (1 + 1 / 2 + 1 / math.log2(11)) / 6,
            "valid/ndcg_20": (1 + 1 / 2 + 1 / math.log2(11) + 1 / math.log2(12) + 1 / math.log2(21)) / 6,
            "valid/mrr_10": (1 + 1 / 3 + 1 / 10) / 6,
            "valid/mrr_20": (1 + 1 / 3 + 1 / 10 + 1 / 11 + 1 / 20) / 6,
        }
    )


def test_no_rows_give_no_number() -> None:
    assert all(math.isnan(value) for value in ranking_metrics("test", np.zeros(0, np.int32), (10,)).values())


def test_reported_names_are_the_promised_ones() -> None:
    reported = {*ranking_metrics("valid", np.ones(1), TOP_K), *ranking_metrics("test", np.ones(1), TOP_K)}
    reported |= {*Shown(np.zeros(3), TOP_K).metrics("test")}
    assert {"train/loss", *reported} == set(METRICS)
    names = ("hr_10", "hr_20", "ndcg_10", "ndcg_20", "mrr_10", "mrr_20")
    assert split_metrics("test") == tuple(f"test/{name}" for name in names)


def test_what_lists_show_is_counted_over_all_batches_without_padding_and_items_taken_out():
    taken_I = np.array([99, 10, 5, 1, 0])
    shown = Shown(taken_I, top_k=(1, 3))
    shown.add(torch.tensor([[9.0, 1.0, 2.0, 3.0, 0.0]]))  # lists 3 | 3, 2, 1
    shown.add(torch.tensor([[9.0, 4.0, -torch.inf, 3.0, -torch.inf]]))  # lists 1 | 1, 3, nothing
    found = shown.metrics("test")
    assert found == pytest.approx({
        "test/coverage_1": 2 / 4, "test/coverage_3": 3 / 4,
        "test/popularity_1": (1 + 10) / 2, "test/popularity_3": (1 + 5 + 10 + 10 + 1) / 5,
    })  # fmt: skip


@given(st.integers(1, 40), st.integers(2, 30), st.integers(0, 99))
def test_coverage_and_popularity_are_those_of_sorted_lists(rows, items, seed):
    draws = np.random.default_rng(seed)
    score_BI, taken_I = draws.permuted(np.tile(np.arange(items * 1.0), (rows, 1)), axis=1), draws.integers(0, 9, items)
    shown = Shown(taken_I, (3,))
    for part in np.array_split(score_BI, 3):
        if len(part):
            shown.add(torch.from_numpy(part))
    lists = 1 + np.argsort(-score_BI[:, 1:], axis=1)[:, :3]
    expected = {"test/coverage_3": len(np.unique(lists)) / (items - 1), "test/popularity_3": taken_I[lists].mean()}
    assert shown.metrics("test") == pytest.approx(expected)
