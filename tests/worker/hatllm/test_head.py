"""Heads, and cross-entropy in chunks."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.hatllm.head import ItemTableHead, LinearHead, cross_entropy


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("trained", [True, False])
def test_the_loss_and_its_gradients_are_those_of_the_whole_softmax(chunk, trained):
    torch.manual_seed(0)
    state = torch.randn(5, 4, requires_grad=True)
    table = torch.randn(9, 4, requires_grad=trained)
    target = torch.tensor([1, 8, 3, 3, 5])
    whole = functional.cross_entropy((state @ table.T)[:, 1:], target - 1)
    whole.backward()
    expected = state.grad.clone(), table.grad.clone() if trained else None
    state.grad = table.grad = None
    loss = cross_entropy(state, table, target, chunk=chunk)
    (2 * loss).backward()
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(state.grad, 2 * expected[0])
    if trained:
        torch.testing.assert_close(table.grad, 2 * expected[1])
        assert table.grad[0].abs().sum() == 0
    else:
        assert table.grad is None


def test_large_scores_do_not_overflow():
    state = torch.full((2, 1), 200.0)
    table = torch.tensor([[0.0], [1.0], [-1.0], [0.5]])
    loss = cross_entropy(state, table, torch.tensor([1, 2]), chunk=2)
    torch.testing.assert_close(loss, torch.tensor(200.0))


def test_padding_is_no_candidate():
    state, table = torch.ones(1, 1), torch.tensor([[50.0], [0.0], [0.0]])
    torch.testing.assert_close(cross_entropy(state, table, torch.tensor([1]), chunk=8), torch.tensor(np.log(2)).float())


def test_the_item_table_is_frozen_and_no_part_of_the_weights():
    table = torch.randn(6, 3)
    head = ItemTableHead(table, 4, generator=torch.Generator().manual_seed(0))
    assert [name for name, _ in head.named_parameters()] == ["weight_DH"]
    assert list(head.state_dict()) == ["weight_DH"]
    state = torch.randn(2, 4)
    torch.testing.assert_close(head(state), state @ head.weight_DH.T @ table.T)
    target = torch.tensor([2, 5])
    torch.testing.assert_close(head(state, target), functional.cross_entropy(head(state)[:, 1:], target - 1))


def test_the_linear_head_scores_all_items_without_bias():
    head = LinearHead(6, 4, generator=torch.Generator().manual_seed(0))
    assert [tuple(weight.shape) for weight in head.parameters()] == [(6, 4)]
    assert head(torch.zeros(2, 4)).abs().sum() == 0


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        shares = function.is_view or "detach" in str(function)
        if isinstance(made, torch.Tensor) and not shares:
            self.numel = max(self.numel, made.numel())
        return made


@pytest.mark.parametrize("items", [65, 1_000, 20_000])
def test_memory_is_that_of_a_chunk_for_any_number_of_items(items):
    state, table = torch.randn(8, 4, requires_grad=True), torch.randn(items, 4)
    with Largest() as largest:
        cross_entropy(state, table, torch.randint(1, items, (8,)), chunk=64).backward()
    assert largest.numel == 8 * 64
