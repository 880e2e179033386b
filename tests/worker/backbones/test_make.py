"""The backbone that a config names: its class, its settings and what training reads from a batch."""

from typing import get_args

import pytest
import torch

from trainables.backbones import config
from trainables.backbones.caser import Caser
from trainables.backbones.gru4rec import GRU4Rec
from trainables.backbones.make import make_backbone
from trainables.data.batches import Batch

BATCH = Batch(torch.tensor([[0, 1, 2], [0, 0, 3]]), torch.tensor([4, 5]), torch.tensor([0, 1]))


@pytest.mark.parametrize("settings", [settings() for settings in get_args(config.Backbone)])
def test_every_backbone_reads_a_batch_into_a_state_for_each_of_its_examples(settings: config.Backbone) -> None:
    backbone, read = make_backbone(
        settings, dim=8, max_history=3, dropout=0.0, generator=torch.Generator().manual_seed(0)
    )
    examples = read(BATCH, torch.Generator().manual_seed(0))
    states_NW = examples.encoder(torch.randn(*examples.sequence_BL.shape, 8))
    assert states_NW.shape == (len(examples.target_N), 8)
    assert backbone.last(torch.randn(2, 3, 8), BATCH.history_BL != 0).shape == (2, 8)


def test_settings_of_a_gru_reach_it() -> None:
    settings = config.GRU4Rec(layers=3, hidden=5, final_norm=True)
    made, _ = make_backbone(settings, dim=8, max_history=3, dropout=0.25, generator=torch.Generator())
    assert isinstance(made, GRU4Rec)
    assert [layer.hidden_size for layer in made.layers] == [5, 5, 5]
    assert made.dense.in_features == 5
    assert isinstance(made.norm, torch.nn.LayerNorm)
    assert made.dropout.rate == 0.25
    bare, _ = make_backbone(config.GRU4Rec(dense=False), dim=8, max_history=3, dropout=0.0, generator=torch.Generator())
    assert isinstance(bare, GRU4Rec)
    assert isinstance(bare.dense, torch.nn.Identity)


def test_settings_of_caser_reach_it() -> None:
    settings = config.Caser(filters_horizontal=3, filters_vertical=5, heights=(1, 3), final_relu=False, final_norm=True)
    made, _ = make_backbone(settings, dim=8, max_history=3, dropout=0.25, generator=torch.Generator())
    assert isinstance(made, Caser)
    assert made.height_F == [3, 3, 3, 1, 1, 1]
    assert made.vertical_CL.shape == (5, 3)
    assert not made.final_relu
    assert isinstance(made.norm, torch.nn.LayerNorm)
    assert made.dropout.rate == 0.25


def test_a_width_of_the_gru_without_the_layer_that_changes_it_back_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"backbone.hidden needs backbone.dense, but got hidden 64 and dense false; set"
    ):
        config.GRU4Rec(hidden=64, dense=False)
