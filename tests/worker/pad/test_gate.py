"""Gates: weights that sum to 1, the released starting values, one expert alone, where gradients go."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainables.pad.gate import FrequencyGate, GlobalGate, NetworkGate

EXPERTS = ("id", "aligned", "text")
BUCKETS = torch.tensor([0, 1, 5, 10, 10, 3])


def vectors(experts: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 8, generator=generator) for _ in range(experts)]


def network(experts: int = 3) -> NetworkGate:
    return NetworkGate(8, experts, 10, generator=torch.Generator().manual_seed(0))


def shaken(gate: nn.Module) -> nn.Module:
    """With every parameter moved at random."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return gate


GATES: dict[str, Callable[[], nn.Module]] = {
    "frequency": lambda: FrequencyGate(EXPERTS, 10),
    "network": network,
    "global": lambda: GlobalGate(EXPERTS),
}


@pytest.mark.parametrize("kind", GATES)
def test_weights_of_an_item_are_positive_and_sum_to_one(kind: str) -> None:
    for gate in (GATES[kind](), shaken(GATES[kind]())):
        weight_NE = gate(vectors(), BUCKETS)
        assert weight_NE.shape == (6, 3)
        assert (weight_NE > 0).all()
        torch.testing.assert_close(weight_NE.sum(dim=1), torch.ones(6))


def test_the_frequency_gate_starts_as_the_released_code_and_equals_normalised_sigmoids() -> None:
    gate = FrequencyGate(EXPERTS, 10)
    expected = torch.stack([torch.linspace(1, 0, 11), torch.linspace(-4, -5, 11), torch.linspace(0, 1, 11)])
    torch.testing.assert_close(gate.scalar_EB.detach(), expected)
    weight_NE = gate(vectors(), BUCKETS)
    for n, bucket in enumerate(BUCKETS.tolist()):
        sigmoids = [1 / (1 + math.exp(-scalar)) for scalar in gate.scalar_EB[:, bucket].tolist()]
        assert weight_NE[n].tolist() == pytest.approx([value / sum(sigmoids) for value in sigmoids])
    assert weight_NE[:, 1].max() < 0.02
    assert weight_NE[1, 0] > weight_NE[1, 2]
    assert weight_NE[3, 0] < weight_NE[3, 2]


def test_experts_that_are_off_are_in_neither_the_weights_nor_the_start() -> None:
    weight_NE = FrequencyGate(("text", "id"), 10)(vectors(2), BUCKETS)
    torch.testing.assert_close(weight_NE.flip(1), FrequencyGate(("id", "text"), 10)(vectors(2), BUCKETS))
    assert FrequencyGate(EXPERTS, 4, start=2).scalar_EB[1].tolist() == [2, 1.75, 1.5, 1.25, 1]


def test_the_global_gate_starts_at_the_frequency_gates_mean_and_is_the_same_for_all_items() -> None:
    frequency, gate = FrequencyGate(EXPERTS, 10), GlobalGate(EXPERTS)
    torch.testing.assert_close(gate.scalar_E.detach(), frequency.scalar_EB.detach().mean(dim=1))
    weight_NE = gate(vectors(), BUCKETS)
    assert (weight_NE == weight_NE[0]).all()


@pytest.mark.parametrize("expert", range(3))
def test_a_gate_forced_to_one_expert_weighs_exactly_that_one(expert: int) -> None:
    one_hot = torch.eye(3)[expert].expand(6, -1)
    frequency, everywhere, net = FrequencyGate(EXPERTS, 10), GlobalGate(EXPERTS), shaken(network())
    with torch.no_grad():
        for other in {0, 1, 2} - {expert}:
            frequency.scalar_EB[other] = -torch.inf
            everywhere.scalar_E[other] = -torch.inf
            net.output[other].bias.fill_(-torch.inf)
    for gate in (frequency, everywhere, net):
        assert torch.equal(gate(vectors(), BUCKETS), one_hot)


@pytest.mark.parametrize("gate", [FrequencyGate(("text",), 10), GlobalGate(("aligned",)), network(1)])
def test_a_single_expert_weighs_exactly_one(gate: nn.Module) -> None:
    assert (shaken(gate)(vectors(1), BUCKETS) == 1).all()


def test_the_network_gate_starts_even_and_reads_buckets_and_vectors() -> None:
    assert (network()(vectors(), BUCKETS) == 1 / 3).all()
    gate, read = shaken(network()), vectors()
    weight_NE = gate(read, BUCKETS)
    assert not torch.allclose(gate(read, BUCKETS.flip(0)), weight_NE)
    for expert in range(3):
        moved = [x + (e == expert) for e, x in enumerate(read)]
        log_ratio = (gate(moved, BUCKETS).log() - weight_NE.log()).detach()
        left, right = (other for other in range(3) if other != expert)
        torch.testing.assert_close(log_ratio[:, left], log_ratio[:, right], atol=1e-4, rtol=1e-4)
        assert (log_ratio[:, expert] - log_ratio[:, left]).abs().max() > 0.01


def test_gradients_reach_the_scalars_of_the_buckets_scored_and_the_networks_vectors() -> None:
    frequency = FrequencyGate(EXPERTS, 10)
    frequency(vectors(), BUCKETS)[:, 0].sum().backward()
    assert frequency.scalar_EB.grad is not None
    assert frequency.scalar_EB.grad.any(dim=0).nonzero().flatten().tolist() == [0, 1, 3, 5, 10]
    read = [x.requires_grad_() for x in vectors()]
    shaken(network())(read, BUCKETS)[:, 0].sum().backward()
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in read)


def test_unknown_experts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"experts of \['aligned', 'id', 'text'\], but got \['id', 'image'\]"):
        FrequencyGate(("id", "image"), 10)
    with pytest.raises(ValueError, match=r"but got \[\]; name one or more"):
        GlobalGate(())
