"""Caser: against every window convolved by itself; what all causal backbones must do is in test_backbones.py."""

import pytest
import torch
from torch.nn import functional

from tests.worker.histories import DIM, LENGTH, histories, shaken
from trainables.backbones.caser import Caser


def backbone(
    heights: tuple[int, ...] | None = None,
    horizontal: int = 2,
    vertical: int = 2,
    final_relu: bool = True,
    final_norm: bool = False,
    dropout: float = 0.0,
) -> Caser:
    generator = torch.Generator().manual_seed(0)
    made = Caser(
        DIM,
        LENGTH,
        filters_horizontal=horizontal,
        filters_vertical=vertical,
        heights=heights,
        final_relu=final_relu,
        final_norm=final_norm,
        dropout=dropout,
        generator=generator,
    )
    return shaken(made, generator)


def filters_of(model: Caser) -> list[torch.Tensor]:
    """Each horizontal filter, (height, DIM), its oldest row first, as a convolution reads a window."""
    rows_at_age = model.horizontal_GD.split(model.rows_at_age)
    return [
        torch.stack([rows_at_age[age][number] for age in reversed(range(height))])
        for number, height in enumerate(model.height_F)
    ]


def state_by_convolutions(model: Caser, window_LD: torch.Tensor) -> torch.Tensor:
    """The state after one window of LENGTH positions, zeros where nothing stands (Tang and Wang, eq. 3 to 9)."""
    image_11LD = window_LD[None, None]
    answers = []
    for number, weight_HD in enumerate(filters_of(model)):
        slid_11P1 = functional.conv2d(image_11LD, weight_HD[None, None], model.bias_F[number : number + 1])
        answers.append(functional.relu(slid_11P1).amax())
    sums = [
        functional.conv2d(image_11LD, weight_L[None, None, :, None], model.bias_C[number : number + 1]).flatten()
        for number, weight_L in enumerate(model.vertical_CL)
    ]
    state_D = model.dense(torch.cat([torch.stack(answers), *sums]))
    return model.norm(functional.relu(state_D) if model.final_relu else state_D)


@pytest.mark.parametrize(
    ("heights", "horizontal", "vertical", "final_relu", "final_norm"),
    [
        (None, 2, 2, True, False),
        (None, 3, 1, False, True),
        ((2, 3, 4), 2, 4, False, False),
        ((1,), 1, 1, True, False),
        ((6, 2), 3, 2, True, True),
    ],
)
def test_equals_every_window_convolved_by_itself(
    heights: tuple[int, ...] | None, horizontal: int, vertical: int, final_relu: bool, final_norm: bool
) -> None:
    model = backbone(heights, horizontal, vertical, final_relu, final_norm)
    vectors_BLD, mask_BL = histories()
    with torch.no_grad():
        states_BLD = model(vectors_BLD, mask_BL)
        for row, held in enumerate(mask_BL.sum(dim=1).tolist()):
            for end in range(LENGTH - held, LENGTH):
                window_LD = torch.zeros(LENGTH, DIM)
                items_TD = vectors_BLD[row, LENGTH - held : end + 1]
                window_LD[LENGTH - len(items_TD) :] = items_TD
                expected_D = state_by_convolutions(model, window_LD)
                torch.testing.assert_close(states_BLD[row, end], expected_D, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("horizontal", "vertical", "heights", "count"),
    [(2, 2, None, 91_858), (16, 4, None, 537_108), (16, 1, (2, 3, 4), 41_157)],
    ids=["PAD's filters", "the original's", "DROS's"],
)
def test_parameters_at_width_128_and_history_20(
    horizontal: int, vertical: int, heights: tuple[int, ...] | None, count: int
) -> None:
    model = Caser(
        128,
        20,
        filters_horizontal=horizontal,
        filters_vertical=vertical,
        heights=heights,
        generator=torch.Generator().manual_seed(0),
    )
    tall = heights or range(1, 21)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert count == (
        horizontal * sum(height * 128 + 1 for height in tall)
        + vertical * (20 + 1)
        + (horizontal * len(tall) + vertical * 128 + 1) * 128
    )


@pytest.mark.parametrize(("heights", "shown"), [((7, 2), r"\[7, 2\]"), ((), r"\[\]"), ((0, 1), r"\[0, 1\]")])
def test_heights_outside_the_window_are_refused(heights: tuple[int, ...], shown: str) -> None:
    with pytest.raises(
        ValueError, match=rf"heights must lie in 1..max_history.*but got {shown} and max_history 6; leave"
    ):
        backbone(heights)


def test_heights_count_once_and_in_any_order() -> None:
    vectors_BLD, mask_BL = histories()
    assert torch.equal(backbone((4, 2, 3, 2))(vectors_BLD, mask_BL), backbone((2, 3, 4))(vectors_BLD, mask_BL))


@pytest.mark.parametrize("heights", [None, (2, 3), (1,)])
def test_gradients_equal_those_of_every_window_convolved_by_itself(heights: tuple[int, ...] | None) -> None:
    x_LD = torch.randn(LENGTH, DIM, generator=torch.Generator().manual_seed(3))
    weight_LD = torch.randn(LENGTH, DIM, generator=torch.Generator().manual_seed(4))

    def by_convolutions(model: Caser, x_LD: torch.Tensor) -> torch.Tensor:
        padded_LD = functional.pad(x_LD, (0, 0, LENGTH - 1, 0))
        return torch.stack([state_by_convolutions(model, padded_LD[end : end + LENGTH]) for end in range(LENGTH)])

    gradients = []
    for read in (by_convolutions, lambda model, x: model(x[None], torch.ones(1, LENGTH, dtype=torch.bool))[0]):
        model, leaf_LD = backbone(heights), x_LD.clone().requires_grad_()
        (read(model, leaf_LD) * weight_LD).sum().backward()
        gradients.append((leaf_LD.grad, *(parameter.grad for parameter in model.parameters())))
    for apart, together in zip(*gradients, strict=True):
        torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_without_the_final_relu_states_have_both_signs() -> None:
    vectors_BLD, mask_BL = histories()
    plain, bent = (backbone(final_relu=relu).last(vectors_BLD, mask_BL) for relu in (False, True))
    assert (plain < 0).any()
    assert torch.equal(bent, functional.relu(plain))


def test_initial_weights_follow_the_generator_alone_and_are_as_wide_as_torchs() -> None:
    def made(seed: int) -> Caser:
        return Caser(64, 10, filters_horizontal=40, filters_vertical=40, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, again, other = (list(made(seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    drawn = [(a, b) for a, b in zip(first, other, strict=True) if a.dim() > 1]
    assert len(drawn) == 3
    assert not any(torch.equal(a, b) for a, b in drawn)
    ours = made(0)
    for height, filters in ((1, filters_of(ours)[-40:]), (10, filters_of(ours)[:40])):
        theirs = torch.nn.Conv2d(1, 40, (height, 64)).weight
        assert torch.stack(filters).std().item() == pytest.approx(theirs.std().item(), rel=0.1)
    assert ours.vertical_CL.std().item() == pytest.approx((1 / 30) ** 0.5, rel=0.1)
    assert ours.dense.weight.std().item() == pytest.approx((1 / (3 * (400 + 40 * 64))) ** 0.5, rel=0.1)
