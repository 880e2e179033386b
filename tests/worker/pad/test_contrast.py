"""In-batch InfoNCE against a loop over examples."""

import math

import pytest
import torch

from trainables.pad.contrast import info_nce


def sample(seed: int) -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("items", [None, [3, 1, 3, 2, 2, 3]])
def test_equals_a_loop_over_examples(items: list[int] | None) -> None:
    source, target = sample(0), sample(1)
    expected = 0.0
    for n in range(6):
        cosine = [float(source[n] @ row / source[n].norm() / row.norm()) for row in target]
        others = [m for m in range(6) if m != n and (items is None or items[m] != items[n])]
        weights = [math.exp(cosine[m] / 0.3) for m in (n, *others)]
        expected -= math.log(weights[0] / sum(weights)) / 6
    item_N = None if items is None else torch.tensor(items)
    assert info_nce(source, target, temperature=0.3, item_N=item_N).item() == pytest.approx(expected)


def test_own_partners_far_above_all_others_cost_nothing_and_length_plays_no_part() -> None:
    axes = torch.eye(4, dtype=torch.float64)
    assert info_nce(axes, 5 * axes, temperature=0.01).item() == pytest.approx(0, abs=1e-12)
    assert info_nce(axes, axes.flip(0), temperature=0.01).item() == pytest.approx(100)


def test_rows_of_one_item_only_are_told_apart_from_nothing() -> None:
    assert info_nce(sample(0), sample(1), item_N=torch.ones(6, dtype=torch.int64)).item() == 0


def test_gradients_reach_both_sides_or_the_one_that_is_not_detached() -> None:
    text, ids = sample(0).requires_grad_(), sample(1).requires_grad_()
    info_nce(text, ids.detach()).backward()
    assert ids.grad is None
    assert text.grad is not None
    assert text.grad.abs().max() > 0
    info_nce(text, ids).backward()
    assert ids.grad is not None
    assert ids.grad.abs().max() > 0


def test_unpaired_rows_and_a_temperature_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pairs vectors row by row, but got shapes \(6, 4\) and \(5, 4\)"):
        info_nce(sample(0), sample(1)[:5])
    with pytest.raises(ValueError, match=r"a temperature must be positive, but got 0"):
        info_nce(sample(0), sample(1), temperature=0)
