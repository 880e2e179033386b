"""The loop by optimiser steps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainables.data.rows import Rows
from trainables.hatllm.config import Fit
from trainables.hatllm.training import step_rows, train
from trainables.language.engines.engine import make_engine
from trainables.language.engines.engine_config import EngineConfig
from trainables.trial import LocalTrial, TrialStopped

OBJECTIVE = "valid/ndcg_10"


def rows_of(count):
    column = np.arange(count)
    return Rows(
        history_NL=np.ones((count, 2), np.int32),
        target_N=(1 + column % 3).astype(np.int32),
        user_N=column.astype(np.int32),
        start_N=column,
        stop_N=column,
    )


class Job:
    """A bias over three items with dropout before it, and what its evaluations are told to say."""

    def __init__(self, trial, values=None, *, rows=20, accumulation=1, **fit):
        self.trial, self.rows, self.values = trial, rows_of(rows), values
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4))
        self.fit = Fit(
            **{"steps": 12, "evaluate_every": 4, "patience": 9, "batch_size": 8, "learning_rate": 0.1, **fit}
        )
        settings = EngineConfig(name="torch", accumulation=accumulation, warm_up=0)
        self.engine = make_engine(self.model, settings, learning_rate=0.1, steps=self.fit.steps, trial=trial)
        self.evaluated = []

    def loss(self, batch, step):
        logits = self.engine.module(torch.ones(len(batch), 4))
        return nn.functional.cross_entropy(logits, batch.target_B)

    def evaluate(self):
        assert not self.model.training
        self.evaluated.append(self.model[1].weight.detach().clone())
        value = self.values[len(self.evaluated) - 1] if self.values else self.model[1].weight.sum().item()
        return {OBJECTIVE: value}

    def run(self):
        return train(self.engine, self.loss, self.rows, self.evaluate, self.fit, self.trial)


def lines(trial):
    return [(step, metrics["train/loss"], metrics[OBJECTIVE]) for step, metrics in trial.reports]


def test_a_step_is_an_optimiser_step_and_the_last_one_is_evaluated_too(tmp_path):
    job = Job(LocalTrial(tmp_path), [0.1, 0.2, 0.3, 0.4], steps=10, evaluate_every=3)
    done = job.run()
    assert [step for step, _ in job.trial.reports] == [3, 6, 9, 10]
    assert done.best_step == 10


def test_training_ends_after_evaluations_without_a_better_one_and_leaves_the_best(tmp_path):
    job = Job(LocalTrial(tmp_path), [0.3, 0.5, 0.4, 0.5], steps=40, patience=2)
    done = job.run()
    assert [step for step, _ in job.trial.reports] == [4, 8, 12, 16]
    assert done.best_step == 8
    assert job.model[1].weight.equal(job.evaluated[1])
    assert not job.model[1].weight.equal(job.evaluated[3])


def test_a_trial_that_was_cut_off_reports_what_it_would_have_reported(tmp_path):
    whole = Job(LocalTrial(tmp_path / "whole", seed=3))
    whole.run()

    def stop(step, metrics, last):
        if step == 8:
            raise TrialStopped

    with pytest.raises(TrialStopped):
        Job(LocalTrial(tmp_path / "cut", seed=3, send=stop)).run()
    again = Job(LocalTrial(tmp_path / "cut", seed=3, attempt=1))
    again.run()
    assert [step for step, _ in again.trial.reports] == [8, 12]  # saved at 4; 8 was reported and not saved
    assert lines(again.trial) == lines(whole.trial)[1:]
    assert again.model[1].weight.equal(whole.model.get_parameter("1.weight"))


def test_a_trial_with_nothing_left_reports_nothing_and_has_its_best_parameters(tmp_path):
    first = Job(LocalTrial(tmp_path), [0.9, 0.1, 0.2])
    first.run()
    again = Job(LocalTrial(tmp_path), [])
    done = again.run()
    assert again.trial.reports == []
    assert done.best_step == 4
    assert again.model[1].weight.equal(first.evaluated[0])


def test_micro_batches_change_memory_and_not_the_step(tmp_path):
    weights = []
    for accumulation in (1, 2, 3, 5):
        job = Job(LocalTrial(tmp_path / str(accumulation)), accumulation=accumulation, batch_size=8)
        dropout: Any = job.model[0]
        dropout.p = 0.0
        job.run()
        weights.append(job.model[1].weight.detach())
    for each in weights[1:]:
        torch.testing.assert_close(each, weights[0])


def test_a_batch_too_small_for_its_micro_batches_is_refused(tmp_path):
    job = Job(LocalTrial(tmp_path), accumulation=9, batch_size=8)
    with pytest.raises(ValueError, match=r"must hold 9 micro-batches a rank, but got 8 rows; raise fit.batch_size"):
        job.run()


def test_a_batch_that_can_not_be_divided_further_after_a_lack_of_memory_says_so(tmp_path):
    job = Job(LocalTrial(tmp_path, micro_batch_divisor=4), accumulation=4, batch_size=8)
    with pytest.raises(
        ValueError,
        match=r"must fit in memory, but it ran out of it with 8 micro-batches a step, and 8 rows a rank do not "
        r"fill 16; lower prompt.max_tokens, data.max_history",
    ):
        job.run()


def test_ranks_that_can_not_share_a_batch_and_an_empty_split_are_refused(tmp_path):
    job = Job(LocalTrial(tmp_path), batch_size=9)
    job.trial.world_size = 2
    with pytest.raises(ValueError, match=r"multiple of the trial's ranks, but got 9 and 2 ranks"):
        job.run()
    with pytest.raises(ValueError, match="at least one row, but got none"):
        Job(LocalTrial(tmp_path), rows=0).run()


def test_a_loss_that_is_not_finite_ends_the_trial_with_its_objective_not_a_number(tmp_path):
    job = Job(LocalTrial(tmp_path))
    job.loss = lambda batch, step: job.engine.module(torch.ones(1, 4)).sum() * float("nan")
    with pytest.raises(FloatingPointError, match=r"must stay finite, but got nan by step 4; lower fit.learning_rate"):
        job.run()
    [(step, metrics)] = job.trial.reports
    assert step == 4
    assert np.isnan(metrics[OBJECTIVE])


def test_the_rows_of_the_steps_are_all_rows_in_a_new_order_again_and_again():
    drawn = np.concatenate([step_rows(10, 4, step, seed=0) for step in range(1, 6)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()
    np.testing.assert_array_equal(step_rows(10, 25, 1, seed=0)[:20], drawn)
    assert step_rows(10, 4, 1, seed=1).tolist() != step_rows(10, 4, 1, seed=0).tolist()
