"""PAD's phases 1 and 2 as stages: trained once, whichever trial needs them first, and read by all others.

A phase builds its own `Config` from the values in its key and from nothing else, so what is not in the key cannot
change what it computes. What it reports is kept with its weights, so that a trial that loads it reports the same lines.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables.backbones.make import make_backbone
from trainables.config import build, settings_of
from trainables.data.config import ROWS_READ
from trainables.data.sequences import Sequences
from trainables.data.splits import Splits
from trainables.pad.alignment import CLOSENESS, closeness, text_to_ids
from trainables.pad.config import PAD, SMEM, Config
from trainables.pad.curve import ReportOnce, replay, steps
from trainables.pad.experts import FusedItems
from trainables.pad.mmd import RADIAL
from trainables.pad.training import Training
from trainables.seqrec.items import IdItems
from trainables.seqrec.randomness import generator_for
from trainables.seqrec.text import TextItems, mapped, mean_length
from trainables.storage.stages import Arrays, StageResult, stage
from trainables.trial import Trial

PRETRAIN_READS = (
    "seed",
    "dim",
    *ROWS_READ,
    "backbone",
    "pretrain",
    *(f"fit.{name}" for name in ("batch_size", "dropout", "optimiser", "matmul")),
)
"""Fields that phase 1 reads, itself or through the rows; `data.name`, `data.root` and the rows reach it as
`Splits.trained_on`."""

TEXT_READS = (*PRETRAIN_READS, "text")
"""Fields that phase 1 of the text expert reads; text vectors reach it as their stage."""

ALIGN_READS = (
    *TEXT_READS,
    "align",
    *(f"method.{name}" for name in ("arm", "gamma", "kernel", "bandwidths", "mmd_rows")),
)
"""Fields that phase 2 reads, phase 1's among them; text vectors reach it as their stage."""


@stage(version=3)
def pretrained(
    data: str,
    settings: dict[str, Any],
    trial: Trial,
    sequences: Sequences,
    splits: Splits,
    folder: Path,
    text: Mapping[str, np.ndarray] | None = None,
) -> Arrays:
    """Stage: phase 1, the item vectors and the backbone of the ID expert, or of the text expert, as trained by BCE.

    Args:
        data: fingerprint of ``sequences`` and of what is trained on.
        settings: values of :data:`PRETRAIN_READS`, or of :data:`TEXT_READS`.
        trial: where it reports, device and checkpoints.
        sequences: what ``data`` stands for.
        splits: of these, as ``data`` and the settings say.
        folder: for work that is not done.
        text: the text stage's ``vectors``, for the text expert.
    """
    config = build(Config, settings)
    items, backbone = id_expert(config, sequences.num_items) if text is None else text_expert(config, text["vectors"])
    purpose = "pretrain" if text is None else "pretrain text"
    return Training(config, "pretrain", sequences, splits, trial, purpose=purpose).run(items, backbone, folder)


@stage(version=3)
def aligned(
    data: str,
    settings: dict[str, Any],
    text: Mapping[str, np.ndarray],
    phase1: Mapping[str, np.ndarray],
    trial: Trial,
    sequences: Sequences,
    splits: Splits,
    folder: Path,
) -> Arrays:
    """Stage: phase 2, the aligned expert: a copy of phase 1's, text beside the IDs, BCE + gamma * MMD (equation 4).

    Without BCE (``method.arm: non_anchored``) neither the layer that fuses text with IDs nor the backbone is trained,
    so that no ranking tells one epoch from another: the best is that of :data:`~trainables.pad.alignment.CLOSENESS`.

    Args:
        data: fingerprint of ``sequences`` and of what is trained on.
        settings: values of :data:`ALIGN_READS`.
        text: the text stage's ``vectors``.
        phase1: what :func:`pretrained` gave.
        trial: where it reports, device and checkpoints.
        sequences: what ``data`` stands for.
        splits: of these, as ``data`` and the settings say.
        folder: for work that is not done.
    """
    config = build(Config, settings)
    items, backbone = aligned_expert(config, sequences.num_items, text["vectors"], phase1)
    training, method = Training(config, "align", sequences, splits, trial, purpose="align"), config.method
    if not isinstance(method, PAD):
        return training.run(items, backbone, folder)
    if method.arm == "non_anchored":
        model = nn.ModuleDict({"item": items, "backbone": backbone}).to(trial.device)
        return training.fit(model, text_to_ids(items, method), closeness(items, method, config.seed), CLOSENESS, folder)
    assert isinstance(items.ids, IdItems)
    items.ids.requires_grad_(method.arm != "frozen")
    return training.run(items, backbone, folder, penalty=text_to_ids(items, method))


def phase1(
    config: Config,
    trial: Trial,
    sequences: Sequences,
    splits: Splits,
    *,
    text: StageResult | None = None,
    name: str = "phase1",
    before: int = 0,
) -> StageResult:
    """Phase 1 of ``config``, of the ID expert, or of the text expert where ``text`` is given.

    Args:
        config: of the trial.
        trial: where it reports.
        sequences: all interactions.
        splits: of these.
        text: the text stage.
        name: what its metrics begin with.
        before: steps that other phases took.
    """
    inputs: dict[str, Any] = {"settings": settings_of(config, PRETRAIN_READS if text is None else TEXT_READS)}
    if text is not None:
        inputs["text"] = text
    return shared(pretrained, inputs, trial.phase(name, before), sequences, splits)


def phase2(
    config: Config,
    trial: Trial,
    sequences: Sequences,
    splits: Splits,
    text: StageResult,
    first: StageResult,
) -> StageResult:
    """Phase 2 of ``config``, on phase 1's ``first``; its steps follow those of phase 1."""
    inputs = {"settings": align_settings(config), "text": text, "phase1": first}
    return shared(aligned, inputs, trial.phase("phase2", steps(first)), sequences, splits)


def shared(
    compute: Callable[..., Arrays], inputs: Mapping[str, Any], phase: Trial, sequences: Sequences, splits: Splits
) -> StageResult:
    """A phase, trained here or by another trial; its lines are reported either way.

    Args:
        compute: the stage.
        inputs: what its key depends on; the data as well, where that is less than ``splits.trained_on``.
        phase: the trial's phase that it reports as.
        sequences: all interactions.
        splits: of these.
    """
    once = ReportOnce(phase)
    result = phase.stages.get(
        compute,
        {"data": splits.trained_on, **inputs},
        context={"trial": once, "sequences": sequences, "splits": splits},
        notify=phase.status,
        scratch=True,
    )
    replay(result, once)
    return result


def align_settings(config: Config) -> dict[str, Any]:
    """The values of ``config`` that phase 2 reads.

    Without an alignment loss PAD is SMEM and reads no more than it; a kernel without bandwidths does not read those.
    """
    plain = isinstance(config.method, SMEM) or (isinstance(config.method, PAD) and not config.method.gamma)
    settings = settings_of(config, ALIGN_READS)
    if plain:
        settings = {name: value for name, value in settings.items() if not name.startswith("method.")}
    elif settings.get("method.kernel") not in RADIAL:
        settings.pop("method.bandwidths", None)
    return {**settings, "method.name": "smem" if plain else "pad"}


def id_expert(config: Config, num_items: int) -> tuple[IdItems, nn.Module]:
    """The ID expert before phase 1."""
    return id_items(config, num_items, "id items"), expert_backbone(config, "id backbone")


def text_expert(config: Config, vectors_IV: np.ndarray) -> tuple[TextItems, nn.Module]:
    """The text expert before any training.

    Args:
        config: widths, seed, dropout and text settings are read.
        vectors_IV: frozen text, float32 (items with padding, columns of the encoder).
    """
    return text_items(config, vectors_IV, "text items"), expert_backbone(config, "text backbone")


def aligned_expert(
    config: Config, num_items: int, vectors_IV: np.ndarray, first: Mapping[str, np.ndarray] | None
) -> tuple[FusedItems, nn.Module]:
    """The expert on both, its IDs and its backbone copied from phase 1 where there was one."""
    ids, backbone = id_expert(config, num_items)
    if first is not None:
        load(ids, backbone, first)
    items = FusedItems(
        ids,
        text_items(config, vectors_IV, "aligned text"),
        dropout=config.text.dropout,
        generator=generator_for(config.seed, "fusion"),
    )
    return items, backbone


def id_items(config: Config, num_items: int, purpose: str) -> IdItems:
    """Free ID embeddings, drawn for ``purpose``."""
    return IdItems(num_items, config.dim, generator=generator_for(config.seed, purpose))


def text_items(config: Config, vectors_IV: np.ndarray, purpose: str) -> TextItems:
    """Item vectors from text alone, with weights drawn for ``purpose``."""
    return TextItems(
        mapped(np.asarray(vectors_IV)),
        dim=config.dim,
        layers=config.text.layers,
        dropout=config.text.dropout,
        scale=config.text.length / mean_length(vectors_IV),
        generator=generator_for(config.seed, purpose),
    )


def expert_backbone(config: Config, purpose: str) -> nn.Module:
    """One expert's backbone, with weights drawn for ``purpose``."""
    backbone, _ = make_backbone(
        config.backbone,
        dim=config.dim,
        max_history=config.data.max_history,
        dropout=config.fit.dropout,
        generator=generator_for(config.seed, purpose),
    )
    return backbone


def load(items: nn.Module, backbone: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Put a phase's weights into an expert of the same shapes."""
    model = nn.ModuleDict({"item": items, "backbone": backbone})
    model.load_state_dict({name: torch.from_numpy(np.array(weights[name])) for name in model.state_dict()})
