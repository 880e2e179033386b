"""Loading: order inside a user, the fingerprint, and one memory-mapped copy for all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.config import Data
from trainables.data.packed import Packed
from trainables.data.sequences import load
from trainables.storage.stages import Stages

TIMED = "user_id:token\titem_id:token\ttimestamp:float\n"
UNTIMED = "user_id:token\titem_id:token\n"


def data_set(root: Path, inter: str, titles: tuple[str, ...] = ("Alpha", "Beta &amp; Co", "Gamma")) -> Data:
    folder = root / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.inter").write_text(inter)
    lines = [f"i{number}\t{title}" for number, title in enumerate(titles, start=1)]
    (folder / "toy.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *lines]) + "\n")
    return Data(name="toy", root=str(root))


def users(data: Data, stages: Stages) -> list[list[int]]:
    loaded = load(data, stages)
    return [part.tolist() for part in np.split(loaded.items, loaded.offsets[1:-1])]


def test_interactions_are_in_order_of_time_and_ties_in_file_order(tmp_path: Path) -> None:
    data = data_set(tmp_path, TIMED + "u\ti3\t5\nv\ti1\t9\nu\ti2\t1\nu\ti1\t5\nv\ti3\t2\n")
    assert users(data, Stages(tmp_path / "stages")) == [[2, 3, 1], [3, 1]]


@pytest.mark.parametrize("lines", [TIMED + "u\ti3\t1\nv\ti1\t\nu\ti2\t5\n", UNTIMED + "u\ti3\nv\ti1\nu\ti2\n"])
def test_without_a_full_timestamp_column_the_file_order_stays(tmp_path: Path, lines: str) -> None:
    assert users(data_set(tmp_path, lines), Stages(tmp_path / "stages")) == [[3, 2], [1]]


def test_times_stand_beside_the_items_only_where_every_line_has_one(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages")
    loaded = load(data_set(tmp_path, TIMED + "u\ti3\t5\nv\ti1\t9.5\nu\ti2\t1\n"), stages)
    assert loaded.times is not None
    assert isinstance(loaded.times, np.memmap)
    assert (loaded.items.tolist(), loaded.times.tolist()) == ([2, 3, 1], [1, 5, 9.5])
    assert load(data_set(tmp_path, TIMED + "u\ti3\t5\nv\ti1\t\n"), stages).times is None
    assert load(data_set(tmp_path, UNTIMED + "u\ti3\n"), stages).times is None


def test_a_loaded_data_set_says_what_it_holds(tmp_path: Path) -> None:
    loaded = load(data_set(tmp_path, UNTIMED + "u\ti1\nu\ti1\nv\ti3\n"), Stages(tmp_path / "stages"))
    assert (loaded.name, loaded.num_users, loaded.num_items) == ("toy", 2, 4)
    assert list(loaded.titles) == ["", "Alpha", "Beta & Co", "Gamma"]
    assert (loaded.items.dtype, loaded.offsets.dtype) == (np.dtype(np.int32), np.dtype(np.int64))
    assert loaded.offsets.tolist() == [0, 2, 3]


def test_all_trials_map_the_same_file_and_none_can_write_to_it(tmp_path: Path) -> None:
    data = data_set(tmp_path, UNTIMED + "u\ti1\nu\ti2\n")
    first, second = load(data, Stages(tmp_path / "stages")), load(data, Stages(tmp_path / "stages"))
    assert isinstance(first.items, np.memmap)
    assert isinstance(second.items, np.memmap)
    assert first.items.filename == second.items.filename
    with pytest.raises(ValueError, match="read-only"):
        first.items[0] = 2


def test_the_fingerprint_follows_the_content_and_not_where_it_lies(tmp_path: Path) -> None:
    lines = UNTIMED + "u\ti1\nu\ti2\n"
    stages = Stages(tmp_path / "stages")
    one = load(data_set(tmp_path / "a", lines), stages).fingerprint
    assert len(one) == 16
    assert load(data_set(tmp_path / "b", lines), Stages(tmp_path / "others")).fingerprint == one
    assert load(data_set(tmp_path / "a", UNTIMED + "u\ti2\nu\ti1\n"), stages).fingerprint != one
    assert load(data_set(tmp_path / "a", lines, ("Alpha", "Beta", "Gamma")), stages).fingerprint != one


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages")
    assert users(data_set(tmp_path, UNTIMED + "u\ti1\n"), stages) == [[1]]
    assert users(data_set(tmp_path, UNTIMED + "u\ti3\n"), stages) == [[3]]


def test_repeats_are_kept_or_dropped_and_none_dropped_is_the_same_data_set(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages")
    lines = TIMED + "u\ti1\t9\nu\ti3\t2\nv\ti2\t1\nu\ti1\t5\nu\ti1\t6\nu\ti3\t7\n"
    data = data_set(tmp_path, lines)
    dropped = {how: replace(data, duplicates=how) for how in ("keep", "drop", "drop-adjacent")}
    assert [users(each, stages)[0] for each in dropped.values()] == [[3, 1, 1, 3, 1], [3, 1], [3, 1, 3, 1]]
    loaded = load(dropped["drop"], stages)
    assert loaded.times is not None
    assert (loaded.times.tolist(), loaded.offsets.tolist()) == ([2, 5, 1], [0, 2, 3])
    assert len({load(each, stages).fingerprint for each in dropped.values()}) == 3
    data = data_set(tmp_path, UNTIMED + "u\ti1\nu\ti2\n")
    assert load(replace(data, duplicates="drop"), stages).fingerprint == load(data, stages).fingerprint


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=8))
def test_packed_strings_are_the_strings_that_were_packed(strings: list[str]) -> None:
    packed = Packed.of(strings)
    assert list(packed) == strings
    assert [packed[index] for index in range(-len(strings), len(strings))] == strings * 2
    assert packed[1:] == strings[1:]
    assert len(packed) == len(strings)
    with pytest.raises(IndexError):
        packed[len(strings)]
