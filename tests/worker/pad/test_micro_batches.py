"""Parts of a batch add up to the batch where PAD allows training in parts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.worker.pad_ingredients import ingredients
from tests.worker.small import SMALL_PAD
from tests.worker.spectran.test_micro_batches import fixed_negatives
from trainables.config import build
from trainables.data.batches import Batch
from trainables.data.text import text_stage
from trainables.pad import phases
from trainables.pad.compose import Ingredients, compose
from trainables.pad.config import MAKE, SMEM, Config
from trainables.pad.config import micro_batches as says
from trainables.pad.experts import JoinedBackbone, JoinedItems
from trainables.pad.gate import FrequencyGate
from trainables.seqrec import objectives
from trainables.seqrec.fit import micro_batches
from trainables.seqrec.objectives import bce_loss, every_position, positions
from trainables.seqrec.randomness import generator_for
from trainables.storage.stages import Stages


def experts(given: Ingredients) -> tuple[list[Any], nn.Module | None, Any]:
    """The experts of the method, its gate and its penalty; phases before the last are left out."""
    config, num_items = given.config, given.sequences.num_items
    if not isinstance(config.method, SMEM | MAKE):
        made = compose(given)
        return list(made.experts.values()), made.gate, made.penalty
    vectors_IV = text_stage(given.sequences, config.data, given.trial.stages)["vectors"]
    both = [phases.id_expert(config, num_items), phases.text_expert(config, vectors_IV)]
    return both, FrequencyGate(("id", "text"), 4), None


def gradients(config: Config, folder: Path, stages: Stages, divisor: int, weigh: Any) -> tuple[float, torch.Tensor]:
    """The loss of 24 rows of different lengths and its gradients, in ``divisor`` parts as `fit` takes them."""
    given = ingredients(config, folder, stages)
    made, gate, penalty = experts(given)
    items = JoinedItems([each[0] for each in made], torch.arange(given.sequences.num_items) % 4, gate)
    backbone = JoinedBackbone([each[1] for each in made])
    model = nn.ModuleDict({"item": items, "backbone": backbone}).double()
    model.eval()  # without dropout, whose draws fall otherwise
    recommend, total = bce_loss(items, backbone, every_position(backbone)), 0.0
    rows = given.splits.train
    history_BL = torch.from_numpy(rows.history_NL[:24]).long()
    history_BL[:12, :-1] = 0  # the first rows have one item each
    batch = Batch(history_BL, torch.from_numpy(rows.target_N[:24]).long(), torch.from_numpy(rows.user_N[:24]).long())
    for part, share in micro_batches(batch, divisor, weigh):
        loss = recommend(part, generator_for(0, "negatives"))
        if penalty is not None:
            loss = loss + penalty(part, generator_for(0, "penalty"))
        (loss * share).backward()
        total += loss.item() * share
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    "method", [{"name": "id"}, {"name": "hybrid"}, {"name": "morec"}, {"name": "make"}, {"name": "smem"}]
)
def test_parts_add_up_to_the_batch_by_their_examples_and_not_by_their_rows(tmp_path, stages, monkeypatch, method):
    monkeypatch.setattr(objectives, "draw_negatives", fixed_negatives)
    config = build(Config, SMALL_PAD | {f"method.{name}": value for name, value in method.items()})
    assert says(config)
    (whole, gradient), (parts, of_parts), (_, by_rows) = (
        gradients(config, tmp_path, stages, divisor, weigh) for divisor, weigh in ((1, len), (2, positions), (2, len))
    )
    assert parts == pytest.approx(whole, abs=1e-6)
    assert (of_parts - gradient).abs().max() < 1e-6
    assert (by_rows - gradient).abs().max() > 1e-4


@pytest.mark.parametrize("method", [{"name": "disco"}, {"name": "ctrl", "joint": True}])
def test_losses_that_compare_items_of_a_batch_do_not_add_up(tmp_path, stages, monkeypatch, method):
    monkeypatch.setattr(objectives, "draw_negatives", fixed_negatives)
    config = build(Config, SMALL_PAD | {f"method.{name}": value for name, value in method.items()})
    assert not says(config)
    (_, gradient), (_, of_parts) = (gradients(config, tmp_path, stages, divisor, positions) for divisor in (1, 2))
    assert (of_parts - gradient).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("method", "exact"),
    [
        ({"name": "pad"}, False),
        ({"name": "pad", "gamma": 0}, True),
        ({"name": "pad", "experts": "no_aligned"}, True),
        ({"name": "pad", "experts": "id"}, True),
        ({"name": "pad", "experts": "no_text"}, False),
        ({"name": "single"}, True),
        ({"name": "single", "phases": "align_tune"}, False),
        ({"name": "single", "phases": "align_tune", "gamma": 0}, True),
        ({"name": "ctrl"}, False),
    ],
    ids=str,
)
def test_alignment_losses_are_never_trained_in_parts(method, exact):
    assert says(build(Config, {f"method.{name}": value for name, value in method.items()})) is exact
