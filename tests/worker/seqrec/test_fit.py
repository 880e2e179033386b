"""The training loop: what it reports, when it ends, and that a stop in between changes no number."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainables.data.batches import Batch
from trainables.data.splits import Rows
from trainables.seqrec.config import Fit
from trainables.seqrec.fit import EpochProgress, fit
from trainables.seqrec.layers import Dropout, linear
from trainables.trial import LocalTrial, TrialStopped

Lines = list[tuple[int, dict[str, float]]]


def rows(size: int = 50) -> Rows:
    target_N = np.arange(size, dtype=np.int32) % 5
    zeros = np.zeros(size, np.int64)
    return Rows(target_N[:, None].repeat(4, axis=1), target_N, np.arange(size, dtype=np.int32), zeros, zeros)


class Task:
    """A small classifier with dropout whose loss also draws from the generator, as sampled objectives do."""

    def __init__(self, dropout: float = 0.5) -> None:
        generator = torch.Generator().manual_seed(0)
        layers = (linear(4, 8, generator), nn.ReLU(), Dropout(dropout), linear(8, 5, generator))
        self.model = nn.Sequential(*layers)

    def loss(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        noise_BL = torch.rand(batch.history_BL.shape, generator=generator)
        return nn.functional.cross_entropy(self.model(batch.history_BL + noise_BL), batch.target_B)

    def evaluate(self) -> dict[str, float]:
        assert not self.model.training
        scores_NI = self.model(torch.arange(5.0)[:, None].repeat(1, 4))
        return {"valid/ndcg_20": float(scores_NI.softmax(1).diagonal().mean().detach())}

    def fit(self, trial: LocalTrial, **changed: object) -> EpochProgress:
        fields: dict[str, Any] = {"epochs": 8, "patience": 8, "batch_size": 16, "learning_rate": 0.05}
        named: dict[str, Any] = {"rows": rows(), "evaluate": self.evaluate, "loss": self.loss}
        for name, value in changed.items():
            (fields if name in vars(Fit()) else named)[name] = value
        return fit(self.model, Fit(**fields), trial=trial, **named)


def numbers(lines: Lines) -> Lines:
    """Reports without the figures that depend on the clock."""
    return [(step, {k: v for k, v in line.items() if not k.startswith("trial/")}) for step, line in lines]


def stop_at(step: int) -> Callable[[int, Mapping[str, float], bool], None]:
    def send(reported: int, metrics: Mapping[str, float], last: bool) -> None:
        if reported == step:
            raise TrialStopped

    return send


def test_every_epoch_reports_loss_metrics_and_speed(tmp_path: Path) -> None:
    trial = LocalTrial(tmp_path)
    Task().fit(trial, epochs=3)
    assert [step for step, _ in trial.reports] == [1, 2, 3]
    names = {"train/loss", "valid/ndcg_20", "trial/examples_per_second", "trial/seconds"}
    assert all(set(line) == names for _, line in trial.reports)
    seconds = [line["trial/seconds"] for _, line in trial.reports]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert trial.reports[0][1]["train/loss"] > trial.reports[2][1]["train/loss"]


@pytest.mark.parametrize(("epochs", "patience"), [(3, 8), (50, 2)])
def test_the_last_epoch_is_reported_as_the_last_also_by_patience(tmp_path: Path, epochs: int, patience: int) -> None:
    lasts: list[bool] = []
    trial = LocalTrial(tmp_path, send=lambda step, metrics, last: lasts.append(last))
    Task().fit(trial, epochs=epochs, patience=patience)
    assert lasts == [False] * (len(trial.reports) - 1) + [True]
    assert len(lasts) == epochs or len(lasts) < epochs == 50


def test_training_multiplies_as_exactly_as_asked_and_evaluation_in_full(tmp_path: Path) -> None:
    task, seen = Task(), {"loss": set[str](), "evaluate": set[str]()}

    def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        seen["loss"].add(torch.get_float32_matmul_precision())
        return task.loss(batch, generator)

    def evaluate() -> dict[str, float]:
        seen["evaluate"].add(torch.get_float32_matmul_precision())
        return task.evaluate()

    task.fit(LocalTrial(tmp_path), epochs=2, loss=loss, evaluate=evaluate, matmul="medium")
    assert seen == {"loss": {"medium"}, "evaluate": {"highest"}}


@pytest.mark.parametrize("stops", [(1,), (4,), (2, 3, 7)])
def test_a_stopped_and_resumed_trial_gives_the_same_numbers_bit_for_bit(tmp_path: Path, stops: tuple[int, ...]) -> None:
    whole, whole_task = LocalTrial(tmp_path / "whole", seed=3), Task()
    done = whole_task.fit(whole)
    lines: Lines = []
    for attempt, stop in enumerate(stops):
        # A stop at the report is a crash between report and checkpoint: that epoch is done once more.
        trial = LocalTrial(tmp_path / "parts", seed=3, attempt=attempt, send=stop_at(stop))
        with pytest.raises(TrialStopped):
            Task().fit(trial)
        lines += numbers(trial.reports)[:-1]
        torch.manual_seed(attempt)  # the process that takes over has another history
    trial, task = LocalTrial(tmp_path / "parts", seed=3, attempt=len(stops)), Task()
    resumed = task.fit(trial)
    assert lines + numbers(trial.reports) == numbers(whole.reports)
    assert (resumed.best_epoch, resumed.best_value) == (done.best_epoch, done.best_value)
    for ours, theirs in zip(task.model.parameters(), whole_task.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_training_with_nothing_left_to_do_reports_nothing_and_restores_the_best(tmp_path: Path) -> None:
    first_task = Task()
    first = first_task.fit(LocalTrial(tmp_path))
    trial, task = LocalTrial(tmp_path, attempt=1), Task()
    assert task.fit(trial) == first
    assert trial.reports == []
    assert all(map(torch.equal, task.model.parameters(), first_task.model.parameters()))


def test_ends_after_patience_and_leaves_the_best_epochs_weights(tmp_path: Path) -> None:
    values = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9])
    trial, task = LocalTrial(tmp_path), Task()
    weights = []

    def evaluate() -> dict[str, float]:
        weights.append(task.model[0].weight.detach().clone())
        return {"valid/ndcg_20": next(values)}

    done = task.fit(trial, evaluate=evaluate, patience=3)
    assert (done.best_epoch, done.best_value, done.epoch) == (2, 0.5, 5)
    assert torch.equal(task.model.get_parameter("0.weight"), weights[1])
    assert not torch.equal(task.model.get_parameter("0.weight"), weights[4])


def test_the_numbers_follow_the_trials_seed_alone(tmp_path: Path) -> None:
    lines = []
    for name, seed, noise in (("a", 1, 5), ("b", 1, 6), ("c", 2, 5)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        trial = LocalTrial(tmp_path / name, seed=seed)
        Task().fit(trial, epochs=2)
        assert torch.equal(torch.get_rng_state(), before)
        lines.append(numbers(trial.reports))
    assert lines[0] == lines[1] != lines[2]


def test_a_training_with_a_seed_of_its_own_draws_otherwise_than_the_trials_others(tmp_path: Path) -> None:
    def drawn(**seed: int) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []
        task = Task()

        def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
            seen.append(batch.user_B)
            return task.loss(batch, generator)

        task.fit(LocalTrial(tmp_path / str(seed), seed=3), loss=loss, epochs=1, batch_size=50, **seed)
        return seen

    (own,), (trials,), (same,) = drawn(seed=7), drawn(), drawn(seed=3)
    assert torch.equal(trials, same)
    assert not torch.equal(trials, own)
    assert torch.equal(trials.sort().values, own.sort().values)


def test_micro_batches_add_up_to_the_batch(tmp_path: Path) -> None:
    def loss_of(task: Task) -> Callable[[Batch, torch.Generator], torch.Tensor]:
        return lambda batch, generator: nn.functional.cross_entropy(
            task.model(batch.history_BL.float()), batch.target_B
        )

    sizes: list[int] = []
    lines = []
    for divisor in (1, 3):
        task = Task(dropout=0.0)
        loss = loss_of(task)
        trial = LocalTrial(tmp_path / str(divisor), micro_batch_divisor=divisor)

        def counted(batch, generator, loss=loss):
            sizes.append(len(batch))
            return loss(batch, generator)

        task.fit(trial, epochs=3, loss=counted)
        lines.append([line["train/loss"] for _, line in trial.reports])
    assert lines[0] == pytest.approx(lines[1], rel=1e-4)
    assert sizes[:4] == [16, 16, 16, 2]
    assert sizes[12:16] == [6, 6, 4, 6]


def test_weight_decay_shrinks_the_weights(tmp_path: Path) -> None:
    norms = []
    for decay in (0.0, 0.5):
        task = Task()
        task.fit(LocalTrial(tmp_path / str(decay)), weight_decay=decay)
        norms.append(float(task.model[0].weight.detach().norm()))
    assert norms[1] < norms[0] / 2


def test_a_loss_that_is_not_finite_ends_the_trial_after_saying_so(tmp_path: Path) -> None:
    trial, task = LocalTrial(tmp_path), Task()
    with pytest.raises(FloatingPointError, match=r"must stay finite, but got nan in epoch 1; lower fit.learning_rate"):
        task.fit(trial, loss=lambda batch, generator: task.loss(batch, generator) * math.nan)
    ((step, line),) = trial.reports
    assert step == 1
    assert math.isnan(line["valid/ndcg_20"])


def test_no_rows_and_several_ranks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least one row, but got none; raise data.keep_last"):
        Task().fit(LocalTrial(tmp_path), rows=rows(0))
    with pytest.raises(ValueError, match=r"one rank, but got 2; set resources.workers to 1"):
        Task().fit(LocalTrial(tmp_path, world_size=2))
