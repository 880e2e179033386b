"""Full ranking against a sort of every row's scores."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.data.batches import Batch
from trainables.data.sequences import Sequences
from trainables.data.splits import History, Rows
from trainables.seqrec import evaluate
from trainables.seqrec.evaluate import rank_targets, report_test
from trainables.seqrec.metrics import Shown
from trainables.seqrec.recommend import read
from trainables.trial import LocalTrial

ITEMS = 8  # padding included


def rows_of(targets: list[int]) -> Rows:
    size = len(targets)
    zeros = np.zeros(size, np.int64)
    history_NL = np.ones((size, 3), np.int32)
    return Rows(history_NL, np.array(targets, np.int32), np.arange(size, dtype=np.int32) + 5, zeros, zeros)


def scorer(score_NI: np.ndarray):
    return lambda batch: torch.from_numpy(score_NI[batch.user_B.numpy() - 5].copy())


values = st.one_of(st.integers(-3, 3).map(float), st.just(float("nan")), st.just(float("-inf")))
tables = st.lists(
    st.tuples(st.integers(1, ITEMS - 1), st.lists(values, min_size=ITEMS, max_size=ITEMS),
              st.sets(st.integers(1, ITEMS - 1), max_size=4)),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=50)
@given(tables, st.booleans())
def test_a_target_ranks_behind_everything_not_below_it(table: list, masked: bool) -> None:
    targets, scores, seen_sets = (list(column) for column in zip(*table, strict=True))
    flat = [item for items in seen_sets for item in sorted(items)]
    seen = History(np.array(flat, np.int64), np.cumsum([0, *map(len, seen_sets)]))
    expected = []
    for target, row, taken in zip(targets, scores, seen_sets, strict=True):
        row = [-np.inf if masked and item in taken else value for item, value in enumerate(row)]
        expected.append(1 + sum(not row[item] < row[target] for item in range(1, ITEMS) if item != target))
    ranks_N = rank_targets(scorer(np.array(scores)), rows_of(targets), num_items=ITEMS, seen=seen if masked else None)
    assert ranks_N.tolist() == expected
    assert ranks_N.dtype == np.int32


def test_batches_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    score_NI, targets = generator.normal(size=(100, ITEMS)), generator.integers(1, ITEMS, 100).tolist()
    seen = History(generator.integers(1, ITEMS, 200), np.arange(0, 201, 2))
    whole_N = rank_targets(scorer(score_NI), rows_of(targets), num_items=ITEMS, seen=seen)
    monkeypatch.setattr(evaluate, "_SCORES_AT_ONCE", 1)  # 32 rows at once
    assert np.array_equal(rank_targets(scorer(score_NI), rows_of(targets), num_items=ITEMS, seen=seen), whole_N)


def test_a_seen_target_ranks_last() -> None:
    seen = History(np.array([2]), np.array([0, 1]))
    score_NI = np.arange(ITEMS)[None] * -1.0
    assert rank_targets(scorer(score_NI), rows_of([2]), num_items=ITEMS).tolist() == [2]
    assert rank_targets(scorer(score_NI), rows_of([2]), num_items=ITEMS, seen=seen).tolist() == [ITEMS - 1]


def test_scores_come_without_gradients_and_no_rows_give_no_ranks() -> None:
    def score(batch: Batch) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        return torch.zeros(len(batch), ITEMS)

    assert rank_targets(score, rows_of([1, 2]), num_items=ITEMS).tolist() == [ITEMS - 1, ITEMS - 1]
    assert rank_targets(score, rows_of([]), num_items=ITEMS).tolist() == []


RANKED = {"test/hr_5": 0.5, "test/ndcg_5": 0.5 / np.log2(5), "test/mrr_5": 0.5 / 4}
"""Metrics of two rows whose targets rank 4 and 7."""


CATALOGUE = Sequences(
    name="toys",
    fingerprint="f00",
    items=np.ones(3, np.int32),
    offsets=np.array([0, 3]),
    num_items=3,
    titles=["", "A title", "Größe"],
    ids=["", "B01", "B02"],
)


def report(trial: LocalTrial, **model: Any) -> list[Rows]:
    """Report the test split, of two rows, whose targets rank 4 and 7; returns the rows of each ranking."""
    ranked: list[Rows] = []

    def rank(rows: Rows, shown: Shown | None) -> np.ndarray:
        ranked.append(rows)
        return np.array([4, 7], np.int32)

    report_test(trial, rows_of([1, 2]), rank, step=3, top_k=(5,), **model)
    return ranked


def test_the_test_split_is_ranked_once_and_reported_at_the_kept_step(tmp_path: Path) -> None:
    model, trial = nn.Linear(3, 2), LocalTrial(tmp_path)
    weights, trained = model.state_dict(), [model.weight]
    model_file = {"weights": weights, "trained": trained, "scoring": {"bias": model.bias}, "sequences": CATALOGUE}
    assert len(report(trial, **model_file, extra=lambda rank_N: {"test/x": rank_N.sum()})) == 1
    ((step, line),) = trial.reports
    assert step == 3
    assert line.pop("trial/inference_seconds") >= 0
    assert line == RANKED | {"test/x": 11, "trial/parameters": 6}
    table = np.load(trial.artifact("ranks.npy"), allow_pickle=False)
    assert table["user"].tolist() == [5, 6]
    assert table["rank"].tolist() == [4, 7]
    saved = read(trial.artifact("best.safetensors"))
    assert torch.equal(saved.weights["weight"], model.weight)
    assert torch.equal(saved.scoring["bias"], model.bias)
    assert (list(saved.ids), list(saved.titles)) == (["", "B01", "B02"], ["", "A title", "Größe"])
    assert saved.fingerprint == "f00"


def test_what_was_not_trained_reports_no_costs_and_leaves_no_weights(tmp_path: Path) -> None:
    trial = LocalTrial(tmp_path)
    report(trial)
    assert trial.reports == [(3, RANKED)]
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["ranks.npy"]


def test_only_the_first_rank_writes_what_all_have_ranked(tmp_path: Path) -> None:
    trial = LocalTrial(tmp_path, rank=1, world_size=2)
    assert len(report(trial, weights=nn.Linear(3, 2).state_dict(), sequences=CATALOGUE)) == 1
    assert list(tmp_path.rglob("*.*")) == []


@pytest.mark.parametrize(("stays", "ranks"), [(False, [7, 1]), (True, [2, 1])])
def test_a_target_among_the_seen_items_ranks_last_or_stays(stays: bool, ranks: list[int]) -> None:
    rows = dataclasses.replace(rows_of([3, 4]), mask_target=not stays)
    score_NI = np.tile(np.arange(ITEMS, dtype=np.float64)[::-1], (2, 1))
    seen = History(items=np.array([1, 3, 1, 2, 3]), offsets=np.array([0, 2, 5]))
    rank_N = rank_targets(scorer(score_NI), rows, num_items=ITEMS, seen=seen, batch_size=1)
    assert rank_N.tolist() == ranks


def test_weights_are_as_readable_as_the_files_beside_them(tmp_path: Path) -> None:
    report(trial := LocalTrial(tmp_path), weights=nn.Linear(3, 2).state_dict(), trained=[], sequences=CATALOGUE)
    assert trial.artifact("best.safetensors").stat().st_mode == trial.artifact("ranks.npy").stat().st_mode
