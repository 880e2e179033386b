"""Layers: dropout's rate and scale, packing's exact inverse and gradients, the padding row."""

import pytest
import torch

from trainables.seqrec.layers import Dropout, fan_in_std, linear, pack, unpack


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_rate_and_keeps_the_expectation(rate: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(rate)(torch.ones(400, 501))
    kept = dropped[dropped != 0]
    assert 1 - kept.numel() / dropped.numel() == pytest.approx(rate, abs=0.005)
    assert torch.allclose(kept, torch.tensor(1 / (1 - rate)), rtol=1e-4)


def test_the_standard_deviation_by_inputs_is_that_of_torchs_own_layers() -> None:
    torch.manual_seed(0)
    for inputs in (30, 300):
        weight = torch.nn.Linear(inputs, 2000).weight
        assert fan_in_std(inputs) == pytest.approx(weight.std().item(), rel=0.02)


def test_dropout_draws_every_unit_on_its_own() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(100_000, 4)) != 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


def test_dropout_passes_gradients_of_the_kept_units_only() -> None:
    x = torch.ones(50, 7, requires_grad=True)
    out = Dropout(0.3)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_dropout_repeats_under_the_same_seed_and_rests_in_evaluation() -> None:
    layer, x = Dropout(0.5), torch.ones(9, 9)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_unpack_undoes_pack() -> None:
    x_ND, index_T = torch.randn(8, 3), torch.tensor([1, 2, 5, 7])
    back_ND = unpack(pack(x_ND, index_T), index_T, 8)
    assert torch.equal(back_ND[index_T], x_ND[index_T])
    assert not back_ND[[0, 3, 4, 6]].any()


def test_gradients_of_pack_and_unpack_are_right() -> None:
    index_T = torch.tensor([0, 3, 4])
    x_ND = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pack(x, index_T), (x_ND,))
    x_TD = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: unpack(x, index_T, 6), (x_TD,))


def test_linear_starts_without_bias() -> None:
    layer = linear(5, 3, torch.Generator().manual_seed(0))
    assert layer.weight.shape == (3, 5)
    assert not layer.bias.any()
