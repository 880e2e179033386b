"""The frozen item table of SLMRec's head, and the backbone of `cross: sasrec`: SASRec on the trial's training rows."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from trainables.backbones.config import SASRec
from trainables.backbones.make import make_backbone
from trainables.config import build, settings_of
from trainables.data.config import ROWS_READ
from trainables.data.sequences import Sequences
from trainables.data.splits import Splits
from trainables.hatllm.config import OBJECTIVE, TOP_K, Config
from trainables.seqrec.config import Fit
from trainables.seqrec.evaluate import rank_rows
from trainables.seqrec.fit import fit
from trainables.seqrec.items import IdItems
from trainables.seqrec.metrics import ranking_metrics
from trainables.seqrec.objectives import next_item, next_scores, sampled_loss
from trainables.seqrec.randomness import generator_for
from trainables.storage import checkpoint
from trainables.storage.stages import Arrays, StageResult, stage
from trainables.trial import Metrics, Trial

NEGATIVES, BATCH_SIZE = 64, 256

READS = ("seed", *ROWS_READ, "sasrec")
"""Fields that the table reads, itself or through the rows; data and rows reach it as `Splits.trained_on`."""


@stage(version=1)
def item_table(
    data: str, settings: dict[str, Any], trial: Trial, sequences: Sequences, splits: Splits, folder: Path
) -> Arrays:
    """Stage: `table`, float32 (I, D), SASRec's item vectors at its best epoch.

    Args:
        data: fingerprint of ``sequences`` and of what is trained on.
        settings: values of :data:`READS`.
        trial: its device, and whom to tell how far this is.
        sequences: what ``data`` stands for.
        splits: of these, as ``data`` and the settings say.
        folder: for work that is not done.
    """
    config = build(Config, settings)
    table = config.sasrec
    items = IdItems(sequences.num_items, table.dim, generator=generator_for(config.seed, "sasrec items"))
    backbone = make_sasrec(config)
    model = nn.ModuleDict({"item": items, "backbone": backbone}).to(trial.device)

    def evaluate() -> dict[str, float]:
        score = next_scores(items, backbone, cosine=False)
        rank_N = rank_rows(score, splits.valid, sequences, mask_seen=config.data.mask_seen, device=trial.device)
        return ranking_metrics("valid", rank_N, TOP_K)

    fit(
        model,
        Fit(epochs=table.epochs, patience=table.patience, batch_size=BATCH_SIZE, learning_rate=table.learning_rate),
        loss=sampled_loss(
            items, backbone, next_item(backbone), negatives=NEGATIVES, exclude="target", cosine=False, temperature=1.0
        ),
        rows=splits.train,
        evaluate=evaluate,
        trial=SilentTrial(trial, folder / "checkpoints", "SASRec: epoch"),
        objective=OBJECTIVE,
        part="sasrec",
    )
    return {"table": items.rows().detach().cpu().numpy()}


def table_of(config: Config, trial: Trial, sequences: Sequences, splits: Splits) -> StageResult:
    """The item table of ``config``, trained here or by another trial."""
    return trial.stages.get(
        item_table,
        {"data": splits.trained_on, "settings": settings_of(config, READS)},
        context={"trial": trial, "sequences": sequences, "splits": splits},
        notify=trial.status,
        scratch=True,
    )


def make_sasrec(config: Config) -> Any:
    """SASRec's backbone as ``config.sasrec`` has it."""
    backbone, _ = make_backbone(
        SASRec(blocks=config.sasrec.blocks),
        dim=config.sasrec.dim,
        max_history=config.data.max_history,
        dropout=config.sasrec.dropout,
        generator=generator_for(config.seed, "sasrec backbone"),
    )
    return backbone


class SilentTrial:
    """A trial whose lines are its status, whose checkpoints lie elsewhere, and which has one rank.

    What trials share belongs to none of them, so none reports how it was trained.

    Args:
        trial: whose device and status this is.
        checkpoints: where they lie.
        label: what the number of a step comes after in the status.
    """

    rank, world_size = 0, 1

    def __init__(self, trial: Trial, checkpoints: Path, label: str) -> None:
        self._trial, self.checkpoints, self._label = trial, checkpoints, label

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def report(self, step: int, metrics: Metrics, last: bool = False) -> None:
        """Say how far this is."""
        self._trial.status(f"{self._label} {step}, {OBJECTIVE} {metrics.get(OBJECTIVE, np.nan):.4f}")

    def save(self, state: dict[str, Any]) -> None:
        """See :meth:`Trial.save`."""
        checkpoint.save(self.checkpoints, state)

    def load(self) -> dict[str, Any] | None:
        """See :meth:`Trial.load`."""
        return checkpoint.load(self.checkpoints)
