"""SASRec: against torch's own encoder, and the three things that its shortcuts must not change."""

import math

import pytest
import torch
from torch import nn

from trainables.backbones.sasrec import SASRec
from trainables.seqrec.items import IdItems

DIM, LENGTH, ROWS = 12, 6, 7


def backbone(heads: int = 1, dropout: float = 0.0, scale: bool = True, blocks: int = 2, seed: int = 0) -> SASRec:
    generator = torch.Generator().manual_seed(seed)
    made = SASRec(DIM, LENGTH, blocks=blocks, heads=heads, scale=scale, dropout=dropout, generator=generator)
    with torch.no_grad():  # far from the small initial weights, so that every part shows
        for parameter in made.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(std=0.3, generator=generator))
    return made


def histories(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and masks of rows that hold 1 to 6 items, left-padded."""
    vectors_BLD = torch.randn(ROWS, LENGTH, DIM, generator=torch.Generator().manual_seed(seed))
    held_B = torch.tensor([1, 2, 3, 4, 5, 6, 6])
    return vectors_BLD, torch.arange(LENGTH) >= LENGTH - held_B[:, None]


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
        layer = nn.TransformerEncoderLayer(DIM, heads, DIM, dropout=0.0, batch_first=True, norm_first=True)
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


def test_without_scale_the_input_is_the_plain_vectors() -> None:
    vectors_BLD, mask_BL = histories()
    scaled = backbone(scale=True)(vectors_BLD / math.sqrt(DIM), mask_BL)
    torch.testing.assert_close(backbone(scale=False)(vectors_BLD, mask_BL), scaled, atol=1e-5, rtol=1e-5)


def test_what_stands_at_padding_changes_no_state_bit_for_bit() -> None:
    model, (vectors_BLD, mask_BL) = backbone(2), histories()
    garbage_BLD = torch.where(mask_BL[:, :, None], vectors_BLD, 1e6)
    assert torch.equal(model(garbage_BLD, mask_BL), model(vectors_BLD, mask_BL))
    assert torch.equal(model.last(garbage_BLD, mask_BL), model.last(vectors_BLD, mask_BL))


def test_left_padding_changes_no_state() -> None:
    model, (vectors_BLD, mask_BL) = backbone(2), histories()
    long_BLD = model(vectors_BLD, mask_BL)
    for row, held in enumerate(mask_BL.sum(dim=1).tolist()):
        short_BLD = model(vectors_BLD[row : row + 1, -held:], mask_BL[row : row + 1, -held:])
        torch.testing.assert_close(short_BLD[0], long_BLD[row, -held:], atol=1e-5, rtol=1e-5)


def test_states_at_padding_are_zero() -> None:
    vectors_BLD, mask_BL = histories()
    assert not backbone()(vectors_BLD, mask_BL)[~mask_BL].any()


def test_a_later_item_changes_no_earlier_state() -> None:
    model, (vectors_BLD, _) = backbone(), histories()
    mask_BL = torch.ones(ROWS, LENGTH, dtype=torch.bool)
    before_BLD = model(vectors_BLD, mask_BL)
    for position in range(LENGTH):
        changed_BLD = vectors_BLD.clone()
        changed_BLD[:, position] += torch.randn(DIM, generator=torch.Generator().manual_seed(position))
        moved_BL = (model(changed_BLD, mask_BL) - before_BLD).abs().amax(dim=2) > 1e-4
        assert not moved_BL[:, :position].any()
        assert moved_BL[:, position].all()


@pytest.mark.parametrize(("heads", "blocks"), [(1, 2), (3, 2), (2, 1)])
def test_last_equals_the_last_state_of_all_and_so_do_its_gradients(heads: int, blocks: int) -> None:
    vectors_BLD, mask_BL = histories()
    gradients = []
    for read in (lambda model, x: model(x, mask_BL)[:, -1], lambda model, x: model.last(x, mask_BL)):
        model, x_BLD = backbone(heads, blocks=blocks), vectors_BLD.clone().requires_grad_()
        states_BD = read(model, x_BLD)
        (states_BD * torch.arange(DIM)).sum().backward()
        gradients.append((states_BD, x_BLD.grad, *(parameter.grad for parameter in model.parameters())))
    for whole, short in zip(*gradients, strict=True):
        torch.testing.assert_close(short, whole, atol=2e-4, rtol=1e-4)


def test_the_last_position_counts_as_held_even_in_an_empty_history() -> None:
    states_BD = backbone().last(torch.zeros(2, LENGTH, DIM), torch.zeros(2, LENGTH, dtype=torch.bool))
    assert torch.isfinite(states_BD).all()


def test_dropout_acts_in_training_only() -> None:
    model, (vectors_BLD, mask_BL) = backbone(dropout=0.5), histories()
    assert not torch.equal(model.last(vectors_BLD, mask_BL), model.last(vectors_BLD, mask_BL))
    model.eval()
    assert torch.equal(model.last(vectors_BLD, mask_BL), model.last(vectors_BLD, mask_BL))


def test_initial_weights_are_small_and_follow_the_generator_alone() -> None:
    def made(seed: int) -> SASRec:
        return SASRec(64, 10, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = made(0), made(0), made(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.blocks[0].project.weight, again.blocks[0].project.weight)
    assert not torch.equal(first.blocks[0].project.weight, other.blocks[0].project.weight)
    assert first.blocks[1].outer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not first.blocks[0].project.bias.any()
