"""PAD and the methods beside it: experts x backbone x BCE, in one to three phases. README has the equations."""

import numpy as np
import torch
from torch import nn

from trainables.data.batches import Batch
from trainables.data.sequences import load
from trainables.data.splits import Rows, split
from trainables.data.tags import tag_data
from trainables.pad.artifacts import write_diagnostics
from trainables.pad.buckets import buckets, group_metrics, groups, item_frequency, target_groups
from trainables.pad.compose import Ingredients, compose
from trainables.pad.config import BUCKETS, OBJECTIVE, Config
from trainables.pad.experts import JoinedBackbone, JoinedItems, frozen_scores, gated_scores
from trainables.pad.gate import NetworkGate
from trainables.pad.phases import expert_backbone
from trainables.seqrec.config import TOP_K
from trainables.seqrec.evaluate import rank_rows, report_test
from trainables.seqrec.fit import fit, trained_parameters
from trainables.seqrec.metrics import Shown, ranking_metrics
from trainables.seqrec.objectives import bce_loss, every_position, positions
from trainables.seqrec.recommend import Recommender, Saved
from trainables.trial import Trial


def run(config: Config, trial: Trial) -> None:
    """Train one configuration through all of its phases and report the test split once, after the last.

    The test line stands at the epoch of the last phase that ``fit.keep`` says. Phases 1 and 2 report as ``phase1/...``
    and ``phase2/...``, on one axis of steps with the last, whose metrics are the trial's own. The test metrics come for
    all users and for those whose target is a warm, median or cold item, with ``trial/parameters`` and
    ``trial/inference_seconds``. Artifacts: ``ranks.npy`` and ``best.safetensors`` and what :func:`write_diagnostics`
    writes.

    Raises:
        ValueError: the data have no items of some kind that the settings need.
    """
    sequences = load(config.data, trial.stages)
    splits = split(sequences, config.data)
    tag_data(trial, sequences, splits, config.data)
    frequency_I = item_frequency(sequences, splits.train)
    group_N = target_groups(groups(frequency_I), splits.test, "test")
    bucket_I = buckets(frequency_I, getattr(config.method, "buckets", BUCKETS))
    method = compose(Ingredients(config, trial, sequences, splits))
    items = JoinedItems([expert[0] for expert in method.experts.values()], torch.from_numpy(bucket_I), method.gate)
    backbone = JoinedBackbone([expert[1] for expert in method.experts.values()])
    model = nn.ModuleDict({"item": items, "backbone": backbone}).to(trial.device)

    def ranks(rows: Rows, shown: Shown | None = None) -> np.ndarray:
        score = gated_scores(items, backbone)
        return rank_rows(score, rows, sequences, mask_seen=config.data.mask_seen, shown=shown, device=trial.device)

    gate_weights = () if isinstance(method.gate, NetworkGate | None) else tuple(method.gate.parameters())
    recommend = bce_loss(items, backbone, every_position(backbone))

    def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        mean = recommend(batch, generator)
        return mean if method.penalty is None else mean + method.penalty(batch, generator)

    done = fit(
        model,
        config.fit,
        loss=loss,
        rows=splits.train,
        evaluate=lambda: ranking_metrics("valid", ranks(splits.valid), TOP_K),
        trial=trial.phase("", offset=method.steps),
        undecayed=gate_weights,
        examples=positions,
        objective=OBJECTIVE,
    )
    report_test(
        trial,
        splits.test,
        ranks,
        step=method.steps + done.kept_epoch(config.fit),
        weights=model.state_dict(),
        scoring=items.tables(),
        sequences=sequences,
        train=splits.train,
        trained=trained_parameters(model),
        extra=lambda rank_N: {
            **group_metrics("test", rank_N, group_N, TOP_K),
            **write_diagnostics(method, items, splits.train, frequency_I, trial),
        },
    )


def recommender(config: Config, saved: Saved, device: str) -> Recommender:
    """The recommender that a trial of ``config`` saved."""
    experts = {name.split(".")[2] for name in saved.weights if name.startswith("backbone.experts.")}
    backbone = JoinedBackbone([expert_backbone(config, name) for name in sorted(experts, key=int)]).to(device)
    saved.part(backbone, "backbone.")
    score = frozen_scores(saved.scoring, backbone)
    return Recommender(score=score, max_history=config.data.max_history, device=device)
