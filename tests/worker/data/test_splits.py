"""Leave-one-out against a loop that does what the words say; what stands in the way of any split."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.sequences import Sequences
from trainables.data.splits import Rows, leave_one_out, seen_items, shortage, split

MakeSequences = Callable[..., Sequences]

ITEMS = 9
KINDS = ("leave_one_out", "users", "time")

histories = st.lists(st.lists(st.integers(1, ITEMS), max_size=18), min_size=1, max_size=8)
settings_of_data = st.builds(
    Data,
    train_rows=st.sampled_from(["last", "all"]),
    max_history=st.integers(1, 12),
    keep_last=st.none() | st.integers(4, 15),
)


def by_hand(users: list[list[int]], data: Data) -> dict[str, list[tuple[int, list[int], int]]]:
    """Each split's (user, everything kept before the target, target)."""
    splits: dict[str, list[tuple[int, list[int], int]]] = {"train": [], "valid": [], "test": []}
    for number, user in enumerate(users):
        kept = user if data.keep_last is None else user[-data.keep_last :]
        for part, place in (("valid", len(kept) - 2), ("test", len(kept) - 1)):
            if place >= 1:
                splits[part].append((number, kept[:place], kept[place]))
        training = kept[:-2]
        for place in range(1, len(training)) if data.train_rows == "all" else [len(training) - 1]:
            if place >= 1:
                splits["train"].append((number, training[:place], training[place]))
    return splits


def as_rows(rows: Rows, sequences: Sequences) -> list[tuple[int, list[int], int]]:
    before = [sequences.items[a:b].tolist() for a, b in zip(rows.start_N, rows.stop_N, strict=True)]
    return list(zip(rows.user_N.tolist(), before, rows.target_N.tolist(), strict=True))


@settings(max_examples=50)
@given(histories, settings_of_data)
def test_splits_are_those_of_a_loop_over_users(sequences_of: MakeSequences, users: list[list[int]], data: Data) -> None:
    sequences = sequences_of(users)
    splits, expected = leave_one_out(sequences, data), by_hand(users, data)
    for name, rows in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        assert as_rows(rows, sequences) == expected[name]
        assert len(rows) == len(expected[name])
        assert rows.history_NL.shape == (len(rows), data.max_history)
        assert {rows.history_NL.dtype, rows.target_N.dtype, rows.user_N.dtype} == {np.dtype(np.int32)}
        for history, (_, before, _) in zip(rows.history_NL.tolist(), expected[name], strict=True):
            newest = before[-data.max_history :]
            assert history == [0] * (data.max_history - len(newest)) + newest


@settings(max_examples=50)
@given(histories, settings_of_data, st.integers(1, 5))
def test_seen_items_are_all_kept_items_before_the_target(
    sequences_of: MakeSequences, users: list[list[int]], data: Data, size: int
) -> None:
    sequences = sequences_of(users)
    rows = leave_one_out(sequences, data).test
    seen = seen_items(sequences, rows)
    expected = [before for _, before, _ in by_hand(users, data)["test"]]
    for start in range(0, len(rows), size):
        row, item = seen.pairs(start, start + size)
        part = expected[start : start + size]
        assert list(zip(row.tolist(), item.tolist(), strict=True)) == [
            (number, each) for number, before in enumerate(part) for each in before
        ]


@settings(max_examples=30)
@given(histories, settings_of_data)
def test_no_training_row_holds_a_later_target(sequences_of: MakeSequences, users: list[list[int]], data: Data) -> None:
    sequences = sequences_of(users)
    splits = leave_one_out(sequences, data)
    ends = sequences.offsets[1:]
    assert (splits.train.stop_N < ends[splits.train.user_N] - 2).all()
    assert (splits.valid.stop_N == ends[splits.valid.user_N] - 2).all()
    assert (splits.test.stop_N == ends[splits.test.user_N] - 1).all()


def test_a_user_enters_each_split_from_its_own_length_on(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]])
    splits = leave_one_out(sequences, Data())
    assert splits.test.user_N.tolist() == [1, 2, 3]
    assert splits.valid.user_N.tolist() == [2, 3]
    assert splits.train.user_N.tolist() == [3]


def test_thirteen_kept_items_make_ten_of_history_and_three_targets(sequences_of: MakeSequences) -> None:
    sequences = sequences_of([[9, 9, *range(1, 10), 1, 2, 3, 4]])
    splits = leave_one_out(sequences, Data())
    assert splits.train.history_NL.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]]
    assert (splits.train.target_N[0], splits.valid.target_N[0], splits.test.target_N[0]) == (2, 3, 4)
    assert splits.test.history_NL.tolist() == [[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]]


@settings(max_examples=50)
@given(histories, st.sampled_from(KINDS), st.integers(1, 12), st.none() | st.integers(4, 15))
def test_a_split_is_refused_exactly_where_one_of_its_three_parts_would_be_empty(
    sequences_of: MakeSequences, users: list[list[int]], kind: str, max_history: int, keep_last: int | None
) -> None:
    data = Data(split=kind, max_history=max_history, keep_last=keep_last)  # type: ignore[arg-type]
    sequences = sequences_of(users, [list(map(float, range(len(user)))) for user in users])
    if shortage(np.diff(sequences.offsets), data) is None:
        made = split(sequences, data)
        assert min(len(made.train), len(made.valid), len(made.test)) > 0
        return
    with pytest.raises(DataError, match=rf"^data\.split: {kind} needs .* each have a row, but in synthetic .* has|are"):
        split(sequences, data)
    if kind == "leave_one_out":
        made = leave_one_out(sequences, data)
        assert min(len(made.train), len(made.valid), len(made.test)) == 0


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("leave_one_out", "leave_one_out needs a user of 4 interactions or more, so that training, validation and test "
                          "each have a row, but in toy the longest of 6 users has 3; use a larger data set"),
        ("users", "users needs 6 users of 2 interactions or more, so that .*, but in toy there are 5; use"),
        ("time", r"time needs 6 windows \(an item and at least one before it\), so that .*, but in toy there are 5"),
    ],
)  # fmt: skip
def test_too_little_data_is_told_with_what_is_needed_and_what_is_there(kind: str, message: str) -> None:
    lengths = np.array([1, 2, 2, 2, 3, 3])
    assert shortage(np.append(lengths, [4, 4]), Data(name="toy", split=kind)) is None  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"^data.split: {message}"):
        raise DataError(shortage(lengths, Data(name="toy", split=kind)) or "")  # type: ignore[arg-type]
