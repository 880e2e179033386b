"""CTRL: what matching compares, that it is shared, and what is trained afterwards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.worker.pad_ingredients import ingredients
from tests.worker.small import SMALL_PAD
from trainables.config import build, flatten, settings_of
from trainables.data.batches import Batch
from trainables.pad import ctrl
from trainables.pad.alignment import step_items
from trainables.pad.compose import compose
from trainables.pad.config import CTRL, Config
from trainables.pad.experts import FusedItems
from trainables.pad.phases import id_expert
from trainables.pad.run import run
from trainables.pad.training import Training
from trainables.seqrec.items import IdItems
from trainables.seqrec.text import TextItems
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

SMALL = {name: value for name, value in SMALL_PAD.items() if not name.startswith("align.")} | {
    "method.name": "ctrl",
    "pretrain.epochs": 2,
    "fit.epochs": 2,
    "pretrain.learning_rate": 1e-3,
    "fit.learning_rate": 1e-3,
}
ITEMS, DIM = 30, 6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def towers() -> tuple[IdItems, TextItems]:
    ids = IdItems(ITEMS, DIM, generator=seeded(0), initial_ID=torch.randn(ITEMS, DIM, generator=seeded(1)))
    return ids, TextItems(torch.randn(ITEMS, 9, generator=seeded(2)), dim=DIM, scale=20, generator=seeded(3))


def batch() -> Batch:
    return Batch(torch.tensor([[0, 3, 4], [3, 5, 3]]), torch.tensor([7, 4]), torch.tensor([0, 1]))


def loop(source: torch.Tensor, target: torch.Tensor, items: list[int], temperature: float) -> float:
    """InfoNCE one example after the other; of the other rows only those of other items are negatives."""
    loss = 0.0
    for n in range(len(items)):
        cosine = torch.cosine_similarity(source[n : n + 1], target) / temperature
        others = [m for m in range(len(items)) if m == n or items[m] != items[n]]
        loss -= float(cosine[n] - torch.logsumexp(cosine[others], dim=0)) / len(items)
    return loss


def test_matching_looks_both_ways_and_no_item_is_its_own_negative() -> None:
    ids, text = towers()
    index_N = step_items(batch(), ITEMS, 100, seeded(5))
    assert len(set(index_N.tolist())) < len(index_N) == 14
    with torch.no_grad():
        text_ND, id_ND = text.rows(index_N), ids.rows(index_N)
    names = index_N.tolist()
    expected = (loop(text_ND, id_ND, names, 0.3) + loop(id_ND, text_ND, names, 0.3)) / 2
    loss = ctrl.both_ways(ids, text, rows=100, temperature=0.3)(batch(), seeded(5))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert ids.table_ID.grad is not None
    assert text.project.first.weight.grad is not None
    assert not ids.table_ID.grad[0].any()


def test_the_released_loss_is_a_hundredth_of_one_direction_with_repeats_as_negatives() -> None:
    ids, text = towers()
    fused = FusedItems(ids, text, dropout=0.0, generator=seeded(4))
    index_N = step_items(batch(), ITEMS, 100, seeded(5))
    with torch.no_grad():
        expected = 0.01 * loop(text.rows(index_N), ids.rows(index_N), list(range(len(index_N))), 0.1)
    penalty = ctrl.beside(fused, CTRL(joint=True, rows=100))
    assert penalty(batch(), seeded(5)).item() == pytest.approx(expected, rel=1e-5)


def test_match_counts_items_whose_text_is_nearest_to_their_own_id() -> None:
    ids, text = towers()
    with torch.no_grad():
        ids.table_ID.copy_(3 * text.rows())
    item_N = torch.arange(1, 11)
    assert ctrl.match(ids, text, item_N) == 1
    with torch.no_grad():
        ids.table_ID[1:5] = ids.table_ID[[2, 1, 4, 3]]
    assert ctrl.match(ids, text, item_N) == pytest.approx(0.6)


def numbers(trial: LocalTrial) -> list[tuple[int, dict[str, float]]]:
    return [(step, {k: v for k, v in line.items() if "trial/" not in k}) for step, line in trial.reports]


@pytest.mark.slow
def test_trials_share_the_matching_and_then_train_the_ids_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    original = Training.fit

    def counted(self: Training, *arguments: Any, **named: Any) -> Any:
        trained.append(self.trial)
        return original(self, *arguments, **named)

    monkeypatch.setattr(Training, "fit", counted)
    shared = Stages(tmp_path / "stages")
    trials = []
    for dropout in (0.1, 0.3):
        trials.append(LocalTrial(tmp_path / str(dropout), stages=shared))
        run(build(Config, SMALL | {"fit.dropout": dropout, "backbone.blocks": 1 + len(trials)}), trials[-1])
    assert len(trained) == 1
    first, second = map(numbers, trials)
    assert [step for step, _ in first] == [1, 2, 3, 4, 4]
    assert first[:2] == second[:2]
    assert first[2:] != second[2:]
    assert set(first[0][1]) == {"phase1/train/loss", f"phase1/{ctrl.MATCHED}"}
    losses = [line["phase1/train/loss"] for _, line in first[:2]] + [line["train/loss"] for _, line in first[2:4]]
    assert losses[0] > losses[1]
    assert losses[2] > losses[3]


def test_the_last_phase_starts_from_matched_ids_a_fresh_backbone_and_no_text(tmp_path: Path, stages: Stages) -> None:
    given = ingredients(build(Config, SMALL), tmp_path, stages)
    made = compose(given)
    (items, backbone), fresh = made.experts["id"], id_expert(given.config, given.sequences.num_items)
    assert isinstance(items, IdItems)
    assert made.first is not None
    np.testing.assert_array_equal(items.table_ID.detach(), made.first["item.table_ID"])
    assert not torch.equal(items.table_ID, fresh[0].table_ID)
    assert not items.table_ID[0].any()
    for name, tensor in fresh[1].state_dict().items():
        assert torch.equal(backbone.state_dict()[name], tensor)
    assert (made.steps, made.gate, made.penalty) == (2, None, None)


def test_the_joint_class_trains_fused_items_once(tmp_path: Path, stages: Stages) -> None:
    lines = []
    for weight in (0.01, 0.0):
        trial = LocalTrial(tmp_path / str(weight), stages=stages)
        run(build(Config, SMALL | {"method.joint": True, "method.weight": weight}), trial)
        lines.append(numbers(trial))
    assert [step for step, _ in lines[0][:2]] == [1, 2]
    losses = [[line["train/loss"] for _, line in trial[:2]] for trial in lines]
    assert losses[0][0] > losses[0][1]
    assert 0.02 < losses[0][0] - losses[1][0] < 0.1  # a hundredth of InfoNCE over 672 rows, at most log 672 at random


def test_the_matched_text_is_read_without_dropout(tmp_path: Path, stages: Stages) -> None:
    deep = SMALL | {"text.layers": 2, "text.dropout": 0.5, "pretrain.epochs": 1}
    made = compose(ingredients(build(Config, deep), tmp_path, stages))
    assert made.text is not None
    torch.testing.assert_close(made.text.rows(), made.text.rows(), rtol=0, atol=0)


def test_the_matching_is_shared_by_trials_that_differ_in_validation_rows_alone(tmp_path: Path, stages: Stages) -> None:
    found = [
        compose(ingredients(build(Config, SMALL | values), tmp_path / str(number), stages)).first
        for number, values in enumerate(({}, {"data.eval_rows": 50}, {"data.split_seed": 1}, {"data.keep_last": 6}))
    ]
    folders = [first.folder for first in found if first is not None]
    assert folders[0] == folders[1] == folders[2] != folders[3]


def test_the_key_of_the_matching_holds_what_it_reads() -> None:
    settings = settings_of(build(Config, SMALL), ctrl.READS)
    assert {"method.temperature", "method.rows", "text.layers", "pretrain.epochs", "dim", "seed"} <= settings.keys()
    unread = {"backbone.blocks", "fit.dropout", "fit.epochs", "method.weight", "method.joint", "data.mask_seen"}
    unread |= {"data.eval_rows", "data.split_seed", "data.held_out_rows"}
    assert unread <= flatten(build(Config, SMALL)).keys()
    assert not unread & settings.keys()
