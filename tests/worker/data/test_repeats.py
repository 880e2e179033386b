"""Repeated records: which stand again, and which stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.config import Duplicates
from trainables.data.repeats import adjacent, again, count_again, kept


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=30))
def test_a_record_repeats_one_before_it(records: list[tuple[int, int]]) -> None:
    records.sort(key=lambda record: record[0])
    user_N, item_N = np.array(records, np.int64).reshape(-1, 2).T
    assert again(user_N, item_N).tolist() == [record in records[:n] for n, record in enumerate(records)]
    assert count_again(user_N, item_N) == len(records) - len(set(records))
    assert adjacent(user_N, item_N).tolist() == [n > 0 and record == records[n - 1] for n, record in enumerate(records)]


@pytest.mark.parametrize(
    ("duplicates", "left"),
    [("keep", [1, 1, 1, 2, 1, 1]), ("drop", [1, 2, 1]), ("drop-adjacent", [1, 2, 1, 1])],
)
def test_what_stays_is_the_first_of_a_users_item_or_of_neighbours(duplicates: Duplicates, left: list[int]) -> None:
    user_N, item_N = np.array([0, 0, 0, 0, 0, 1]), np.array([1, 1, 1, 2, 1, 1])
    assert item_N[kept(user_N, item_N, duplicates)].tolist() == left
