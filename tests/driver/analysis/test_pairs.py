"""Paired tests between cells: numbers by hand and by scipy, and what is left out with its reason."""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from platform.analysis import compare, pairs, resampling
from platform.analysis.pairs import PairedTests
from platform.sweepfile.spec import load

SWEEP = """\
name: ways
trainable: tests.trainables.curve
metric: {name: valid/METRIC, goal: maximize}
method: grid
num_trials: 9
parameters:
  way: {values: [a, b, c]}
  seed: {values: [0, 1]}
compare: {by: [way]}
"""


@pytest.fixture
def tested(tmp_path: Path, write_trial: Callable[..., Path]) -> Callable[..., PairedTests]:
    """Call with trials (way, seed, ranks, and more of `write_trial`) for the paired tests between ways.

    Without trials, those of the last call are tested again.
    """

    def test(*trials: Sequence[Any], metric: str = "ndcg_20") -> PairedTests:
        (tmp_path / "ways.yaml").write_text(SWEEP.replace("METRIC", metric))
        folder = tmp_path / "runs" / "ways"
        if trials:
            shutil.rmtree(folder, ignore_errors=True)
        for number, (way, seed, ranks, *more) in enumerate(trials):
            values = {"way": way, "seed": seed}
            write_trial(folder, number, values, [0.5], name=f"valid/{metric}", ranks=ranks, **(more[0] if more else {}))
        return pairs.paired(compare.compare([(load(tmp_path / "ways.yaml"), folder)]))

    return test


def test_three_users_by_hand(tested):
    tests = tested(("a", 0, [1, 3, 30]), ("b", 0, [1, 1, 1]))
    (pair,) = tests.pairs
    assert (pair.first, pair.second, tests.k) == ("a", "b", 20)
    assert (pair.mean_first, pair.mean_second) == (0.5, 1.0)  # (1 + 1/2 + 0) / 3
    assert pair.difference == -0.5
    assert (pair.low, pair.high) == (-1.0, 0.0)  # all three draws the third user, or the first: 1 of 27 each
    assert (pair.rows, pair.users) == (3, 3)


def test_too_few_users_are_said_and_not_tested(tested):
    tests = tested(("a", 0, [1, 3, 30]), ("b", 0, [1, 1, 1]), ("c", 0, [2, 2, 2]))
    assert [(pair.p, pair.p_holm, pair.p_wilcoxon) for pair in tests.pairs] == [(None, None, None)] * 3
    assert tests.left_out == (
        "a p value needs at least 6 users, but a and b have 3, as others have; no test is made there",
    )


def test_six_users_by_hand(tested):
    (pair,) = tested(("a", 0, [30, 30, 30, 30, 30, 1]), ("b", 0, [1, 1, 1, 1, 1, 1])).pairs
    assert pair.p == pytest.approx(2 / 2**5, abs=0.005)  # five differences of one size and sign, and one of zero
    assert pair.p_wilcoxon == pytest.approx(2 / 2**5)


def test_the_p_value_speaks_of_the_printed_difference_not_of_the_median(tested):
    """800 users gain a little, 200 lose much: Wilcoxon's ranks point the other way, as sure of it."""
    ranks = {"a": [19] * 800 + [30] * 200, "b": [20] * 800 + [10] * 200}
    (pair,) = tested(*((way, 0, each) for way, each in ranks.items())).pairs
    assert pair.difference < 0 > pair.high
    assert pair.p == pytest.approx(1 / (1 + resampling.FLIPS))
    difference_U = pairs.gain(np.array(ranks["a"]), 20) - pairs.gain(np.array(ranks["b"]), 20)
    assert stats.wilcoxon(difference_U, alternative="greater").pvalue < 1e-6


@pytest.mark.parametrize("values", [(-0.2, 0.05), (-0.2, 0.2)], ids=["skewed", "symmetric"])
def test_without_a_difference_one_test_in_twenty_is_significant(monkeypatch, values):
    monkeypatch.setattr(resampling, "FLIPS", 1000)
    low, high = values
    draws = np.random.default_rng(0)
    total_UC = np.where(draws.random((2000, 400)) < high / (high - low), low, high)
    p = [
        resampling.randomisation(flips, column.sum())
        for flips, column in zip(resampling.flipped_sums(total_UC).T, total_UC.T, strict=True)
    ]
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.08  # 400 tests: .05 +- .022


def test_flipped_sums_have_the_spread_of_random_signs_however_many_are_drawn_at_once(monkeypatch):
    total = np.random.default_rng(0).random((7, 2))
    for at_once in (100, 1_000_000):
        monkeypatch.setattr(resampling, "_SIGNS_AT_ONCE", at_once)
        flipped = resampling.flipped_sums(total)
        assert flipped.shape == (resampling.FLIPS, 2)
        assert flipped.mean(axis=0) == pytest.approx([0, 0], abs=0.06)
        assert flipped.std(axis=0) == pytest.approx(np.sqrt((total**2).sum(axis=0)), rel=0.03)


@pytest.mark.parametrize(("metric", "k"), [("ndcg_20", 20), ("ndcg_5", 5), ("loss", 20)])
def test_scores_are_cut_where_the_objective_is(tested, metric, k):
    tests = tested(("a", 0, [k, k, k + 1]), ("b", 0, [1, 1, 1]), metric=metric)
    assert tests.k == k
    assert tests.pairs[0].mean_first == pytest.approx(2 / 3 / np.log2(k + 1))


def random_ranks(seed: int, rows: int, top: int = 60) -> list[int]:
    return np.random.default_rng(seed).integers(1, top, rows).tolist()


def test_many_rows_agree_with_scipy(tested):
    one, other = random_ranks(0, 400), random_ranks(1, 400, top=45)
    (pair,) = tested(("a", 0, one), ("b", 0, other)).pairs
    score = pairs.gain(np.array([one, other]), 20)
    difference = score[0] - score[1]
    assert pair.difference == pytest.approx(difference.mean())
    assert pair.p_wilcoxon == pytest.approx(stats.wilcoxon(difference).pvalue)
    flips = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=10_000, rng=np.random.default_rng(5)
    )
    assert pair.p == pytest.approx(flips.pvalue, abs=4 * np.sqrt(flips.pvalue / 10_000))
    theirs = stats.bootstrap(
        (difference,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(5)
    )
    spread = theirs.standard_error
    assert pair.low == pytest.approx(theirs.confidence_interval.low, abs=0.1 * spread)
    assert pair.high == pytest.approx(theirs.confidence_interval.high, abs=0.1 * spread)


def test_scores_are_averaged_over_seeds_row_by_row(tested):
    rest = [30] * 4
    (pair,) = tested(
        ("a", 0, [1, 30, *rest]), ("a", 1, [3, 30, *rest]), ("b", 0, [3, 1, *rest]), ("b", 1, [1, 30, *rest])
    ).pairs
    assert (pair.mean_first, pair.mean_second) == (0.75 / 6, 1.25 / 6)
    assert pair.p == pair.p_wilcoxon == 1.0  # the first row is equal over both seeds, one difference is left


def test_sums_in_another_order_are_no_difference(tested):
    values = [[2, 3, 4, 5, 6, 7], [5, 7, 9, 11, 13, 15], [11, 13, 10, 8, 6, 4]]
    trials = [("a", seed, ranks) for seed, ranks in enumerate(values)]
    trials += [("b", seed, ranks) for seed, ranks in enumerate(reversed(values))]
    (pair,) = tested(*trials).pairs
    assert pair.p == pair.p_wilcoxon == 1.0


def test_equal_cells_have_no_difference_and_p_1(tested):
    ranks = random_ranks(0, 50)
    (pair,) = tested(("a", 0, ranks), ("b", 0, ranks)).pairs
    assert (pair.difference, pair.low, pair.high, pair.p, pair.p_holm, pair.p_wilcoxon) == (0, 0, 0, 1, 1, 1)


def test_the_rows_of_one_user_count_as_one(tested):
    one, other = random_ranks(0, 30), random_ranks(1, 30)
    (once,) = tested(("a", 0, one), ("b", 0, other)).pairs
    users = {"users": [*range(30), *range(30)]}
    (twice,) = tested(("a", 0, one + one, users), ("b", 0, other + other, users)).pairs
    assert (twice.rows, twice.users) == (60, 30)
    assert (twice.low, twice.high, twice.p) == pytest.approx((once.low, once.high, once.p))
    assert twice.p_wilcoxon == pytest.approx(once.p_wilcoxon)


def test_the_mean_is_over_rows_where_users_have_more_than_one(tested):
    users = {"users": [0, 0, 0, 1]}
    (pair,) = tested(("a", 0, [1, 1, 1, 30], users), ("b", 0, [30, 30, 30, 30], users)).pairs
    assert pair.difference == 0.75
    assert (pair.low, pair.high) == (0.0, 1.0)  # a quarter of the samples is one of the two users alone


def test_p_values_are_corrected_for_all_pairs_of_the_table(tested):
    ranks = {way: random_ranks(seed, 200, top) for seed, (way, top) in enumerate({"a": 30, "b": 40, "c": 60}.items())}
    found = tested(*((way, 0, each) for way, each in ranks.items())).pairs
    assert [(pair.first, pair.second) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.p_holm for pair in found] == resampling.holm([pair.p for pair in found])
    assert min(pair.p_holm for pair in found) == 3 * min(pair.p for pair in found) < 0.05


def test_holm_by_hand():
    assert resampling.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert resampling.holm([0.5, 0.6]) == [1.0, 1.0]
    assert resampling.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=30)
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p):
    corrected = resampling.holm(p)
    for one, two in zip(p, corrected, strict=True):
        assert one <= two <= min(1, len(p) * one) + 1e-12
    assert sorted(corrected) == [corrected[index] for index in sorted(range(len(p)), key=p.__getitem__)]


def test_resamples_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch):
    score = np.random.default_rng(0).random((7, 2))
    whole = resampling.resampled_means(score, np.arange(7))
    monkeypatch.setattr(resampling, "_AT_ONCE", 100)
    assert np.array_equal(resampling.resampled_means(score, np.arange(7)), whole)
    assert whole.shape == (resampling.RESAMPLES, 2)
    assert whole.mean(axis=0) == pytest.approx(score.mean(axis=0), abs=0.01)


RANKS = [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tags": {"data.fingerprint": "f00", "data.rows": "other"}}, "as they ranked other test rows (data.rows)"),
        ({"tags": {"data.fingerprint": "other"}}, "as they ranked other data (data.fingerprint)"),
        ({"tags": {}}, "as nothing says which data they ranked (no data.fingerprint)"),
        ({"users": [5, 4, 3, 2, 1, 0]}, "as their rows are of other users"),
    ],
)
def test_cells_on_other_rows_are_not_paired(tested, more, reason):
    tests = tested(("a", 0, RANKS), ("b", 0, RANKS, more), ("c", 0, RANKS))
    assert [(pair.first, pair.second) for pair in tests.pairs] == [("a", "c")]
    assert tests.left_out == (f"2 pairs are left out, {reason}: a and b, ...",)


def test_trials_without_data_rows_are_paired_by_their_data(tested):
    older = {"tags": {"data.fingerprint": "f00"}}
    tests = tested(("a", 0, RANKS), ("b", 0, RANKS, older), ("c", 0, RANKS, older))
    assert (len(tests.pairs), tests.left_out) == (3, ())


MASKED, RANKED = (
    {"tags": {"data.fingerprint": "f00", "data.rows": "r00", "data.mask_seen": masked}} for masked in ("true", "false")
)


def test_cells_of_which_one_leaves_seen_items_out_are_not_paired(tested):
    tests = tested(("a", 0, RANKS, MASKED), ("b", 0, RANKS, RANKED), ("c", 0, RANKS, MASKED))
    assert [(pair.first, pair.second) for pair in tests.pairs] == [("a", "c")]
    assert tests.left_out == ("2 pairs are left out, as one leaves seen items out (data.mask_seen): a and b, ...",)


def test_trials_that_do_not_say_whether_seen_items_were_left_out_are_paired_as_before(tested):
    tests = tested(("a", 0, RANKS), ("a", 1, RANKS, MASKED), ("b", 0, RANKS), ("b", 1, RANKS))
    assert (len(tests.pairs), tests.left_out) == (1, ())


def test_rows_of_another_number_are_not_paired(tested):
    tests = tested(("a", 0, RANKS), ("b", 0, [1, 2]))
    assert tests.left_out == ("1 pair is left out, as their rows are of other users: a and b",)


def test_a_cell_whose_seeds_ranked_different_rows_is_in_no_pair(tested):
    tests = tested(("a", 0, RANKS), ("a", 1, RANKS, {"users": [5, 6, 7, 8, 9, 10]}), ("b", 0, RANKS), ("b", 1, RANKS))
    assert tests.pairs == ()
    assert tests.left_out == ("a is in no pair: trials 0 and 1 ranked different rows",)


def test_missing_ranks_are_told(tested):
    tests = tested(("a", 0, None), ("b", 0, RANKS))
    assert (tests.pairs, tests.left_out) == ((), ("a is in no pair: trial 0 left no artifacts/ranks.npy",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"torn", "artifacts/ranks.npy of trial 0 cannot be read ("),
        (np.array([1, 2]), "artifacts/ranks.npy of trial 0 must hold user and rank of each row, but does not"),
        (np.zeros(3, [("user", "i4"), ("rank", "i4")]), "must hold ranks from 1 on, but does not"),
        (np.zeros(0, [("user", "i4"), ("rank", "i4")]), "must hold ranks from 1 on, but does not"),
    ],
)
def test_ranks_that_are_none_are_told(tested, tmp_path, content, reason):
    tested(("a", 0, RANKS), ("b", 0, RANKS))
    path = tmp_path / "runs" / "ways" / "trials" / "0" / "artifacts" / "ranks.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    tests = tested()
    assert tests.pairs == ()
    (told,) = tests.left_out
    assert told.startswith("a is in no pair: ")
    assert reason in told


def test_the_file_holds_every_pair(tested, tmp_path):
    tests = tested(("a", 0, [30, 30, 30, 30, 30, 1]), ("b", 0, [1, 1, 1, 1, 1, 1]))
    with pairs.write(tests, tmp_path).open() as stream:
        (line,) = csv.DictReader(stream)
    (pair,) = tests.pairs
    assert (line["first"], line["second"], line["metric"], line["difference"]) == (
        "a",
        "b",
        "test/ndcg_20",
        str(-5 / 6),
    )
    assert (line["p"], line["p_holm"], line["p_wilcoxon"]) == (str(pair.p), str(pair.p_holm), "0.0625")
    assert (line["rows"], line["users"]) == ("6", "6")
