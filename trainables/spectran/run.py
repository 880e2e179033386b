"""SpecTran and its baselines: items x backbone x InfoNCE. README has the equations."""

import numpy as np
import torch
from torch import nn

from trainables.backbones.make import make_backbone
from trainables.data.sequences import load
from trainables.data.splits import Rows, split
from trainables.data.tags import tag_data
from trainables.seqrec.config import TOP_K
from trainables.seqrec.evaluate import rank_rows, report_test
from trainables.seqrec.fit import fit, trained_parameters
from trainables.seqrec.items import IdItems
from trainables.seqrec.metrics import Shown, ranking_metrics
from trainables.seqrec.objectives import next_scores, sampled_loss
from trainables.seqrec.randomness import generator_for
from trainables.seqrec.recommend import FrozenItems, Recommender, Saved
from trainables.spectran.adapters import llm_esr
from trainables.spectran.adapters.config import LLMESR
from trainables.spectran.config import Config
from trainables.spectran.diagnostics import write_diagnostics
from trainables.spectran.items import make_items
from trainables.trial import Trial

TABLE = "table_IW"


def run(config: Config, trial: Trial) -> None:
    """Train one configuration, report every epoch, and the test split once at the one that `fit.keep` says.

    With the test metrics come ``trial/parameters`` (trainable ones), ``trial/inference_seconds`` (of ranking the test
    split, item vectors included) and what :func:`write_diagnostics` says. Artifacts: ``ranks.npy`` (``user`` and
    ``rank`` of every test row), ``best.safetensors`` and the diagnostics' tables.

    Raises:
        ValueError: ``dim`` exceeds the rank of the text vectors; there is nothing to train on.
    """
    sequences = load(config.data, trial.stages)
    splits = split(sequences, config.data)
    tag_data(trial, sequences, splits, config.data)
    items = make_items(config, sequences, splits.train, trial)
    backbone, read = make_backbone(
        config.backbone,
        dim=config.dim,
        max_history=config.data.max_history,
        dropout=config.fit.dropout,
        generator=generator_for(trial.seed, "backbone"),
    )
    model = nn.ModuleDict({"item": items, "backbone": backbone}).to(trial.device)
    cosine = config.objective.similarity == "cosine"

    def ranks(rows: Rows, shown: Shown | None = None) -> np.ndarray:
        score = next_scores(items, backbone, cosine=cosine)
        return rank_rows(score, rows, sequences, mask_seen=config.data.mask_seen, shown=shown, device=trial.device)

    done = fit(
        model,
        config.fit,
        loss=sampled_loss(
            items,
            backbone,
            read,
            negatives=config.objective.negatives,
            exclude=config.objective.exclude,
            cosine=cosine,
            temperature=config.objective.temperature,
        ),
        rows=splits.train,
        evaluate=lambda: ranking_metrics("valid", ranks(splits.valid), TOP_K),
        trial=trial,
    )
    with torch.inference_mode():
        scoring = {} if isinstance(items, IdItems) else {TABLE: items.rows()}
    report_test(
        trial,
        splits.test,
        ranks,
        step=done.kept_epoch(config.fit),
        weights=model.state_dict(),
        scoring=scoring,
        sequences=sequences,
        train=splits.train,
        trained=trained_parameters(model),
        extra=lambda _: write_diagnostics(items, trial),
    )


def recommender(config: Config, saved: Saved, device: str) -> Recommender:
    """The recommender that a trial of ``config`` saved."""
    backbone, _ = make_backbone(
        config.backbone,
        dim=config.dim,
        max_history=config.data.max_history,
        dropout=config.fit.dropout,
        generator=torch.Generator(),
    )
    saved.part(backbone.to(device), "backbone.")
    encode = None
    if isinstance(config.adapter, LLMESR):
        encode = saved.part(llm_esr.Streams(config.dim).to(device), "item.").encode
    items = FrozenItems(saved.scoring[TABLE] if TABLE in saved.scoring else saved.weights["item.table_ID"], encode)
    score = next_scores(items, backbone, cosine=config.objective.similarity == "cosine")
    return Recommender(score=score, max_history=config.data.max_history, device=device)
