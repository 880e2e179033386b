"""Slots of attention: every token in its own, rows of like length together, nothing lost on the way back."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.backbones.slots import Slots

WIDTH = 2


@st.composite
def held(draw: st.DrawFn) -> torch.Tensor:
    length = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=length, max_size=length), min_size=1, max_size=9))
    held_BL = torch.tensor(rows)
    held_BL[:, -1] = True
    return held_BL


@given(held_BL=held(), heads=st.integers(1, 3))
def test_tokens_come_back_as_they_went_and_so_do_gradients(held_BL: torch.Tensor, heads: int) -> None:
    slots, tokens = Slots(held_BL, heads), int(held_BL.sum())
    x_TD = torch.randn(tokens, heads * WIDTH, dtype=torch.float64, requires_grad=True)
    groups = slots.spread(x_TD)
    back_TD = slots.gather(list(groups))
    assert torch.equal(back_TD, x_TD)
    weight_TD = torch.randn_like(x_TD)
    (back_TD * weight_TD).sum().backward()
    assert x_TD.grad is not None
    assert torch.equal(x_TD.grad, weight_TD)


@given(held_BL=held(), heads=st.integers(1, 3))
def test_a_position_sees_held_positions_up_to_its_own_in_its_row(held_BL: torch.Tensor, heads: int) -> None:
    slots, tokens = Slots(held_BL, heads), int(held_BL.sum())
    place = torch.stack(torch.where(held_BL), dim=1)  # of each token: row, position
    named_TD = torch.arange(tokens, dtype=torch.float64)[:, None].expand(-1, heads).contiguous()
    seen: list[Any] = []
    for group, token_S1 in zip(slots.groups, slots.spread(named_TD), strict=True):
        token_GHL = token_S1.view(group.rows, heads, group.length).long()
        open_GLL = ~group.hidden_G1LL[:, 0]
        for row, query, key in open_GLL.nonzero().tolist():
            if open_GLL[row, query, query]:  # a position that holds a token
                pairs = {tuple(token_GHL[row, head, [query, key]].tolist()) for head in range(heads)}
                assert len(pairs) == 1, "all heads see alike"
                seen += pairs
    row_T = place[:, 0].tolist()
    assert sorted(seen) == [(q, k) for q in range(tokens) for k in range(q + 1) if row_T[q] == row_T[k]]


def test_groups_are_padded_to_their_own_longest_row() -> None:
    held_BL = torch.arange(8) >= 8 - torch.tensor([8, 1, 2, 1, 5, 2])[:, None]
    assert [(group.rows, group.length) for group in Slots(held_BL, 2).groups] == [(2, 1), (2, 2), (2, 8)]
    assert Slots(held_BL, 2).sizes == [4, 8, 32]
