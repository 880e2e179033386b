"""The objective of SpecTran's experiments: InfoNCE over the target and uniformly drawn negatives."""

import math

import torch
from torch.nn import functional

ALL_ITEMS_PER_SAMPLE = 60
"""Up to this many items per scored candidate, scoring all items and picking the candidates is cheaper than gathering
the candidates' vectors, whose gradient has to be scattered (tests/benchmarks/training.py)."""


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
            "exclusions; lower data.max_history or set objective.exclude to target"
        )
    sorted_BE = excluded_BE.sort(dim=1).values
    idle_BE = sorted_BE == 0
    idle_BE[:, 1:] |= sorted_BE[:, 1:] == sorted_BE[:, :-1]
    taken_BE = sorted_BE.masked_fill(idle_BE, num_items).sort(dim=1).values
    left_B1 = num_items - 1 - (~idle_BE).sum(dim=1, keepdim=True)
    uniform_BK = torch.rand(
        len(excluded_BE), negatives, dtype=torch.float64, device=excluded_BE.device, generator=generator
    )
    drawn_BK = 1 + (uniform_BK * left_B1).long()
    for column in taken_BE.unbind(dim=1):  # each excluded item moves what stands at or above it one up
        drawn_BK += drawn_BK >= column[:, None]
    return drawn_BK


def info_nce(
    hidden_BD: torch.Tensor,
    table_ID: torch.Tensor,
    target_B: torch.Tensor,
    negative_BK: torch.Tensor,
    *,
    cosine: bool = False,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Mean of -log softmax of the target's score among the target's and the negatives' (SpecTran §4.1.2).

    Args:
        hidden_BD: states.
        table_ID: item vectors.
        target_B: int64 items to score high.
        negative_BK: int64 items to score low.
        cosine: score by cosine instead of the scaled dot product (AlphaFuse).
        temperature: divides the scores.
    """
    candidate_BS = torch.cat([target_B[:, None], negative_BK], dim=1)
    if len(table_ID) <= ALL_ITEMS_PER_SAMPLE * candidate_BS.shape[1]:
        score_BS = all_scores(hidden_BD, table_ID, cosine=cosine).gather(1, candidate_BS)
    else:
        vector_BSD = functional.embedding(candidate_BS, table_ID)
        if cosine:
            hidden_BD, vector_BSD = functional.normalize(hidden_BD, dim=1), functional.normalize(vector_BSD, dim=2)
        else:
            hidden_BD = hidden_BD / math.sqrt(hidden_BD.shape[1])
        score_BS = torch.bmm(vector_BSD, hidden_BD[:, :, None]).squeeze(2)
    return -functional.log_softmax(score_BS / temperature, dim=1)[:, 0].mean()


def all_scores(hidden_BD: torch.Tensor, table_ID: torch.Tensor, *, cosine: bool = False) -> torch.Tensor:
    """The score of every state with every item, (B, I): the dot product over sqrt(D), or the cosine.

    Column 0 (padding) means nothing.
    """
    if cosine:
        return functional.normalize(hidden_BD, dim=1) @ functional.normalize(table_ID, dim=1).T
    return (hidden_BD / math.sqrt(hidden_BD.shape[1])) @ table_ID.T
