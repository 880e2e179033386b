"""The public Amazon sets, where they are at hand: the papers' own counts, and what loading them takes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainables.data.atomic import DataError
from trainables.data.checks import check
from trainables.data.config import Data
from trainables.data.sequences import load
from trainables.data.splits import kept_ranges, leave_one_out, seen_items, split
from trainables.data.text import text_stage
from trainables.storage.stages import Stages

REPOSITORY = Path(__file__).parents[3]
ROOT = Path(os.environ.get("SWEEP_DATA") or REPOSITORY.parent / "shared" / "data")


def real(name: str, **fields: object) -> Data:
    if not (ROOT / name).is_dir():
        pytest.skip(f"needs the data set {name}, which is not in {ROOT}; set SWEEP_DATA to the folder that holds it")
    return Data(name=name, root=str(ROOT), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "users", "items", "interactions", "newest_13"),
    [
        ("amazon-office-2014", 4_895, 2_414, 53_149, 41_462),
        ("amazon-beauty-2014", 22_332, 12_086, 198_215, 168_446),
        ("amazon-prime-pantry-2018", 12_871, 8_347, 115_004, None),
    ],
)
def test_counts_are_those_that_the_papers_print(
    tmp_path: Path, name: str, users: int, items: int, interactions: int, newest_13: int | None
) -> None:
    sequences = load(real(name), Stages(tmp_path))
    assert (sequences.num_users, sequences.num_items - 1, len(sequences.items)) == (users, items, interactions)
    start, end = kept_ranges(sequences, 13)
    assert newest_13 is None or (end - start).sum() == newest_13
    splits = leave_one_out(sequences, real(name))
    assert len(splits.train) == len(splits.valid) == len(splits.test) == users
    assert not any("&amp;" in title for title in sequences.titles)


def test_prime_pantry_has_as_many_repeated_targets_and_training_items_as_pad_has(tmp_path: Path) -> None:
    data = real("amazon-prime-pantry-2018", keep_last=None)
    sequences = load(data, Stages(tmp_path))
    splits = leave_one_out(sequences, data)
    assert (np.diff(sequences.offsets) - 2).sum() == 89_262
    row, item = seen_items(sequences, splits.test).pairs(0, len(splits.test))
    assert len(np.unique(row[item == splits.test.target_N[row]])) == 336


def test_beauty_has_a_window_for_each_item_with_ten_before_it_and_one_for_every_shorter_user(tmp_path: Path) -> None:
    data = real("amazon-beauty-2014", split="time", keep_last=None)
    sequences = load(data, Stages(tmp_path))
    lengths = np.diff(sequences.offsets)
    splits = split(sequences, data)
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (46_908, 5_863, 5_864)
    assert np.where(lengths > 11, lengths - 10, 1).sum() == 58_635
    sampled = split(sequences, real("amazon-beauty-2014", split="time", keep_last=None, eval_rows=5_000))
    assert (len(sampled.train), len(sampled.valid), len(sampled.test)) == (46_908, 5_000, 5_000)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("amazon-office-2014", "33899 of 53149 lines of amazon-office-2014.inter have none;"),
        ("amazon-prime-pantry-2018", "amazon-prime-pantry-2018.inter has no timestamp column;"),
    ],
)
def test_sets_without_complete_times_are_not_split_by_time(tmp_path: Path, name: str, found: str) -> None:
    data = real(name, split="time", keep_last=None)
    (problem,) = check(data)
    assert problem.startswith(f"data.split: time needs a timestamp on every interaction, but {found}")
    with pytest.raises(DataError, match=f"but {name} has none, or not on all of them; choose leave_one_out or users"):
        split(load(data, Stages(tmp_path)), data)


def test_office_and_its_vectors_are_computed_once_and_found_again(tmp_path: Path) -> None:
    data = real("amazon-office-2014", text="amazon-office-2014.minilm-l6-v2.npy")
    assert check(data) == []

    def prepared() -> dict[Path, int]:
        stages = Stages(tmp_path)
        assert text_stage(load(data, stages), data, stages)["vectors"].shape == (2_415, 384)
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    first = prepared()
    assert len(first) > 3
    assert prepared() == first


def test_a_check_takes_no_torch() -> None:
    data = real("amazon-office-2014")
    code = (
        "import sys\nfrom trainables.data.checks import check\nfrom trainables.data.config import Data\n"
        f"assert check(Data(name={data.name!r}, root={data.root!r})) == []\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
