"""Windows in global time: against a loop, in order, and never with the future in training."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.sequences import Sequences
from trainables.data.splits import Splits, seen_items, split

MakeSequences = Callable[..., Sequences]
User = list[tuple[float, int]]

steps = st.tuples(st.integers(0, 12).map(float), st.integers(1, 9))
ordered = st.lists(steps, max_size=14).map(lambda user: sorted(user, key=lambda step: step[0]))
histories = st.lists(ordered, min_size=8, max_size=14).filter(lambda users: sum(len(user) > 1 for user in users) >= 6)
settings_of_data = st.builds(
    Data,
    split=st.just("time"),
    max_history=st.integers(1, 11),
    keep_last=st.none() | st.integers(4, 13),
    train_rows=st.sampled_from(["last", "all"]),
)


def made_of(sequences_of: MakeSequences, users: list[User]) -> Sequences:
    return sequences_of([[item for _, item in user] for user in users], [[time for time, _ in user] for user in users])


def by_hand(users: list[User], data: Data) -> list[tuple[int, list[int], int]]:
    """All windows in order: (user, history, target)."""
    found = []
    for number, user in enumerate(users):
        kept = user if data.keep_last is None else user[-data.keep_last :]
        for place in range(min(data.max_history, len(kept) - 1), len(kept)):
            if place >= 1:
                history = [item for _, item in kept[max(place - data.max_history, 0) : place]]
                found.append((kept[place][0], (number, history, kept[place][1])))
    return [window for _, window in sorted(found, key=lambda pair: pair[0])]


def windows_of(splits: Splits) -> list[tuple[int, list[int], int]]:
    return [
        (user, [item for item in history if item], target)
        for rows in (splits.train, splits.valid, splits.test)
        for user, history, target in zip(
            rows.user_N.tolist(), rows.history_NL.tolist(), rows.target_N.tolist(), strict=True
        )
    ]


@settings(max_examples=30)
@given(histories, settings_of_data)
def test_windows_are_those_of_a_loop_and_cut_at_80_and_90_percent(
    sequences_of: MakeSequences, users: list[User], data: Data
) -> None:
    splits = split(made_of(sequences_of, users), data)
    expected = by_hand(users, data)
    assert windows_of(splits) == expected
    assert len(splits.train) == int(len(expected) * 0.8 + 1e-9)
    assert len(splits.train) + len(splits.valid) == int(len(expected) * 0.9 + 1e-9)


@settings(max_examples=30)
@given(histories, settings_of_data)
def test_training_holds_nothing_later_than_what_is_evaluated(
    sequences_of: MakeSequences, users: list[User], data: Data
) -> None:
    sequences = made_of(sequences_of, users)
    assert sequences.times is not None
    splits = split(sequences, data)
    train, valid, test = (sequences.times[rows.stop_N] for rows in (splits.train, splits.valid, splits.test))
    assert train.max() <= valid.min()
    assert valid.max() <= test.min()
    held_out = {*splits.valid.stop_N.tolist(), *splits.test.stop_N.tolist()}
    for start, stop in zip(splits.train.start_N, splits.train.stop_N, strict=True):
        assert not held_out & set(range(start, stop + 1))


def test_short_users_give_one_window_and_long_ones_one_for_each_item_after_the_tenth(
    sequences_of: MakeSequences,
) -> None:
    lengths = [2, 5, 10, 11, 12, 20]
    sequences = sequences_of([[1] * n for n in lengths], [[float(step) for step in range(n)] for n in lengths])
    rows = split(sequences, Data(split="time", keep_last=None))
    users = [user for user, _, _ in windows_of(rows)]
    assert [users.count(user) for user in range(6)] == [1, 1, 1, 1, 2, 10]


def test_equal_times_stand_in_the_order_of_users_and_then_of_their_interactions(sequences_of: MakeSequences) -> None:
    users = [[1, 2, 3], [4, 5], [6, 7, 8], [9, 1]]
    sequences = sequences_of(users, [[0.0, 7, 7], [0, 5], [7, 7, 7], [0, 7]])
    splits = split(sequences, Data(split="time", max_history=1))
    order = [(user, target) for user, _, target in windows_of(splits)]
    assert order == [(1, 5), (0, 2), (0, 3), (2, 7), (2, 8), (3, 1)]


def test_seen_items_reach_back_beyond_the_window(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 3, 4, 5, 6, 7, 8]], [[float(step) for step in range(8)]])
    splits = split(sequences, Data(split="time", max_history=2, keep_last=None))
    assert splits.test.history_NL.tolist() == [[6, 7]]
    assert seen_items(sequences, splits.test).items.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_data_without_times_are_refused(sequences_of: MakeSequences) -> None:
    message = (
        r"^data\.split: time needs a timestamp on every interaction, but made up has none, or not on all of them; "
    )
    with pytest.raises(DataError, match=message + "choose leave_one_out or users, or complete the timestamps"):
        split(sequences_of([[1, 2]] * 6), Data(split="time"))


def test_the_training_rows_are_all_windows_whatever_train_rows_says(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1, 2, 3, 4]] * 6, [[0.0, 1, 2, 3]] * 6)
    one, other = (split(sequences, Data(split="time", max_history=1, train_rows=rows)) for rows in ("last", "all"))
    assert np.array_equal(one.train.stop_N, other.train.stop_N)
    assert len(one.train) == 14
