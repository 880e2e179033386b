"""Objectives over a target and uniformly drawn negatives: InfoNCE (SpecTran), binary cross-entropy (PAD)."""

import torch
from torch.nn import functional


def draw_negatives(
    num_items: int, negatives: int, excluded_BE: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Draw items uniformly, with replacement, from 1..I-1 without each row's excluded ones.

    Args:
        num_items: I, padding included.
        negatives: K, draws a row.
        excluded_BE: int64, E items a row that may not be drawn; zeros and repeats are allowed.
        generator: on the device of ``excluded_BE``.

    Returns:
        int64 (B, K).

    Raises:
        ValueError: a row's exclusions could leave no item to draw.
    """
    if num_items - 1 <= excluded_BE.shape[1]:
        raise ValueError(
            f"negatives need more items than a row excludes, but got {num_items - 1} items and {excluded_BE.shape[1]} "
            "exclusions; lower data.max_history or use a larger data set"
        )
    sorted_BE = excluded_BE.sort(dim=1).values
    idle_BE = sorted_BE == 0
    idle_BE[:, 1:] |= sorted_BE[:, 1:] == sorted_BE[:, :-1]
    taken_BE = sorted_BE.masked_fill(idle_BE, 2 * num_items).sort(dim=1).values
    left_B1 = num_items - 1 - (~idle_BE).sum(dim=1, keepdim=True)
    uniform_BK = torch.rand(
        len(excluded_BE), negatives, dtype=torch.float64, device=excluded_BE.device, generator=generator
    )
    drawn_BK = 1 + (uniform_BK * left_B1).long()
    # The n-th excluded item (from 0) moves what stands at or above it one up, n having moved what stood there before.
    place_BE = taken_BE - torch.arange(taken_BE.shape[1], device=taken_BE.device)
    return drawn_BK + torch.searchsorted(place_BE, drawn_BK, right=True)


def info_nce(score_NS: torch.Tensor, *, temperature: float = 1.0) -> torch.Tensor:
    """Mean of -log softmax of the target's score among the target's and the negatives' (SpecTran §4.1.2).

    Args:
        score_NS: scores of each example's candidates, the target first.
        temperature: divides the scores.
    """
    return -functional.log_softmax(score_NS / temperature, dim=1)[:, 0].mean()


def bce(positive_N: torch.Tensor, negative_N: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of targets and as many negatives, each a mean, added up (PAD eq. 1, one negative each).

    Args:
        positive_N: scores of the targets.
        negative_N: scores of the negatives.
    """
    return functional.softplus(-positive_N).mean() + functional.softplus(negative_N).mean()
