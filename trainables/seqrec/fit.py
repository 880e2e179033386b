"""One training loop for all recommenders: Adam, one evaluation per epoch, early stopping, exact resumption."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainables.data.batches import Batch, batches
from trainables.data.splits import Rows
from trainables.seqrec.config import OBJECTIVE, Fit
from trainables.seqrec.precision import matmul_precision
from trainables.seqrec.randomness import generator_for, seed_for
from trainables.trial import Trial

Loss = Callable[[Batch, torch.Generator], torch.Tensor]
"""From a batch and a generator on its device to the mean loss of its rows."""

Weights = dict[str, torch.Tensor]


@dataclass
class EpochProgress:
    """Progress of a training after a whole epoch."""

    epoch: int = 0
    """Epochs done."""
    best_epoch: int = 0
    best_value: float = -math.inf
    """The objective at ``best_epoch``."""
    seconds: float = 0.0
    """Wall time spent, over all attempts."""

    def ended(self, settings: Fit) -> bool:
        """True if nothing is left to do."""
        return self.epoch >= settings.epochs or self.epoch - self.best_epoch >= settings.patience

    def kept_epoch(self, settings: Fit) -> int:
        """The epoch whose weights :func:`fit` leaves the model with."""
        return self.best_epoch if settings.keep == "best" else self.epoch


def fit(
    model: nn.Module,
    settings: Fit,
    *,
    loss: Loss,
    rows: Rows,
    evaluate: Callable[[], Mapping[str, float]],
    trial: Trial,
    undecayed: Sequence[nn.Parameter] = (),
    objective: str = OBJECTIVE,
    examples: Callable[[Batch], int] = len,
    seed: int | None = None,
    part: str = "fit",
) -> EpochProgress:
    """Train ``model`` in place and leave it at its best epoch, or the last.

    Every epoch reports ``train/loss``, what ``evaluate`` returns, ``trial/examples_per_second`` (of training alone) and
    ``trial/seconds``, then saves. A trial that was cut off carries on and reports the numbers that it would have
    reported unbroken, because every epoch's randomness is derived from the seed and the epoch alone. A training
    with nothing left to do reports nothing and returns at once.

    Args:
        model: its parameters are trained; buffers that cost nothing to make again should be non-persistent.
        settings: of the loop and of Adam; ``dropout`` is the model's, and ``matmul`` does not touch ``evaluate``.
        loss: the mean loss of a batch's examples; called in training mode.
        rows: training rows, shuffled anew every epoch.
        evaluate: metrics of the model as it is; called in evaluation mode.
        trial: device, reports, checkpoints, and the seed.
        undecayed: parameters of ``model`` that do not decay.
        objective: the metric to maximise, one of ``evaluate``'s.
        examples: how many a batch has; its rows, unless said otherwise.
        seed: of shuffling, negatives and dropout; the trial's, unless said otherwise.
        part: of the configuration that ``settings`` come from, for errors.

    Raises:
        ValueError: there is no training row, or the trial has several ranks.
        FloatingPointError: the loss is no longer finite; the objective is reported as NaN first.
    """
    if not len(rows):
        raise ValueError("training needs at least one row, but got none; raise data.keep_last or use longer histories")
    if trial.world_size != 1:
        raise ValueError(f"this training runs on one rank, but got {trial.world_size}; set resources.workers to 1")
    seed = trial.seed if seed is None else seed
    optimiser = adam(model, settings, undecayed)
    progress, best = _restore(model, optimiser, trial.load())
    while not progress.ended(settings):
        started = time.perf_counter()
        epoch = progress.epoch + 1
        with matmul_precision(settings.matmul):
            mean_loss = _train_epoch(model, optimiser, loss, rows, trial, seed, epoch, settings.batch_size, examples)
        trained = time.perf_counter()
        if not math.isfinite(mean_loss):
            trial.report(epoch, {"train/loss": mean_loss, objective: math.nan})
            raise FloatingPointError(
                f"the training loss must stay finite, but got {mean_loss} in epoch {epoch}; lower {part}.learning_rate"
            )
        model.eval()
        metrics = evaluate()
        progress.epoch = epoch
        if metrics[objective] > progress.best_value:
            progress.best_epoch, progress.best_value = epoch, metrics[objective]
            best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        progress.seconds += time.perf_counter() - started
        speed = {"trial/examples_per_second": len(rows) / (trained - started), "trial/seconds": progress.seconds}
        trial.report(epoch, {"train/loss": mean_loss, **metrics, **speed}, last=progress.ended(settings))
        trial.save(_state(model, optimiser, progress, best))
    if settings.keep == "best":
        model.load_state_dict(best)
    model.eval()
    return progress


def adam(model: nn.Module, settings: Fit, undecayed: Sequence[nn.Parameter] = ()) -> torch.optim.Adam:
    """Adam over all trained parameters of ``model`` in one fused kernel, a quarter of the plain one's time on a CPU."""
    spared = {id(parameter) for parameter in undecayed}
    trained = trained_parameters(model)
    groups: list[dict[str, Any]] = [{"params": [p for p in trained if id(p) not in spared]}]
    if spared:
        groups.append({"params": [p for p in trained if id(p) in spared], "weight_decay": 0.0})
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of ``model`` that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    rows: Rows,
    trial: Trial,
    seed: int,
    epoch: int,
    batch_size: int,
    examples: Callable[[Batch], int],
) -> float:
    """One pass over ``rows``; the mean loss of a row."""
    device = torch.device(trial.device)
    shuffle = generator_for(seed, "shuffle", epoch)
    draws = generator_for(seed, "negatives", epoch, device=device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    model.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed_for(seed, "dropout", epoch))
        for batch in batches(rows, batch_size, shuffle, device):
            optimiser.zero_grad()
            for part, share in micro_batches(batch, trial.micro_batch_divisor, examples):
                part_loss = loss(part, draws)
                (part_loss if share == 1 else part_loss * share).backward()
                total += part_loss.detach() * (share * len(batch))
            optimiser.step()
    return float(total) / len(rows)


def micro_batches(batch: Batch, divisor: int, examples: Callable[[Batch], int] = len) -> Iterator[tuple[Batch, float]]:
    """``batch`` in at most ``divisor`` parts with the share of each, for a trial that ran out of memory before.

    Their losses times their shares add up to that of the batch where it is a mean over its ``examples``, each of which
    adds by itself; a trainable says where that is so (``micro_batches`` of its config.py). Random draws fall otherwise.
    """
    if divisor == 1:
        yield batch, 1.0
        return
    size, count = -(-len(batch) // divisor), examples(batch)
    columns = (batch.history_BL.split(size), batch.target_B.split(size), batch.user_B.split(size))
    for history_BL, target_B, user_B in zip(*columns, strict=True):
        part = Batch(history_BL, target_B, user_B)
        if held := examples(part):
            yield part, held / count


def _state(
    model: nn.Module, optimiser: torch.optim.Optimizer, progress: EpochProgress, best: Weights
) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "progress": vars(progress).copy(),
        "best": None if progress.best_epoch == progress.epoch else best,
    }


def _restore(
    model: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any] | None
) -> tuple[EpochProgress, Weights]:
    """Progress and best weights as saved, with model and optimiser set to go on; the beginning where none is saved."""
    if state is None:
        return EpochProgress(), {}
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    best = state["model"] if state["best"] is None else state["best"]
    device = next(model.parameters()).device
    return EpochProgress(**state["progress"]), {name: tensor.to(device) for name, tensor in best.items()}
