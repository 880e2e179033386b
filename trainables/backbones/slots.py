"""Where attention puts the tokens of a batch: a slot a head and position, rows of like length together.

Padding every row to the batch's longest would make most of the work padding, as few users have a full history. Rows are
sorted into a few groups by length, each padded to its own longest row: a quarter of the time of SASRec's training saved
where histories have up to 20 items, none lost where they have up to 10.
"""

from dataclasses import dataclass

import torch

from trainables.seqrec.layers import pack

GROUPS = 3


@dataclass(frozen=True)
class Group:
    """Rows that attention reads together; G of them, each of the last L positions."""

    rows: int
    length: int
    hidden_G1LL: torch.Tensor
    """bool, True where causality or padding hides a key position from a query: query, then key."""


class Slots:
    """The slots of a batch's T tokens, all heads and groups one after another; S in all.

    Args:
        held_BL: bool, the positions that hold a token; each row holds at least the last.
        heads: H.
    """

    def __init__(self, held_BL: torch.Tensor, heads: int) -> None:
        self.heads = heads
        rows, length = held_BL.shape
        device = held_BL.device
        span_B = length - held_BL.int().argmax(dim=1)
        token_BL = (held_BL.flatten().cumsum(0) - 1).clamp(min=0).view(rows, length)
        head_H1 = torch.arange(heads, device=device)[:, None]
        self.groups: list[Group] = []
        parts, held = [], []
        for row_G in span_B.argsort(stable=True).chunk(GROUPS):
            longest = int(span_B[row_G[-1]])
            held_GL = held_BL[row_G, length - longest :]
            token_GL = token_BL[row_G, length - longest :]
            parts.append((token_GL[:, None] * heads + head_H1).flatten())
            held.append(held_GL[:, None].expand(-1, heads, -1).flatten())
            causal_LL = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
            self.groups.append(Group(len(row_G), longest, ~(causal_LL & held_GL[:, None, :])[:, None]))
        self.sizes = [len(part_S) for part_S in parts]
        self._token_S = torch.cat(parts)
        held_N = torch.cat(held).nonzero().squeeze(1)
        self._slot_N = torch.empty_like(held_N)  # N = T * H
        self._slot_N[self._token_S[held_N]] = held_N

    def spread(self, x_TD: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tokens' heads at their slots, (S, C) in groups; a slot without a token holds some token's numbers."""
        x_SC: torch.Tensor = _Spread.apply(x_TD.view(len(x_TD) * self.heads, -1), self._token_S, self._slot_N)
        return torch.split(x_SC, self.sizes)

    def gather(self, groups: list[torch.Tensor]) -> torch.Tensor:
        """The slots (S, C) of all groups back at their tokens, (T, D)."""
        return pack(torch.cat(groups), self._slot_N).view(len(self._slot_N) // self.heads, -1)


class _Spread(torch.autograd.Function):
    """``index_select`` to the slots, whose gradient is read from the slots of tokens alone: the others' is zero."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x_NC: torch.Tensor, token_S: torch.Tensor, slot_N: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(slot_N)
        return x_NC.index_select(0, token_S)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad_SC: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slot_N,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad_SC.index_select(0, slot_N), None, None
