"""BERT4Rec: against torch's own encoder, and what masks, padding and reading only the masked positions must not do."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.worker.histories import DIM, LENGTH, ROWS, shaken
from trainables.backbones.bert4rec import BERT4Rec, Block


def backbone(heads: int = 1, dropout: float = 0.0, blocks: int = 2) -> BERT4Rec:
    """A backbone for histories of 5, sequences of 6."""
    generator = torch.Generator().manual_seed(0)
    made = BERT4Rec(DIM, LENGTH - 1, blocks=blocks, heads=heads, dropout=dropout, generator=generator)
    return shaken(made, generator)


def sequences() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors, masks and masked positions of rows that hold 1 to 6 items, left-padded; one to three masks a row."""
    vectors_BLD = torch.randn(ROWS, LENGTH, DIM, generator=torch.Generator().manual_seed(1))
    held_B = torch.tensor([1, 2, 3, 4, 5, 6, 6])
    mask_BL = torch.arange(LENGTH) >= LENGTH - held_B[:, None]
    masked_BL = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    for row, positions in enumerate([[5], [4], [3, 5], [2, 4], [5], [0, 3, 4], [1]]):
        masked_BL[row, positions] = True
    return vectors_BLD, mask_BL, masked_BL


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_equals_torchs_post_norm_encoder_with_the_same_weights(heads: int) -> None:
    ours = backbone(heads).eval()
    layers = []
    for block in ours.blocks:
        assert isinstance(block, Block)
        layer: Any = nn.TransformerEncoderLayer(DIM, heads, 4 * DIM, dropout=0.0, activation="gelu", batch_first=True)
        with torch.no_grad():
            layer.self_attn.in_proj_weight.copy_(torch.cat([block.query.weight, block.key_value.weight]))
            layer.self_attn.in_proj_bias.copy_(torch.cat([block.query.bias, block.key_value.bias]))
        layer.self_attn.out_proj, layer.linear1, layer.linear2 = block.out, block.inner, block.outer
        layer.norm1, layer.norm2 = block.norm_attention, block.norm_feed
        layers.append(layer.train())
    vectors_BLD, mask_BL, masked_BL = sequences()

    def expected(given_BLD: torch.Tensor) -> torch.Tensor:
        x_BLD = ours.norm(given_BLD + ours.position_LD)
        for layer in layers:
            x_BLD = layer(x_BLD, src_key_padding_mask=~mask_BL)
        return ours.head(x_BLD)

    states_BLD = ours(vectors_BLD, mask_BL)
    torch.testing.assert_close(states_BLD[mask_BL], expected(vectors_BLD)[mask_BL], atol=2e-5, rtol=1e-5)
    given_BLD = vectors_BLD.clone()
    given_BLD[masked_BL] = ours.mask_D.detach()
    states_MD = ours.masked(vectors_BLD, mask_BL, masked_BL)
    torch.testing.assert_close(states_MD, expected(given_BLD)[masked_BL], atol=2e-5, rtol=1e-5)


def test_parameters_at_width_128_and_history_10() -> None:
    model = BERT4Rec(128, 10, generator=torch.Generator().manual_seed(0))
    attention, feed, norm = 4 * (128 * 128 + 128), 2 * 128 * 512 + 512 + 128, 2 * 128
    count = (11 + 1) * 128 + norm + 2 * (attention + feed + 2 * norm) + (128 * 128 + 128 + norm)
    assert sum(parameter.numel() for parameter in model.parameters()) == count == 415_104


@given(seed=st.integers(0, 1000), size=st.sampled_from([1e-3, 1.0, 1e6, math.inf]))
@settings(max_examples=30)
def test_what_stands_at_a_mask_or_at_padding_changes_no_state_bit_for_bit(seed: int, size: float) -> None:
    model, (vectors_BLD, mask_BL, masked_BL) = backbone(2), sequences()
    noise_BLD = size * torch.randn(vectors_BLD.shape, generator=torch.Generator().manual_seed(seed))
    seen_BL = mask_BL & ~masked_BL
    garbage_BLD = torch.where(seen_BL[:, :, None], vectors_BLD, noise_BLD)
    assert torch.equal(model.masked(garbage_BLD, mask_BL, masked_BL), model.masked(vectors_BLD, mask_BL, masked_BL))
    padding_BLD = torch.where(mask_BL[:, :, None], vectors_BLD, noise_BLD)
    assert torch.equal(model(padding_BLD, mask_BL), model(vectors_BLD, mask_BL))
    assert torch.equal(model.last(padding_BLD[:, 1:], mask_BL[:, 1:]), model.last(vectors_BLD[:, 1:], mask_BL[:, 1:]))


def test_vectors_at_masks_and_padding_get_no_gradient_and_all_others_do() -> None:
    model, (vectors_BLD, mask_BL, masked_BL) = backbone(), sequences()
    vectors_BLD.requires_grad_()
    (model.masked(vectors_BLD, mask_BL, masked_BL) * torch.arange(DIM)).sum().backward()
    assert vectors_BLD.grad is not None
    assert torch.equal(vectors_BLD.grad.abs().amax(dim=2) > 0, mask_BL & ~masked_BL)


def test_left_padding_changes_no_state() -> None:
    model, (vectors_BLD, mask_BL, _) = backbone(2), sequences()
    long_BLD = model(vectors_BLD, mask_BL)
    for row, held in enumerate(mask_BL.sum(dim=1).tolist()):
        short_BLD = model(vectors_BLD[row : row + 1, -held:], mask_BL[row : row + 1, -held:])
        torch.testing.assert_close(short_BLD[0], long_BLD[row, -held:], atol=1e-5, rtol=1e-5)


def test_states_at_padding_are_zero() -> None:
    vectors_BLD, mask_BL, _ = sequences()
    assert not backbone()(vectors_BLD, mask_BL)[~mask_BL].any()


def test_any_item_changes_every_state_of_its_row_and_of_no_other() -> None:
    model, (vectors_BLD, _, _) = backbone(), sequences()
    mask_BL = torch.ones(ROWS, LENGTH, dtype=torch.bool)
    before_BLD = model(vectors_BLD, mask_BL)
    for position in range(LENGTH):
        changed_BLD = vectors_BLD.clone()
        changed_BLD[2, position] += torch.randn(DIM, generator=torch.Generator().manual_seed(position))
        moved_BL = (model(changed_BLD, mask_BL) - before_BLD).abs().amax(dim=2) > 1e-5
        assert moved_BL[2].all()
        assert moved_BL.sum() == LENGTH


@pytest.mark.parametrize("heads", [1, 2])
def test_last_reads_a_mask_appended_after_the_newest_item(heads: int) -> None:
    model, (vectors_BLD, mask_BL, _) = backbone(heads), sequences()
    history_BLD, held_BL = vectors_BLD[:, 1:], mask_BL[:, 1:]
    appended_BLD = torch.cat([history_BLD, torch.full((ROWS, 1, DIM), 7.0)], dim=1)
    grown_BL = torch.cat([held_BL, torch.ones(ROWS, 1, dtype=torch.bool)], dim=1)
    masked_BL = (torch.arange(LENGTH) == LENGTH - 1).expand(ROWS, LENGTH)
    assert torch.equal(model.last(history_BLD, held_BL), model.masked(appended_BLD, grown_BL, masked_BL))


@pytest.mark.parametrize(("heads", "blocks"), [(1, 2), (3, 2), (2, 1)])
def test_masked_equals_those_states_of_all_and_so_do_its_gradients(heads: int, blocks: int) -> None:
    vectors_BLD, mask_BL, masked_BL = sequences()
    gradients = []
    for whole in (True, False):
        model, x_BLD = backbone(heads, blocks=blocks), vectors_BLD.clone().requires_grad_()
        if whole:
            given_BLD = torch.where(masked_BL[:, :, None], model.mask_D, x_BLD)
            states_MD = model(given_BLD, mask_BL)[masked_BL]
        else:
            states_MD = model.masked(x_BLD, mask_BL, masked_BL)
        (states_MD * torch.arange(DIM)).sum().backward()
        gradients.append((states_MD, x_BLD.grad, *(parameter.grad for parameter in model.parameters())))
    for all_states, read_states in zip(*gradients, strict=True):
        torch.testing.assert_close(read_states, all_states, atol=2e-4, rtol=1e-4)


def test_an_empty_history_has_a_state() -> None:
    states_BD = backbone().last(torch.zeros(2, LENGTH - 1, DIM), torch.zeros(2, LENGTH - 1, dtype=torch.bool))
    assert torch.isfinite(states_BD).all()
    assert states_BD.shape == (2, DIM)


def test_gradients_reach_every_parameter() -> None:
    model, (vectors_BLD, mask_BL, masked_BL) = backbone(2, dropout=0.1), sequences()
    (model.masked(vectors_BLD, mask_BL, masked_BL) * torch.arange(1, DIM + 1)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if "key_value.bias" in name:  # the key's half adds the same to every score of a query
            assert parameter.grad[DIM:].all(), name
        else:
            assert parameter.grad.flatten(1).any(dim=1).all() if parameter.dim() > 1 else parameter.grad.all(), name


def test_dropout_acts_in_training_only() -> None:
    model, (vectors_BLD, mask_BL, masked_BL) = backbone(dropout=0.5), sequences()

    def read() -> torch.Tensor:
        return model.masked(vectors_BLD, mask_BL, masked_BL)

    assert not torch.equal(read(), read())
    model.eval()
    assert torch.equal(read(), read())


def test_states_start_as_long_as_a_layer_norm_leaves_them() -> None:
    model = BERT4Rec(64, LENGTH, generator=torch.Generator().manual_seed(0))
    states_BD = model.last(torch.randn(5, LENGTH, 64), torch.ones(5, LENGTH, dtype=torch.bool))
    torch.testing.assert_close(states_BD.norm(dim=1), torch.full((5,), 8.0), atol=0.05, rtol=0)


def test_initial_weights_follow_the_generator_alone() -> None:
    def made(seed: int) -> BERT4Rec:
        return BERT4Rec(64, 10, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = (list(made(seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    drawn = [(a, b) for a, b in zip(first, other, strict=True) if a.std() > 0]
    assert len(drawn) == 2 + 2 * 5 + 1
    assert not any(torch.equal(a, b) for a, b in drawn)
    assert made(0).blocks[1].outer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert made(0).mask_D.std().item() == pytest.approx(0.02, rel=0.3)
