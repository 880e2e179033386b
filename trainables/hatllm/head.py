"""From a state to the items: two heads, and cross-entropy over all items whose memory does not grow with them."""

from typing import Any

import torch
from torch import nn

from trainables.seqrec.layers import normal

CHUNK = 8192
"""Items whose scores a loss holds at once, unless said otherwise."""


class LinearHead(nn.Module):
    """A score an item, without bias: state -> (I,), as E4SRec.

    Args:
        num_items: I, padding included.
        width: H, of the states.
        chunk: items whose scores the loss holds at once.
        generator: draws the initial weights, N(0, .02^2).
    """

    def __init__(self, num_items: int, width: int, *, chunk: int = CHUNK, generator: torch.Generator) -> None:
        super().__init__()
        self.chunk = chunk
        self.table_IH = normal(num_items, width, generator=generator)

    def forward(self, state_BH: torch.Tensor, target_B: torch.Tensor | None = None) -> torch.Tensor:
        """The mean loss where ``target_B`` is given, else the scores (B, I)."""
        return compared(state_BH, self.table_IH, target_B, self.chunk)


class ItemTableHead(nn.Module):
    """The state, projected without bias, times a frozen item table, as SLMRec.

    Args:
        table_ID: float32, row 0 (padding) included; no part of the weights.
        width: H, of the states.
        chunk: items whose scores the loss holds at once.
        generator: draws the initial projection, N(0, .02^2).
    """

    table_ID: torch.Tensor

    def __init__(self, table_ID: torch.Tensor, width: int, *, chunk: int = CHUNK, generator: torch.Generator) -> None:
        super().__init__()
        self.chunk = chunk
        self.register_buffer("table_ID", table_ID, persistent=False)
        self.weight_DH = normal(table_ID.shape[1], width, generator=generator)

    def forward(self, state_BH: torch.Tensor, target_B: torch.Tensor | None = None) -> torch.Tensor:
        """The mean loss where ``target_B`` is given, else the scores (B, I)."""
        state_BD = nn.functional.linear(state_BH, self.weight_DH.float())
        return compared(state_BD, self.table_ID, target_B, self.chunk)


Head = LinearHead | ItemTableHead


def compared(state_BD: torch.Tensor, table_ID: torch.Tensor, target_B: torch.Tensor | None, chunk: int) -> torch.Tensor:
    """The mean loss of targets, or without them the scores (B, I) of all items, padding's included."""
    if target_B is None:
        return state_BD @ table_ID.float().T
    return cross_entropy(state_BD, table_ID.float(), target_B, chunk=chunk)


def cross_entropy(
    state_BD: torch.Tensor, table_ID: torch.Tensor, target_B: torch.Tensor, *, chunk: int
) -> torch.Tensor:
    """Mean of -log softmax of the target's score among all items 1..I-1, ``chunk`` items at a time.

    No more than (B, chunk) scores exist at once, neither forward nor backward, where they are computed again; so beside
    the table and its gradient, memory is the same for any number of items.

    Args:
        state_BD: float32.
        table_ID: float32, row 0 (padding) is left out.
        target_B: int64, from 1.
        chunk: items at once.
    """
    loss: torch.Tensor = _CrossEntropy.apply(state_BD, table_ID, target_B, chunk)
    return loss


class _CrossEntropy(torch.autograd.Function):
    """Softmax in chunks of items: its normaliser forward, its probabilities again backward."""

    @staticmethod
    def forward(ctx: Any, state_BD: torch.Tensor, table_ID: torch.Tensor, target_B: torch.Tensor, chunk: int) -> Any:
        normaliser_B = state_BD.new_full((len(state_BD),), -torch.inf)
        for start in range(1, len(table_ID), chunk):
            part_BC = state_BD @ table_ID[start : start + chunk].T
            normaliser_B = torch.logaddexp(normaliser_B, part_BC.logsumexp(dim=1))
        ctx.save_for_backward(state_BD, table_ID, target_B, normaliser_B)
        ctx.chunk = chunk
        return (normaliser_B - (state_BD * table_ID[target_B]).sum(dim=1)).mean()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        state_BD, table_ID, target_B, normaliser_B = ctx.saved_tensors
        share = grad / len(state_BD)
        grad_state_BD = -share * table_ID[target_B]
        grad_table_ID = None
        if ctx.needs_input_grad[1]:
            grad_table_ID = torch.zeros_like(table_ID).index_add_(0, target_B, -share * state_BD)
        for start in range(1, len(table_ID), ctx.chunk):
            part_CD = table_ID[start : start + ctx.chunk]
            weight_BC = share * (state_BD @ part_CD.T - normaliser_B[:, None]).exp()
            grad_state_BD += weight_BC @ part_CD
            if grad_table_ID is not None:
                grad_table_ID[start : start + ctx.chunk] += weight_BC.T @ state_BD
        return grad_state_BD, grad_table_ID, None, None
