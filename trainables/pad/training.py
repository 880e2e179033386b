"""The training of one phase before the last: what it reports and leaves, so that a stage can keep it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from trainables.data.batches import Batch
from trainables.data.sequences import Sequences
from trainables.data.splits import Splits
from trainables.pad.config import OBJECTIVE, Config, Phase
from trainables.pad.curve import Curve
from trainables.pad.experts import FusedItems
from trainables.seqrec.config import TOP_K
from trainables.seqrec.evaluate import rank_rows
from trainables.seqrec.fit import Loss, fit
from trainables.seqrec.items import IdItems
from trainables.seqrec.metrics import ranking_metrics
from trainables.seqrec.objectives import bce_loss, every_position, next_scores, positions
from trainables.seqrec.randomness import seed_for
from trainables.seqrec.text import TextItems
from trainables.storage.stages import Arrays
from trainables.trial import Trial

Penalty = Callable[[Batch, torch.Generator], torch.Tensor]
"""A loss beside the recommendation loss."""


class Training:
    """Parts that the training of a phase is made of.

    Args:
        config: seed, dropout, batch size, optimiser and data settings are read.
        phase: the part of ``config`` that has epochs, patience, learning rate and weight decay.
        sequences: all interactions.
        splits: training and validation rows.
        trial: where it reports, device and checkpoints.
        purpose: what the seed draws for, so that each phase shuffles and draws negatives in its own way.
    """

    def __init__(
        self,
        config: Config,
        phase: Literal["pretrain", "align"],
        sequences: Sequences,
        splits: Splits,
        trial: Trial,
        *,
        purpose: str,
    ) -> None:
        self.config, self.phase, self.sequences, self.splits, self.trial = config, phase, sequences, splits, trial
        self.seed = seed_for(config.seed, purpose)

    def run(
        self,
        items: IdItems | TextItems | FusedItems,
        backbone: nn.Module,
        folder: Path,
        *,
        penalty: Penalty | None = None,
    ) -> Arrays:
        """Train one expert by BCE; returns the best epoch's weights by name, and the curve.

        Args:
            items: item vectors.
            backbone: what reads them.
            folder: checkpoints and the curve so far.
            penalty: a loss beside the recommendation loss.
        """
        model = nn.ModuleDict({"item": items, "backbone": backbone}).to(self.trial.device)
        recommend = bce_loss(items, backbone, every_position(backbone))  # type: ignore[arg-type]

        def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
            mean = recommend(batch, generator)
            return mean if penalty is None else mean + penalty(batch, generator)

        mask_seen, device = self.config.data.mask_seen, self.trial.device

        def evaluate() -> dict[str, float]:
            score = next_scores(items, backbone, cosine=False)  # type: ignore[arg-type]
            rank_N = rank_rows(score, self.splits.valid, self.sequences, mask_seen=mask_seen, device=device)
            return ranking_metrics("valid", rank_N, TOP_K)

        return self.fit(model, loss, evaluate, OBJECTIVE, folder)

    def fit(
        self,
        model: nn.Module,
        loss: Loss,
        evaluate: Callable[[], Mapping[str, float]],
        objective: str,
        folder: Path,
    ) -> Arrays:
        """Train by any loss; returns the best epoch's weights by name, and the curve.

        Args:
            model: its parameters are trained; on the trial's device.
            loss: of a batch.
            evaluate: metrics of the model as it is.
            objective: the metric to maximise.
            folder: checkpoints and the curve so far.
        """
        recorded = Curve(folder, self.trial)
        phase: Phase = getattr(self.config, self.phase)
        fit(
            model,
            replace(self.config.fit, keep="best", **vars(phase)),
            loss=loss,
            rows=self.splits.train,
            evaluate=evaluate,
            trial=recorded,
            objective=objective,
            examples=positions,
            seed=self.seed,
            part=self.phase,
        )
        weights = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
        return weights | recorded.arrays()
