"""SASRec: against torch's own encoder; what all causal backbones must do is in test_backbones.py."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.worker.histories import DIM, LENGTH, histories, shaken
from trainables.backbones.sasrec import Block, SASRec
from trainables.seqrec.items import IdItems


def backbone(heads: int = 1, dropout: float = 0.0, scale: bool = True, blocks: int = 2, seed: int = 0) -> SASRec:
    generator = torch.Generator().manual_seed(seed)
    made = SASRec(DIM, LENGTH, blocks=blocks, heads=heads, scale=scale, dropout=dropout, generator=generator)
    return shaken(made, generator)


def test_has_the_parameters_of_a_canonical_two_block_sasrec_on_toy() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.ModuleList([IdItems(11_757 + 1, 128, generator=generator), SASRec(128, 10, generator=generator)])
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_705_728
    assert round(1_705_728 / 1e6, 3) == 1.706


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_equals_torchs_pre_norm_encoder_with_the_same_weights(heads: int) -> None:
    ours = backbone(heads).eval()
    layers = []
    for block in ours.blocks:
        assert isinstance(block, Block)
        layer: Any = nn.TransformerEncoderLayer(DIM, heads, DIM, dropout=0.0, batch_first=True, norm_first=True)
        layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = block.project.weight, block.project.bias
        layer.self_attn.out_proj, layer.linear1, layer.linear2 = block.out, block.inner, block.outer
        layer.norm1, layer.norm2 = block.norm_attention, block.norm_feed
        layers.append(layer.train())  # torch's fast path for evaluation takes no other norm order
    vectors_BLD, mask_BL = histories()
    x_BLD = vectors_BLD * math.sqrt(DIM) + ours.position_LD
    causal_LL = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    hidden_SLL = causal_LL | ~mask_BL[:, None, :]
    hidden_SLL = (hidden_SLL & ~torch.eye(LENGTH, dtype=torch.bool)).repeat_interleave(heads, dim=0)
    for layer in layers:
        x_BLD = layer(x_BLD, src_mask=hidden_SLL)
    expected_BLD = ours.norm(x_BLD)
    torch.testing.assert_close(ours(vectors_BLD, mask_BL)[mask_BL], expected_BLD[mask_BL], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_in_one_kernel_as_on_a_gpu_is_attention_in_groups(
    heads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors_BLD, mask_BL = histories()
    found = []
    for attend in (Block._in_groups, Block._at_once):
        monkeypatch.setattr(Block, "_in_groups", attend)
        ours = backbone(heads)
        state_BLD = ours(vectors_BLD, mask_BL)
        (state_BLD.square().sum() + ours.last(vectors_BLD, mask_BL).sum()).backward()
        found.append([state_BLD.detach(), *(parameter.grad for parameter in ours.parameters())])
    assert all(part is not None and part.isfinite().all() for part in found[1])
    torch.testing.assert_close(found[1], found[0], atol=2e-4, rtol=1e-4)


def test_without_scale_the_input_is_the_plain_vectors() -> None:
    vectors_BLD, mask_BL = histories()
    scaled = backbone(scale=True)(vectors_BLD / math.sqrt(DIM), mask_BL)
    torch.testing.assert_close(backbone(scale=False)(vectors_BLD, mask_BL), scaled, atol=1e-5, rtol=1e-5)


def test_initial_weights_are_small_and_follow_the_generator_alone() -> None:
    def made(seed: int) -> SASRec:
        return SASRec(64, 10, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = made(0), made(0), made(1)
    assert torch.equal(torch.get_rng_state(), before)
    drawn, redrawn, otherwise = (model.get_parameter("blocks.0.project.weight") for model in (first, again, other))
    assert torch.equal(drawn, redrawn)
    assert not torch.equal(drawn, otherwise)
    assert first.blocks[1].outer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not first.blocks[0].project.bias.any()
