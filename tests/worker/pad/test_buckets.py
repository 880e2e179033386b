"""Buckets of equal interaction mass, the released code's sizes on Prime Pantry, metrics of warm and cold rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.sequences import Sequences, load
from trainables.data.splits import leave_one_out
from trainables.pad.buckets import buckets, group_metrics, groups, item_frequency, target_groups
from trainables.pad.config import METRICS
from trainables.seqrec.config import TOP_K
from trainables.seqrec.metrics import ranking_metrics
from trainables.storage.stages import Stages

MakeSequences = Callable[..., Sequences]
SIZES = [35, 65, 105, 156, 224, 313, 459, 717, 1274, 4999]
"""Of 8,347 items; the released code counts padding into the last, which makes 5,000."""
PANTRY = "amazon-prime-pantry-2018"

frequencies = st.lists(st.integers(0, 30), min_size=1, max_size=60)


def looped(frequency: list[int], count: int) -> list[int] | None:
    """Close a bucket as soon as it holds its share; None where a bucket gets no item, or there is nothing to share."""
    found, bucket, held = {}, 1, 0
    for item in sorted(range(1, len(frequency)), key=lambda i: (-frequency[i], i)):
        found[item] = bucket
        held += frequency[item]
        if bucket < count and held * count >= sum(frequency[1:]):
            bucket, held = bucket + 1, 0
    complete = len({*found.values()}) == count and any(frequency[1:])
    return [found.get(item, 0) for item in range(len(frequency))] if complete else None


@given(frequencies, st.integers(1, 12))
@settings(max_examples=30)
def test_buckets_equal_a_loop_over_items_or_are_refused_where_one_is_empty(frequency: list[int], count: int) -> None:
    frequency = [99, *frequency]
    expected = looped(frequency, count)
    if expected is None:
        with pytest.raises(DataError, match=rf"each of {count} buckets needs an item, but bucket \d+ gets none of the"):
            buckets(np.array(frequency), count)
    else:
        assert buckets(np.array(frequency), count).tolist() == expected


@given(st.lists(st.integers(0, 30), min_size=40, max_size=80), st.integers(1, 4))
@settings(max_examples=30)
def test_colder_buckets_hold_rarer_items_and_all_but_the_last_their_share(frequency: list[int], count: int) -> None:
    frequency_I = np.array([0, *frequency, *[1] * 30])
    bucket_I = buckets(frequency_I, count)
    assert bucket_I.dtype == np.int64
    assert bucket_I[0] == 0
    assert {*bucket_I[1:]} == {*range(1, count + 1)}
    mass = np.bincount(bucket_I, weights=frequency_I)[1:]
    assert (mass[:-1] >= frequency_I.sum() / count).all()
    for bucket in range(1, count):
        assert frequency_I[bucket_I == bucket].min() >= frequency_I[bucket_I == bucket + 1].max()


def test_items_of_one_frequency_go_by_their_numbers_and_items_never_met_are_coldest() -> None:
    assert buckets(np.array([0, 2, 0, 2, 2, 0, 2]), 2).tolist() == [0, 1, 2, 1, 2, 2, 2]
    assert buckets(np.array([0, 1, 1, 0, 0]), 3).tolist() == [0, 1, 2, 3, 3]


def test_a_bucket_without_items_is_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^each of 3 buckets needs an item, but bucket 3 gets none of the 2 items with 12 interactions in all; "
        r"lower the number of buckets or use a larger data set$",
    ):
        buckets(np.array([0, 8, 4]), 3)


def test_frequency_counts_training_parts_however_many_rows_a_user_has(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 1, 3, 4, 5], [2, 3, 6, 7], [8, 9], [9, 9, 9]])
    for train_rows in ("last", "all"):
        data = Data(train_rows=train_rows, max_history=2, keep_last=None)
        frequency_I = item_frequency(sequences, leave_one_out(sequences, data).train)
        assert frequency_I.tolist() == [0, 2, 2, 2, 0, 0, 0, 0, 0, 0]


def test_frequencies_of_one_user_are_refused(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 3, 4, 5], [6, 7]])
    train = leave_one_out(sequences, Data()).train
    with pytest.raises(
        DataError, match=r"need the training rows of 2 users or more, but made up has those of 1; use a"
    ):
        item_frequency(sequences, train)


def test_prime_pantry_has_the_released_codes_buckets(tmp_path: Path, real_data: Path) -> None:
    data = Data(name=PANTRY, root=str(real_data), keep_last=23, max_history=20)
    sequences = load(data, Stages(tmp_path))
    splits = leave_one_out(sequences, data)
    frequency_I = item_frequency(sequences, splits.train)
    assert frequency_I.sum() == 89_262
    bucket_I = buckets(frequency_I)
    assert np.bincount(bucket_I).tolist() == [1, *SIZES]
    edges = [int(frequency_I[bucket_I == bucket].min()) for bucket in range(1, 10)]
    assert edges == [173, 118, 70, 48, 33, 24, 16, 10, 5]
    mass = np.bincount(bucket_I, weights=frequency_I)[1:]
    assert (mass.min(), mass.max()) == (8_731, 9_000)
    group_I = groups(frequency_I)
    assert np.bincount(group_I).tolist() == [1, sum(SIZES[:3]), sum(SIZES[3:7]), sum(SIZES[7:])]
    assert np.bincount(target_groups(group_I, splits.test, "test"))[1:].min() > 1_000


def test_the_built_in_data_have_all_buckets_and_targets_of_all_groups(tmp_path: Path) -> None:
    data = Data(keep_last=23, max_history=20)
    sequences = load(data, Stages(tmp_path))
    splits = leave_one_out(sequences, data)
    frequency_I = item_frequency(sequences, splits.train)
    assert np.bincount(buckets(frequency_I), minlength=11)[1:].min() > 0
    assert np.bincount(target_groups(groups(frequency_I), splits.test, "test"), minlength=4)[1:].min() > 50


def test_groups_are_of_ten_buckets() -> None:
    frequency_I = np.array([0, *range(100, 0, -1)])
    bucket_I, group_I = buckets(frequency_I, 10), groups(frequency_I)
    assert {(b, g) for b, g in zip(bucket_I.tolist(), group_I.tolist(), strict=True)} == {
        (0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 2), (8, 3), (9, 3), (10, 3)
    }  # fmt: skip


def test_metrics_of_groups_have_the_promised_names_and_are_those_of_their_rows() -> None:
    rank_N, group_N = np.array([1, 30, 2, 12, 5]), np.array([1, 1, 2, 3, 3])
    found = group_metrics("test", rank_N, group_N, TOP_K)
    assert {*found} == {name for name in METRICS if name.rpartition("_")[2] in ("warm", "median", "cold")}
    assert found["test/hr_10_warm"] == 0.5
    assert found["test/hr_20_cold"] == 1
    assert found["test/ndcg_10_cold"] == ranking_metrics("test", rank_N[3:], (10,))["test/ndcg_10"]


def test_a_split_without_cold_targets_is_refused(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 3, 1], [2, 1, 3, 2], [1, 1, 3, 1]])
    rows = leave_one_out(sequences, Data()).test
    with pytest.raises(
        DataError, match=r"metrics of cold items need a test row whose target is one, but got none in 3 rows; use a"
    ):
        target_groups(np.array([0, 1, 2, 3, 3, 3, 3, 3, 3, 3]), rows, "test")
