"""HSTU: against a loop over positions and heads; what all causal backbones must do is in test_backbones.py."""

import math

import pytest
import torch
from torch.nn import functional

from tests.worker.histories import DIM, LENGTH, ROWS, histories, shaken
from trainables.backbones.hstu import HSTU, Block


def backbone(
    heads: int = 1,
    dropout: float = 0.0,
    scale: bool = True,
    final_norm: bool = True,
    blocks: int = 2,
) -> HSTU:
    generator = torch.Generator().manual_seed(0)
    made = HSTU(
        DIM,
        LENGTH,
        blocks=blocks,
        heads=heads,
        scale=scale,
        final_norm=final_norm,
        dropout=dropout,
        generator=generator,
    )
    return shaken(made, generator)


def normed(x_D: torch.Tensor) -> torch.Tensor:
    return (x_D - x_D.mean()) / (x_D.var(unbiased=False) + 1e-6).sqrt()


def one_block_by_loops(block: Block, x_TD: torch.Tensor, heads: int) -> torch.Tensor:
    """The T items of one history after a block: one query, one head and one key at a time."""
    width = DIM // heads
    w_u, w_q = block.gate_query.chunk(2)
    w_v, w_k = block.value_key.chunk(2)
    after = []
    for i in range(len(x_TD)):
        u_D, q_D = (functional.silu(w @ normed(x_TD[i])) for w in (w_u, w_q))
        context_D = torch.zeros(DIM)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for j in range(i + 1):
                v_D, k_D = (functional.silu(w @ normed(x_TD[j])) for w in (w_v, w_k))
                weight = functional.silu(q_D[part] @ k_D[part] + block.distance_L[i - j]) / LENGTH
                context_D[part] = context_D[part] + weight * v_D[part]
        after.append(x_TD[i] + block.out.weight @ (u_D * normed(context_D)) + block.out.bias)
    return torch.stack(after)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("final_norm", [True, False])
def test_equals_the_layer_written_as_loops(heads: int, final_norm: bool) -> None:
    model, (vectors_BLD, mask_BL) = backbone(heads, final_norm=final_norm), histories()
    with torch.no_grad():
        states_BLD = model(vectors_BLD, mask_BL)
        for row in range(ROWS):
            held_L = mask_BL[row]
            x_TD = vectors_BLD[row, held_L] * math.sqrt(DIM) + model.position_LD[held_L]
            for block in model.blocks:
                assert isinstance(block, Block)
                x_TD = one_block_by_loops(block, x_TD, heads)
            expected_TD = model.norm(x_TD)
            torch.testing.assert_close(states_BLD[row, held_L], expected_TD, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("final_norm", "count"), [(True, 165_652), (False, 165_396)])
def test_parameters_at_width_128_and_history_10(final_norm: bool, count: int) -> None:
    model = HSTU(128, 10, final_norm=final_norm, generator=torch.Generator().manual_seed(0))
    block = 4 * 128 * 128 + 128 * 128 + 128 + 10  # u, v, q, k without bias; output; one number a distance
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert count == 10 * 128 + 2 * block + (2 * 128 if final_norm else 0)


def test_without_scale_the_input_is_the_plain_vectors() -> None:
    vectors_BLD, mask_BL = histories()
    scaled = backbone(scale=True)(vectors_BLD / math.sqrt(DIM), mask_BL)
    torch.testing.assert_close(backbone(scale=False)(vectors_BLD, mask_BL), scaled, atol=1e-5, rtol=1e-5)


def test_states_start_as_long_as_a_layer_norm_leaves_them() -> None:
    model = HSTU(64, LENGTH, generator=torch.Generator().manual_seed(0))
    states_BD = model.last(0.02 * torch.randn(5, LENGTH, 64), torch.ones(5, LENGTH, dtype=torch.bool))
    torch.testing.assert_close(states_BD.norm(dim=1), torch.full((5,), 8.0), atol=0.01, rtol=0)


def test_initial_weights_follow_the_generator_alone() -> None:
    def made(seed: int) -> HSTU:
        return HSTU(64, 10, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = (list(made(seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    drawn = [(a, b) for a, b in zip(first, other, strict=True) if a.std() > 0]
    assert len(drawn) == 1 + 2 * 4
    assert not any(torch.equal(a, b) for a, b in drawn)
    assert made(0).blocks[1].value_key.std().item() == pytest.approx(0.02, rel=0.1)
    assert made(0).position_LD.std().item() == pytest.approx(0.125, rel=0.1)
