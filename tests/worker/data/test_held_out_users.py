"""Whole users held out: who is drawn, which rows they give, and that nobody is on both sides."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.config import Data
from trainables.data.sequences import Sequences
from trainables.data.splits import Rows, split

MakeSequences = Callable[..., Sequences]

histories = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=6, max_size=24)
settings_of_data = st.builds(
    Data,
    split=st.just("users"),
    split_seed=st.integers(0, 99),
    train_rows=st.sampled_from(["last", "all"]),
    held_out_rows=st.sampled_from(["last", "all"]),
    max_history=st.integers(1, 6),
    keep_last=st.none() | st.integers(4, 6),
)


def by_hand(rows: Rows, users: list[list[int]], data: Data, which: str) -> list[tuple[int, list[int], int]]:
    """(user, everything kept before the target, target) of the users that ``rows`` are about."""
    found = []
    for number in sorted(set(rows.user_N.tolist())):
        kept = users[number] if data.keep_last is None else users[number][-data.keep_last :]
        places = range(1, len(kept)) if which == "all" else [len(kept) - 1]
        found += [(number, kept[:place], kept[place]) for place in places]
    return found


@settings(max_examples=30)
@given(histories, settings_of_data)
def test_rows_are_those_of_a_loop_and_no_user_is_in_two_splits(
    sequences_of: MakeSequences, users: list[list[int]], data: Data
) -> None:
    sequences = sequences_of(users)
    splits = split(sequences, data)
    parts = (splits.train, splits.valid, splits.test)
    for rows, which in zip(parts, (data.train_rows, data.held_out_rows, data.held_out_rows), strict=True):
        before = [sequences.items[a:b].tolist() for a, b in zip(rows.start_N, rows.stop_N, strict=True)]
        made = list(zip(rows.user_N.tolist(), before, rows.target_N.tolist(), strict=True))
        assert made == by_hand(rows, users, data, which)
        for history, (_, kept, _) in zip(rows.history_NL.tolist(), made, strict=True):
            assert [item for item in history if item] == kept[-data.max_history :]
    train, valid, test = (set(rows.user_N.tolist()) for rows in parts)
    assert not train & valid | train & test | valid & test
    assert train | valid | test == set(range(len(users)))


def test_eight_of_ten_users_train_and_users_without_a_row_are_not_drawn(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 3]] * 50 + [[4], []] * 20 + [[5, 6]] * 50)
    splits = split(sequences, Data(split="users"))
    assert [len(rows) for rows in (splits.train, splits.valid, splits.test)] == [80, 10, 10]


@pytest.mark.parametrize("field", ["train_rows", "keep_last", "max_history"])
def test_the_seed_alone_draws_the_users(sequences_of: MakeSequences, field: str) -> None:
    sequences = sequences_of([[1, 2, 3, 4, 5]] * 40)
    other = {"train_rows": "all", "keep_last": 4, "max_history": 2}[field]

    def held_out(**fields: object) -> list[int]:
        return split(sequences, Data(split="users", **fields)).test.user_N.tolist()  # type: ignore[arg-type]

    assert held_out() == held_out(**{field: other})
    assert held_out() != held_out(split_seed=1)
    assert np.array_equal(sorted(held_out()), held_out())
