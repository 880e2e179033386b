"""A mask of its own for each layer of an unchanged model: the attention function ``layered`` of transformers.

Llama and Qwen pass arguments that they do not know (``layer_masks``) down to the attention function, which is looked up
by name. Ours picks the mask of its layer and calls PyTorch's kernel. Nothing of a model is replaced or copied.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn

from trainables.language.pretrained import family_problem

NAME = "layered"
"""Under which transformers knows the function."""


class AttentionObserver(Protocol):
    """A function that is handed attention weights."""

    def __call__(self, layer: int, weight_BHTT: torch.Tensor) -> None:
        """Take the weights of a layer, counted from 0: what each token (third axis) reads of each (last axis)."""


def use_layered(model: nn.Module) -> None:
    """Let ``model`` (a transformers model of one of ``pretrained.FAMILIES``) take ``layer_masks``.

    Raises:
        ValueError: the model is of another family, or some of its layers have an attention of another kind.
    """
    from transformers import AttentionInterface

    config: Any = model.config
    problem = family_problem(config.model_type, getattr(config, "layer_types", None) or ())
    if problem:
        raise ValueError(problem)
    AttentionInterface.register(NAME, layered_attention)
    model.set_attn_implementation(NAME)  # type: ignore[operator]


def layered_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layer_masks: Sequence[Any],
    observe: AttentionObserver | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """PyTorch's attention under the mask of this layer.

    Args:
        module: the attention layer; its ``layer_idx`` counts from 0.
        query: (B, H, T, width of a head).
        key: (B, key heads, T, width of a head).
        value: as ``key``.
        attention_mask: not read.
        layer_masks: one a layer: bool (B, 1, T, T), or FlexAttention's ``BlockMask``.
        observe: handed the weights, computed beside.
        rest: what the kernel takes (scaling, dropout).

    Returns:
        (B, T, H, width of a head), and nothing for the weights.
    """
    from transformers.integrations.flex_attention import flex_attention_forward
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    layer: int = module.layer_idx  # type: ignore[assignment]
    mask = layer_masks[layer]
    if observe is not None:
        observe(layer, weights(query, key, mask, rest["scaling"]))
    attend = sdpa_attention_forward if isinstance(mask, torch.Tensor) else flex_attention_forward
    output: tuple[torch.Tensor, torch.Tensor | None] = attend(module, query, key, value, mask, **rest)
    return output[0], None


def weights(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, scaling: float) -> torch.Tensor:
    """The attention weights (B, H, T, T) that the kernel does not tell, in fp32 (equation 1)."""
    groups = query.shape[1] // key.shape[1]
    score_BHTT = query.float() @ key.float().repeat_interleave(groups, dim=1).transpose(2, 3) * scaling
    return score_BHTT.masked_fill(~mask, -torch.inf).softmax(dim=-1)
