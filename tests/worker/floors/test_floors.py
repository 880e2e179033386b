"""The counting floors: against a loop on made-up data, and to the digit on the public sets."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from trainables.config import build
from trainables.data.config import Data
from trainables.data.sequences import Sequences, load
from trainables.data.splits import leave_one_out, split
from trainables.floors.config import METRICS, Config, check
from trainables.floors.counts import Counts, count, popularity_scores, transition_scores
from trainables.floors.run import run
from trainables.runtime import registry
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

ROOT = Path(os.environ.get("SWEEP_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
ITEMS = 6
EVERYTHING = Data(keep_last=None)
MakeSequences = Callable[..., Sequences]

histories = st.lists(st.lists(st.integers(1, ITEMS), max_size=10), min_size=1, max_size=6)


def trained(sequences: Sequences, data: Data = EVERYTHING) -> Counts:
    return count(sequences, leave_one_out(sequences, data).train)


def expect_counts(counts: Counts, parts: list[list[int]]) -> None:
    """That counts are what a loop over ``parts`` finds."""
    taken = Counter(item for part in parts for item in part)
    pairs = Counter(pair for part in parts for pair in itertools.pairwise(part))
    size = len(counts.taken_I)
    assert counts.taken_I.tolist() == [taken[item] for item in range(size)]
    for a in range(size):
        for b in range(size):
            assert counts.follows_II[a, b] == pytest.approx(pairs[a, b] / taken[a] if pairs[a, b] else 0)


@settings(max_examples=30)
@given(histories, st.none() | st.integers(4, 8), st.sampled_from(["last", "all"]))
def test_counts_are_those_of_a_loop_over_training_parts(
    sequences_of: MakeSequences, users: list[list[int]], keep_last: int | None, train_rows: str
) -> None:
    parts = [(user if keep_last is None else user[-keep_last:])[:-2] for user in users]
    data = Data(keep_last=keep_last, train_rows=train_rows)  # type: ignore[arg-type]
    expect_counts(trained(sequences_of(users), data), [part for part in parts if len(part) >= 2])


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(1, ITEMS), min_size=2, max_size=6), min_size=6, max_size=9), st.integers(0, 99))
def test_users_that_are_held_out_are_not_counted(
    sequences_of: MakeSequences, users: list[list[int]], seed: int
) -> None:
    sequences = sequences_of(users)
    train = split(sequences, Data(split="users", split_seed=seed)).train
    expect_counts(count(sequences, train), [users[number] for number in sorted(train.user_N.tolist())])


def test_nothing_is_counted_that_comes_after_the_training_windows(sequences_of: MakeSequences) -> None:
    users = [[1, 2], [2, 3], [3, 4, 5], [4, 5], [1, 2, 3, 4, 5, 6], [6, 1]]
    times = [[0.0, 1], [0, 2], [0, 3, 4], [0, 5], [6, 7, 8, 9, 20, 21], [1, 30]]
    sequences = sequences_of(users, times)
    train = split(sequences, Data(split="time", keep_last=None, max_history=2)).train
    assert train.target_N.tolist() == [2, 3, 5, 5, 3, 4, 5]
    expect_counts(count(sequences, train), [[1, 2], [2, 3], [3, 4, 5], [4, 5], [1, 2, 3, 4, 5]])


@settings(max_examples=50)
@given(histories, st.integers(1, 5), st.sampled_from([0.25, 0.5, 1.0]))
def test_transition_scores_are_decayed_shares_and_popularity_only_breaks_ties(
    sequences_of: MakeSequences, users: list[list[int]], window: int, decay: float
) -> None:
    counts = trained(sequences_of(users))
    history_BL = np.array([[0, 0, 0, 2], [1, 2, 3, 1]])
    scores = transition_scores(counts, history_BL, window, decay)
    dense = counts.follows_II.toarray()
    smallest = counts.follows_II.data.min(initial=1.0) * decay ** (min(window, 4) - 1)
    for row, history in enumerate(history_BL.tolist()):
        shares = sum(decay**age * dense[item] for age, item in enumerate(reversed(history[-window:])) if item)
        fill = scores[row] - shares
        assert (fill <= smallest / 2 + 1e-12).all()
        assert np.allclose(fill / max(fill.max(), 1e-300), counts.taken_I / max(counts.taken_I.max(), 1), atol=1e-6)


def test_popularity_breaks_ties_also_where_a_long_window_has_decayed_to_next_to_nothing() -> None:
    follows_II = sparse.csr_array(np.array([[0, 0, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0, 0], [0, 1, 0, 0]]))
    counts = Counts(taken_I=np.array([0, 4, 2, 3]), follows_II=follows_II)
    (score_I,) = transition_scores(counts, np.array([[3] * 19 + [1]]), window=20, decay=0.1)
    assert score_I[3] > score_I[2]
    assert score_I[2:] == pytest.approx(0.5, abs=1e-9)


def test_popularity_is_the_same_for_everyone(sequences_of: MakeSequences) -> None:
    counts = trained(sequences_of([[1, 1, 2, 3, 4], [1, 5, 5, 5]]))
    assert popularity_scores(counts, 2).tolist() == [[0, 3, 1, 0, 0, 1, 0, 0, 0, 0]] * 2


@pytest.mark.parametrize("method", ["popularity", "transitions"])
def test_a_floor_reports_validation_then_test_and_leaves_its_ranks(tmp_path: Path, method: str) -> None:
    trial = LocalTrial(tmp_path)
    run(build(Config, {"method": method}), trial)
    (first, valid), (second, test) = trial.reports
    assert (first, second) == (0, 0)
    assert {*valid, *test} == set(METRICS)
    ranks = np.load(tmp_path / "artifacts" / "ranks.npy")
    assert len(ranks) == 1_200
    assert np.mean(ranks["rank"] <= 10) == test["test/hr_10"]


def test_a_floor_taken_up_again_does_not_repeat_validation(tmp_path: Path) -> None:
    run(Config(), LocalTrial(tmp_path))
    again = LocalTrial(tmp_path, attempt=1)
    run(Config(), again)
    assert [name.split("/")[0] for _, metrics in again.reports for name in metrics] == ["test"] * 10


@pytest.mark.parametrize("kind", ["leave_one_out", "users", "time"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_floor_runs_on_every_split_and_tags_the_rows_it_was_ranked_on(
    tmp_path: Path, kind: str, masked: bool
) -> None:
    data = Data(split=kind, mask_seen=masked, eval_rows=100, keep_last=None)  # type: ignore[arg-type]
    trial = LocalTrial(tmp_path)
    run(Config(data=data), trial)
    expected = split(load(data, trial.stages), data)
    tags = json.loads((tmp_path / "tags.json").read_text())
    assert (tags["data.rows"], tags["data.mask_seen"]) == (expected.fingerprint, "true" if masked else "false")
    assert (tags["data.repeats"], tags["data.targets_in_history"]) == ("0", "0")
    assert tags["data.facts"].startswith(f"synthetic, {kind}: 0 of ")
    ranks = np.load(tmp_path / "artifacts" / "ranks.npy")
    assert ranks["user"].tolist() == expected.test.user_N.tolist()
    assert len(ranks) == 100
    assert 0.15 < trial.reports[-1][1]["test/hr_20"] < 0.6


def test_masking_what_was_seen_moves_the_target_up(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages")
    ranks = []
    for masked in (False, True):
        folder = tmp_path / str(masked)
        run(Config(data=Data(mask_seen=masked)), LocalTrial(folder, stages=stages))
        ranks.append(np.load(folder / "artifacts" / "ranks.npy")["rank"])
    assert (ranks[1] <= ranks[0]).all()
    assert (ranks[1] < ranks[0]).any()


def test_floors_are_found_by_name_and_check_their_data() -> None:
    assert "floors" in registry.names()
    assert check(Config()) == []
    assert "nowhere.inter" in check(Config(data=Data(name="nowhere")))[0]
    assert check(Config(data=Data(text="/nowhere.npy"))) == [], "text vectors are not read"


@pytest.mark.parametrize(
    ("name", "fields", "method", "expected"),
    [
        ("amazon-office-2014", {}, "popularity", (0.0088, 0.0035, 0.0174, 0.0056)),
        ("amazon-office-2014", {}, "transitions", (0.0831, 0.0489, 0.1240, 0.0592)),
        ("amazon-beauty-2014", {}, "popularity", (0.0120, 0.0055, 0.0219, 0.0080)),
        ("amazon-beauty-2014", {}, "transitions", (0.0699, 0.0437, 0.0945, 0.0499)),
        (
            "amazon-beauty-2014",
            {"split": "time", "keep_last": None},
            "transitions",
            (0.0350, 0.0219, 0.0466, 0.0248),
        ),
        *(
            ("amazon-prime-pantry-2018", {"keep_last": None, "max_history": 20, **fields}, "transitions", expected)
            for fields, expected in (
                ({"mask_seen": True}, (0.0461, 0.0296, 0.0611, 0.0334)),
                ({"mask_seen": True, "mask_target": False}, (0.0719, 0.0551, 0.0869, 0.0588)),
                ({"mask_seen": True, "duplicates": "drop"}, (0.0484, 0.0309, 0.0640, 0.0348)),
                ({}, (0.0705, 0.0518, 0.0855, 0.0555)),
                ({"duplicates": "drop"}, (0.0475, 0.0298, 0.0630, 0.0337)),
            )
        ),
    ],
)
def test_floors_of_the_public_sets(
    tmp_path: Path, name: str, fields: dict[str, object], method: str, expected: tuple[float, ...]
) -> None:
    if not (ROOT / name).is_dir():
        pytest.skip(f"needs the data set {name}, which is not in {ROOT}; set SWEEP_DATA to the folder that holds it")
    trial = LocalTrial(tmp_path)
    values = {"data.name": name, "data.root": str(ROOT), "method": method}
    run(build(Config, values | {f"data.{field}": value for field, value in fields.items()}), trial)
    test = trial.reports[-1][1]
    found = tuple(round(test[f"test/{metric}"], 4) for metric in ("hr_10", "ndcg_10", "hr_20", "ndcg_20"))
    assert found == expected
