"""The attention masks of HatLLM as pure functions of where the items stand in a prompt (equations 2 to 5).

True means that a token may be read. Every mask lies on top of causality and padding, and leaves each token itself
open, so that no row of the softmax is empty, not even a padding token's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch

Kind = Literal["in", "or", "cr", "cr_pre"]
"""Masks by name: intra-item, original, cross-item, cross-item without last tokens."""


@dataclass(frozen=True)
class Spans:
    """Positions of the items in B prompts of T tokens."""

    item_BT: torch.Tensor
    """int64: k for the tokens of a prompt's k-th item, counted from 1; 0 for all others, F(j) = 0."""
    last_BT: torch.Tensor
    """bool, L(j): the last token of its item."""
    real_BT: torch.Tensor
    """bool, False for padding."""


def masks(spans: Spans, kinds: Iterable[Kind]) -> dict[Kind, torch.Tensor]:
    """The masks of ``kinds``, each bool (B, 1, T, T): may token j (third axis) read token k (last axis)?

    Args:
        spans: where the items stand.
        kinds: which masks are wanted; each is made once.
    """
    original_BTT = original(spans)
    by_kind = {kind: original_BTT if kind == "or" else original_BTT & ~closed(spans, kind) for kind in set(kinds)}
    return {kind: mask_BTT[:, None] for kind, mask_BTT in by_kind.items()}


def original(spans: Spans) -> torch.Tensor:
    """OR, equation 2: every real token up to the reading one, and the token itself; bool (B, T, T)."""
    length = spans.real_BT.shape[1]
    at_T = torch.arange(length, device=spans.real_BT.device)
    causal_TT = at_T[:, None] >= at_T[None, :]
    return (causal_TT & spans.real_BT[:, None, :]) | (at_T[:, None] == at_T[None, :])


def closed(spans: Spans, kind: Kind) -> torch.Tensor:
    """Positions that ``kind`` closes beyond causality, bool (B, T, T), the token itself never.

    * ``in``, equation 3: tokens of another item;
    * ``cr_pre``, equation 4: the other tokens of the same item;
    * ``cr``, equation 5: other item tokens, unless both are the last of their item.
    """
    item_BT, last_BT = spans.item_BT, spans.last_BT
    reader_BT1, read_B1T = item_BT[:, :, None], item_BT[:, None, :]
    items_BTT = (reader_BT1 > 0) & (read_B1T > 0)
    match kind:
        case "in":
            return items_BTT & (reader_BT1 != read_B1T)
        case "cr_pre":
            closed_BTT = items_BTT & (reader_BT1 == read_B1T)
        case "cr":
            closed_BTT = items_BTT & ~(last_BT[:, :, None] & last_BT[:, None, :])
        case "or":
            closed_BTT = torch.zeros_like(items_BTT)
    itself_TT = torch.eye(item_BT.shape[1], dtype=torch.bool, device=item_BT.device)
    return closed_BTT & ~itself_TT


def block_masks(spans: Spans, kinds: Iterable[Kind]) -> dict[Kind, Any]:
    """The same masks as FlexAttention's ``BlockMask``s, made on the device of ``spans`` without (T, T) tensors kept."""
    from torch.nn.attention.flex_attention import create_block_mask

    batch, length = spans.item_BT.shape
    return {
        kind: create_block_mask(rule(spans, kind), batch, None, length, length, device=str(spans.item_BT.device))
        for kind in set(kinds)
    }


def rule(spans: Spans, kind: Kind) -> Callable[..., torch.Tensor]:
    """The mask ``kind`` as FlexAttention takes it: a function of batch, head, reading token j and read token k."""
    item_BT, last_BT, real_BT = spans.item_BT, spans.last_BT, spans.real_BT

    def is_open(b: torch.Tensor, h: torch.Tensor, j: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        opened = (j >= k) & real_BT[b, k]
        items = (item_BT[b, j] > 0) & (item_BT[b, k] > 0)
        same = item_BT[b, j] == item_BT[b, k]
        if kind == "in":
            opened = opened & ~(items & ~same)
        elif kind == "cr_pre":
            opened = opened & ~(items & same)
        elif kind == "cr":
            opened = opened & ~(items & ~(last_BT[b, j] & last_BT[b, k]))
        return opened | (j == k)

    return is_open
