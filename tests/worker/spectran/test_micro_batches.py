"""Parts of a batch add up to the batch where SpecTran allows training in parts, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from trainables.backbones.make import make_backbone
from trainables.config import build
from trainables.data.batches import batches
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.seqrec import objectives
from trainables.seqrec.fit import micro_batches
from trainables.seqrec.randomness import generator_for
from trainables.spectran.adapters.config import LLMESR
from trainables.spectran.config import Config
from trainables.spectran.config import micro_batches as says
from trainables.spectran.items import make_items
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial


def fixed_negatives(num_items: int, count: int, excluded_NE: torch.Tensor, generator: Any) -> torch.Tensor:
    """Negatives that depend on the row alone, so that two orders of drawing compare."""
    return (excluded_NE[:, :1] * 7 + torch.arange(count) * 3) % (num_items - 1) + 1


def gradients(config: Config, folder: Path, stages: Stages, divisor: int) -> dict[str, torch.Tensor]:
    """Of one batch of 24 rows, taken in ``divisor`` parts as :func:`trainables.seqrec.fit.fit` does."""
    trial = LocalTrial(folder, stages=stages)
    sequences = load(config.data, stages)
    rows = split(sequences, config.data).train
    items = make_items(config, sequences, rows, trial)
    backbone, read = make_backbone(
        config.backbone,
        dim=config.dim,
        max_history=config.data.max_history,
        dropout=0.0,
        generator=generator_for(0, "backbone"),
    )
    model = nn.ModuleDict({"item": items, "backbone": backbone})
    loss = objectives.sampled_loss(items, backbone, read, negatives=4, exclude="target", cosine=False, temperature=1.0)
    model.eval()  # without dropout and noise, whose draws fall otherwise
    items.training = isinstance(config.adapter, LLMESR)  # which then looks up similar users' items
    torch.manual_seed(0)
    for part, share in micro_batches(next(batches(rows, 24)), divisor):
        (loss(part, generator_for(0, "negatives")) * share).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("values", "exact"),
    [
        ({"backbone.name": "sasrec"}, True),
        ({"backbone.name": "hstu"}, True),
        ({"backbone.name": "gru4rec"}, True),
        ({"backbone.name": "caser"}, True),
        ({"backbone.name": "bert4rec"}, False),
        ({"adapter.name": "spectran", "adapter.inner_width": 4}, False),
        ({"adapter.name": "spectran", "adapter.inner_width": 4, "adapter.learn_threshold": False}, True),
        ({"adapter.name": "alphafuse", "adapter.null_width": 4}, True),
        ({"adapter.name": "unisrec"}, True),
        ({"adapter.name": "rlmrec"}, True),
        ({"adapter.name": "rlmrec", "adapter.loss": "info_nce"}, False),
        ({"adapter.name": "llm_esr"}, False),
        ({"adapter.name": "llm_esr", "adapter.alignment": 0, "adapter.distillation": 0.1}, True),
    ],
    ids=lambda entry: "-".join(map(str, entry.values())) if isinstance(entry, dict) else str(entry),
)
def test_parts_add_up_to_the_batch_where_the_config_says_so(tmp_path, stages, monkeypatch, values, exact):
    monkeypatch.setattr(objectives, "draw_negatives", fixed_negatives)
    config = build(Config, {"dim": 8, "data.text_width": 16, "adapter.name": "none", **values})
    whole, parts = (gradients(config, tmp_path, stages, divisor) for divisor in (1, 3))
    assert whole.keys() == parts.keys()
    furthest = max(float((whole[name] - parts[name]).abs().max() / whole[name].abs().max()) for name in whole)
    assert (furthest < 1e-3) is says(config) is exact, furthest
