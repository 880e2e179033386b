"""Training by optimiser steps: an evaluation every so many, early stopping, exact resumption, any engine and ranks."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainables.data.batches import Batch, batches
from trainables.data.splits import Rows
from trainables.hatllm.config import OBJECTIVE, Fit
from trainables.language.engines.engine import Engine
from trainables.seqrec.randomness import generator_for, seed_for
from trainables.trial import Trial


@dataclass
class StepProgress:
    """Progress of a training after an evaluation."""

    step: int = 0
    """Optimiser steps done."""
    best_step: int = 0
    best_value: float = -math.inf
    """The objective at ``best_step``."""
    worse: int = 0
    """Evaluations since then."""
    seconds: float = 0.0
    """Wall time spent, over all attempts."""

    def ended(self, settings: Fit) -> bool:
        """True if nothing is left to do."""
        return self.step >= settings.steps or self.worse >= settings.patience


def train(
    engine: Engine,
    loss: Callable[[Batch, int], torch.Tensor],
    rows: Rows,
    evaluate: Callable[[], Mapping[str, float]],
    settings: Fit,
    trial: Trial,
) -> StepProgress:
    """Train what the engine holds and leave it at its best evaluation.

    Every evaluation reports at its optimiser step ``train/loss`` (the mean since the last one), what ``evaluate``
    returns, ``trial/examples_per_second`` (of training alone) and ``trial/seconds``, then saves. Rows and dropout of a
    step are derived from the trial's seed and the step alone, so a trial that was cut off reports what it would have
    reported unbroken.

    Args:
        engine: takes the optimiser steps; ``engine.module`` is switched between training and evaluation.
        loss: the mean loss of a batch at an optimiser step (from 1), by ``engine.module``.
        rows: training rows.
        evaluate: metrics of the model as it is.
        settings: steps, evaluations, patience and batch size.
        trial: seed, device, reports and checkpoints.

    Raises:
        ValueError: there is no training row, or the ranks can not share a batch evenly.
        FloatingPointError: the loss is no longer finite; the objective is reported as NaN first.
    """
    if not len(rows):
        raise ValueError("training needs at least one row, but got none; use longer histories or another split")
    if settings.batch_size % trial.world_size:
        raise ValueError(
            f"fit.batch_size must be a multiple of the trial's ranks, but got {settings.batch_size} and "
            f"{trial.world_size} ranks; change one of them"
        )
    progress, best = _restore(engine, trial.load())
    while not progress.ended(settings):
        started = time.perf_counter()
        last = min(progress.step + settings.evaluate_every, settings.steps)
        mean_loss = _train_until(engine, loss, rows, progress.step, last, settings.batch_size, trial)
        speed = (last - progress.step) * settings.batch_size / (time.perf_counter() - started)
        if not math.isfinite(mean_loss):
            trial.report(last, {"train/loss": mean_loss, OBJECTIVE: math.nan})
            raise FloatingPointError(
                f"the training loss must stay finite, but got {mean_loss} by step {last}; lower fit.learning_rate"
            )
        engine.module.eval()
        metrics = evaluate()
        state = engine.state()
        progress.step = last
        if metrics[OBJECTIVE] > progress.best_value:
            progress.best_step, progress.best_value, progress.worse = last, metrics[OBJECTIVE], 0
            best = state["parameters"]
        else:
            progress.worse += 1
        progress.seconds += time.perf_counter() - started
        costs = {"trial/examples_per_second": speed, "trial/seconds": progress.seconds}
        trial.report(last, {"train/loss": mean_loss, **metrics, **costs}, last=progress.ended(settings))
        if trial.rank == 0:
            kept = None if progress.best_step == last else best
            trial.save({"engine": state, "progress": vars(progress).copy(), "best": kept})
    engine.restore({**engine.state(), "parameters": best})
    engine.module.eval()
    return progress


def _train_until(
    engine: Engine,
    loss: Callable[[Batch, int], torch.Tensor],
    rows: Rows,
    done: int,
    last: int,
    batch_size: int,
    trial: Trial,
) -> float:
    """Optimiser steps ``done + 1`` to ``last``; the mean loss of a row of this rank."""
    device = torch.device(trial.device)
    engine.module.train()
    total = torch.zeros((), dtype=torch.float64, device=device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in range(done + 1, last + 1):
            torch.manual_seed(seed_for(trial.seed, "dropout", step, trial.rank))
            chosen = step_rows(len(rows), batch_size, step, trial.seed)[trial.rank :: trial.world_size]
            if len(chosen) < engine.micro_batches:
                raise ValueError(_too_few(len(chosen), engine.micro_batches, divided=trial.micro_batch_divisor > 1))
            for taken in np.array_split(chosen, engine.micro_batches):
                [part] = batches(rows.take(taken), len(taken), device=device)
                part_loss = loss(part, step)
                engine.backward(part_loss, len(part) / len(chosen))
                total += part_loss.detach() * (len(part) / len(chosen))
            engine.step()
    return float(total) / (last - done)


def _too_few(rows: int, parts: int, *, divided: bool) -> str:
    """That a rank's rows of a step do not fill its micro-batches, which may be ``divided`` for a lack of memory."""
    if divided:
        return (
            f"a trial must fit in memory, but it ran out of it with {parts // 2} micro-batches a step, and {rows} rows "
            f"a rank do not fill {parts}; lower prompt.max_tokens, data.max_history or (where an evaluation was too "
            "large) fit.eval_batch_size, take a smaller llm, or set engine.zero_stage: 3 and engine.offload: all"
        )
    return (
        f"fit.batch_size must hold {parts} micro-batches a rank, but got {rows} rows; "
        "raise fit.batch_size or lower engine.accumulation"
    )


def step_rows(num_rows: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The rows (int64) of optimiser step ``step``, counted from 1: all rows in a new order, again and again."""
    first = (step - 1) * batch_size
    taken: list[np.ndarray] = []
    while batch_size:
        epoch, start = divmod(first, num_rows)
        order_N = torch.randperm(num_rows, generator=generator_for(seed, "shuffle", epoch)).numpy()
        taken.append(order_N[start : start + batch_size])
        first, batch_size = first + len(taken[-1]), batch_size - len(taken[-1])
    return np.concatenate(taken)


def _restore(engine: Engine, state: dict[str, Any] | None) -> tuple[StepProgress, dict[str, torch.Tensor]]:
    """Progress and best parameters as saved, the engine set to go on; the beginning where nothing is saved."""
    if state is None:
        return StepProgress(), {}
    engine.restore(state["engine"])
    best = state["engine"]["parameters"] if state["best"] is None else state["best"]
    return StepProgress(**state["progress"]), best
