"""Distances between items under two tables: concordance by bucket, histograms; the gate's weights; files of curves."""

import csv
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.config import Data
from trainables.data.sequences import Sequences
from trainables.data.splits import leave_one_out
from trainables.pad.diagnostics import (
    distance_histograms,
    distances,
    gate_weights,
    history_pairs,
    kendall_tau,
)
from trainables.seqrec.curves import Words, write_curves

MakeSequences = Callable[..., Sequences]

MANY = 1_000_000
"""More pairs than any test has: all are looked at."""


def table(items: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, width)).astype(np.float32)


def some_pairs(items: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.triu_indices(items - 1, 1)
    return left + 1, right + 1


def test_pairs_are_a_history_items_with_each_target_after_it(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
    rows = leave_one_out(sequences, Data()).train
    pairs = [*zip(*history_pairs(rows, every_position=True), strict=True)]
    assert sorted(pairs) == [(1, 2), (1, 3), (2, 3), (6, 7)]
    pairs = [*zip(*history_pairs(rows, every_position=False), strict=True)]
    assert sorted(pairs) == [(1, 3), (2, 3), (6, 7)]


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_tau_is_concordant_less_discordant_over_all_pairs(seed: int) -> None:
    before, after = table(8, 3, seed), table(8, 5, seed + 1)
    met, target = some_pairs(8)
    a, b = distances(before, met, target), distances(after, met, target)
    signs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    (tau,) = kendall_tau(before, after, (met, target), np.array([0] + [1] * 7), seed=0, most=MANY)
    assert tau == pytest.approx(sum(signs) / len(signs))


def test_distances_are_euclidean() -> None:
    vectors = table(9, 4, 0)
    met, target = some_pairs(9)
    expected = np.linalg.norm(vectors[met].astype(float) - vectors[target], axis=1)
    np.testing.assert_allclose(distances(vectors, met, target), expected)


def test_a_table_agrees_with_itself_at_any_scale_and_not_with_one_that_turns_its_order_round() -> None:
    line = np.array([[0.0], [1], [3], [7]])
    inverse = np.array([[0.0], [0], [10], [6]])
    pairs, bucket_I = (np.array([1, 2, 1, 1]), np.array([2, 3, 3, 2])), np.array([0, 1, 1, 1])
    assert kendall_tau(line, 5 * line, pairs, bucket_I, seed=0, most=MANY).tolist() == [1]
    assert distances(inverse, *pairs)[:3].tolist() == [10, 4, 6]
    first_three = (pairs[0][:3], pairs[1][:3])
    assert kendall_tau(line, inverse, first_three, bucket_I, seed=0, most=MANY)[0] == pytest.approx(-1 / 3)
    assert kendall_tau(line, np.array([[0.0], [0], [3], [1]]), first_three, bucket_I, seed=0, most=MANY)[0] == -1


def test_a_pair_counts_in_its_targets_bucket_and_a_bucket_of_one_has_no_value() -> None:
    before, after = table(7, 3, 0), table(7, 3, 0)
    after[4:] = table(3, 3, 5)
    pairs = np.array([1, 2, 3, 1, 2, 1, 1]), np.array([2, 3, 1, 4, 5, 6, 6])
    tau = kendall_tau(before, after, pairs, np.array([0, 1, 1, 1, 2, 3, 4]), seed=0, most=MANY)
    assert tau[0] == 1
    assert np.isnan(tau[1:]).all()


def test_many_pairs_are_sampled_by_seed_near_the_exact_value() -> None:
    before = table(120, 4, 0)
    after = before + 0.5 * table(120, 4, 1)
    pairs, bucket_I = some_pairs(120), np.array([0] + [1] * 119)
    (exact,) = kendall_tau(before, after, pairs, bucket_I, seed=0, most=MANY)
    drawn = [kendall_tau(before, after, pairs, bucket_I, seed=seed, most=2000)[0] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn == pytest.approx([exact] * 3, abs=0.05)
    assert exact not in drawn


def test_tables_of_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"compared item by item, but got 5 and 6 rows; take both from one data set"):
        kendall_tau(table(5, 2, 0), table(6, 2, 0), some_pairs(5), np.ones(5, int), seed=0, most=MANY)


def test_histograms_hold_the_tails_of_the_id_distances_where_the_text_puts_them() -> None:
    ids, items = table(41, 4, 0), np.arange(1, 41)
    by_id, by_text = distance_histograms(ids, 3 * ids, items, seed=0, bins=20, most=MANY)
    met, target = some_pairs(41)
    ordered = np.sort(distances(ids, met, target))
    assert by_id.middle_H[0] - ordered[0] == pytest.approx((ordered[-1] - ordered[0]) / 40)
    for one in (by_id, by_text):
        assert one.nearest_H.sum() == pytest.approx(1)
        assert one.farthest_H.sum() == pytest.approx(1)
        assert one.separation == 1
    np.testing.assert_allclose(by_text.middle_H, 3 * by_id.middle_H)
    size = len(ordered) // 10
    half = (by_id.middle_H[1] - by_id.middle_H[0]) / 2
    assert by_id.nearest_H[by_id.middle_H - half > ordered[size - 1]].sum() == 0
    assert by_id.farthest_H[by_id.middle_H + half < ordered[-size]].sum() == 0
    assert (by_id.nearest_H[0], by_id.farthest_H[-1]) > (0, 0)


def test_a_text_table_of_its_own_cannot_tell_the_tails_apart_and_one_turned_round_does_so_falsely() -> None:
    ids, items = table(200, 4, 0), np.arange(1, 200)
    separations = [
        distance_histograms(ids, table(200, 4, seed), items, seed=0, most=MANY)[1].separation for seed in range(10, 26)
    ]
    assert np.mean(separations) == pytest.approx(0.5, abs=0.05)
    line = np.array([[0.0], [0.0], [1.0], [10.0], [12.0]])
    bent = np.array([[0.0], [0.0], [9.0], [1.0], [2.0]])
    _, turned = distance_histograms(line, bent, np.arange(1, 5), seed=0, tail=0.17, most=MANY)
    assert turned.separation == 0


def test_many_pairs_of_items_are_drawn_by_seed() -> None:
    ids, text, items = table(300, 4, 0), table(300, 6, 1), np.arange(1, 300)
    first, again, other = (
        distance_histograms(ids, text, items, seed=seed, most=3000)[1].nearest_H for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()


def test_too_few_items_for_a_pair_in_each_tail_are_refused() -> None:
    with pytest.raises(ValueError, match=r"farthest 10% of pairs need 10 pairs or more, but got 6 of 4 items; look at"):
        distance_histograms(table(9, 2, 0), table(9, 2, 1), np.arange(1, 5), seed=0, most=MANY)


def test_gate_weights_are_means_over_each_buckets_items() -> None:
    weight_IE = np.array([[9, 9], [0.2, 0.8], [0.4, 0.6], [1, 0]])
    found = gate_weights(weight_IE, np.array([0, 1, 1, 3]))
    np.testing.assert_allclose(found[[0, 2]], np.array([[0.3, 0.7], [1, 0]]))
    assert np.isnan(found[1]).all()


def test_curves_are_written_with_the_axis_first(tmp_path: Path) -> None:
    path = tmp_path / "gate.csv"
    write_curves(path, ("bucket", np.arange(1, 3)), {"id": np.array([0.25, np.nan]), "text": np.array([0.75, 1e-7])})
    assert [*csv.reader(path.open())] == [["bucket", "id", "text"], ["1", "0.25", "0.75"], ["2", "nan", "1e-07"]]
    assert not path.with_suffix(".json").exists()
    words = Words(title="Gate", x="bucket", y="weight", caption="Of each expert.")
    write_curves(path, ("bucket", np.arange(1)), {"id": np.zeros(1)}, words)
    assert json.loads(path.with_suffix(".json").read_text())["caption"] == "Of each expert."
    with pytest.raises(ValueError, match="shorter"):
        write_curves(path, ("bucket", np.arange(3)), {"id": np.zeros(2)})
