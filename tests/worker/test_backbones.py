"""Rules for every causal backbone: see no padding and nothing later, and read one position as all."""

import math
from collections.abc import Callable, Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.histories import DIM, LENGTH, ROWS, histories, shaken
from trainables.backbones.caser import Caser
from trainables.backbones.gru4rec import GRU4Rec
from trainables.backbones.hstu import HSTU
from trainables.backbones.sasrec import SASRec

Backbone = SASRec | HSTU | GRU4Rec | Caser
Make = Callable[[float, torch.Generator], Backbone]

MADE: dict[str, Make] = {
    "sasrec": lambda rate, generator: SASRec(DIM, LENGTH, heads=2, dropout=rate, generator=generator),
    "sasrec of 3 heads": lambda rate, generator: SASRec(DIM, LENGTH, heads=3, dropout=rate, generator=generator),
    "sasrec of 1 block": lambda rate, generator: SASRec(
        DIM, LENGTH, heads=2, blocks=1, dropout=rate, generator=generator
    ),
    "hstu": lambda rate, generator: HSTU(DIM, LENGTH, heads=2, dropout=rate, generator=generator),
    "hstu of 1 head": lambda rate, generator: HSTU(DIM, LENGTH, heads=1, dropout=rate, generator=generator),
    "hstu of 1 block": lambda rate, generator: HSTU(DIM, LENGTH, heads=2, blocks=1, dropout=rate, generator=generator),
    "gru4rec": lambda rate, generator: GRU4Rec(DIM, layers=2, dropout=rate, generator=generator),
    "gru4rec without a dense layer": lambda rate, generator: GRU4Rec(
        DIM, dense=False, dropout=rate, generator=generator
    ),
    "gru4rec with a norm": lambda rate, generator: GRU4Rec(DIM, final_norm=True, dropout=rate, generator=generator),
    "caser": lambda rate, generator: caser(None, rate, generator),
    "caser of height 1": lambda rate, generator: caser((1,), rate, generator),
    "caser of heights 2, 3, 4": lambda rate, generator: caser((2, 3, 4), rate, generator),
    "caser of the whole window": lambda rate, generator: caser((6,), rate, generator),
    "caser with a norm": lambda rate, generator: caser(None, rate, generator, final_norm=True),
}

each = pytest.mark.parametrize("name", MADE)
seeds = st.integers(0, 1000)


def caser(heights: Iterable[int] | None, rate: float, generator: torch.Generator, *, final_norm: bool = False) -> Caser:
    return Caser(
        DIM,
        LENGTH,
        filters_horizontal=2,
        filters_vertical=2,
        heights=tuple(heights) if heights else None,
        final_norm=final_norm,
        dropout=rate,
        generator=generator,
    )


def backbone(name: str, dropout: float = 0.0) -> Backbone:
    """Far from its small initial weights, so that every part shows."""
    generator = torch.Generator().manual_seed(0)
    made = MADE[name](dropout, generator)
    return shaken(made, generator)


@each
@given(seed=seeds, size=st.sampled_from([1e-3, 1.0, 1e6, math.inf]))
@settings(max_examples=10)
def test_what_stands_at_padding_changes_no_state_bit_for_bit(name: str, seed: int, size: float) -> None:
    model, (vectors_BLD, mask_BL) = backbone(name), histories()
    noise_BLD = size * torch.randn(vectors_BLD.shape, generator=torch.Generator().manual_seed(seed))
    garbage_BLD = torch.where(mask_BL[:, :, None], vectors_BLD, noise_BLD)
    assert torch.equal(model(garbage_BLD, mask_BL), model(vectors_BLD, mask_BL))
    assert torch.equal(model.last(garbage_BLD, mask_BL), model.last(vectors_BLD, mask_BL))


@each
@given(held=st.lists(st.integers(1, LENGTH), min_size=ROWS, max_size=ROWS))
@settings(max_examples=6)
def test_left_padding_and_the_other_rows_change_no_state(name: str, held: list[int]) -> None:
    model, (vectors_BLD, _) = backbone(name), histories()
    mask_BL = torch.arange(LENGTH) >= LENGTH - torch.tensor(held)[:, None]
    long_BLD, last_BD = model(vectors_BLD, mask_BL), model.last(vectors_BLD, mask_BL)
    for row, count in enumerate(held):
        alone_1TD, alone_1T = vectors_BLD[row : row + 1, -count:], torch.ones(1, count, dtype=torch.bool)
        torch.testing.assert_close(long_BLD[row, -count:], model(alone_1TD, alone_1T)[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(last_BD[row], model.last(alone_1TD, alone_1T)[0], atol=1e-5, rtol=1e-5)


@each
def test_states_at_padding_are_zero(name: str) -> None:
    vectors_BLD, mask_BL = histories()
    assert not backbone(name)(vectors_BLD, mask_BL)[~mask_BL].any()


@each
def test_a_later_item_changes_no_earlier_state_and_does_change_its_own(name: str) -> None:
    model, (vectors_BLD, _) = backbone(name), histories()
    mask_BL = torch.ones(ROWS, LENGTH, dtype=torch.bool)
    before_BLD = model(vectors_BLD, mask_BL)
    earlier = 1e-4 if name.startswith("sasrec") else 1e-6  # its kernels round by the values beside
    for position in range(LENGTH):
        changed_BLD = vectors_BLD.clone()
        changed_BLD[:, position] += torch.randn(DIM, generator=torch.Generator().manual_seed(position))
        moved_BL = (model(changed_BLD, mask_BL) - before_BLD).abs().amax(dim=2)
        assert not (moved_BL[:, :position] > earlier).any()
        assert (moved_BL[:, position] > 1e-4).all()
        if not name.startswith(("sasrec", "caser")):  # whose later states may weigh the change to nothing
            assert (moved_BL[:, position:] > (1e-5 if name.startswith("hstu") else 1e-6)).all()


@each
def test_last_equals_the_last_state_of_all_and_so_do_its_gradients(name: str) -> None:
    vectors_BLD, mask_BL = histories()
    gradients = []
    for read in (lambda model, x: model(x, mask_BL)[:, -1], lambda model, x: model.last(x, mask_BL)):
        model, x_BLD = backbone(name), vectors_BLD.clone().requires_grad_()
        states_BD = read(model, x_BLD)
        (states_BD * torch.arange(DIM)).sum().backward()
        gradients.append((states_BD, x_BLD.grad, *(parameter.grad for parameter in model.parameters())))
    for whole, short in zip(*gradients, strict=True):
        atol = 2e-4 if name.startswith(("sasrec", "hstu")) else 1e-4  # whose attention is added up in another order
        torch.testing.assert_close(short, whole, atol=atol, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in MADE if not name.startswith("sasrec")])
def test_gradients_reach_every_row_of_every_parameter(name: str) -> None:
    model, (_, mask_BL) = backbone(name, dropout=0.1), histories()
    vectors_BLD = torch.randn(10 * ROWS, LENGTH, DIM, generator=torch.Generator().manual_seed(2))
    (model(vectors_BLD, mask_BL.repeat(10, 1)) * torch.arange(1, DIM + 1)).sum().backward()
    for part, parameter in model.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.flatten(1).any(dim=1).all() if parameter.dim() > 1 else parameter.grad.all(), part


@each
def test_the_last_position_counts_as_held_even_in_an_empty_history(name: str) -> None:
    states_BD = backbone(name).last(torch.zeros(2, LENGTH, DIM), torch.zeros(2, LENGTH, dtype=torch.bool))
    assert torch.isfinite(states_BD).all()


@each
def test_dropout_acts_in_training_only(name: str) -> None:
    model, (vectors_BLD, mask_BL) = backbone(name, dropout=0.5), histories()
    assert not torch.equal(model.last(vectors_BLD, mask_BL), model.last(vectors_BLD, mask_BL))
    model.eval()
    assert torch.equal(model.last(vectors_BLD, mask_BL), model.last(vectors_BLD, mask_BL))
