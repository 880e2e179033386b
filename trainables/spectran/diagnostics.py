"""What the paper looks at beside rankings: collapse of the item vectors (Figure 1), weights of the spectrum (Table 6).

Each table is a CSV whose first column is the horizontal axis; the driver draws it.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from trainables.seqrec.items import Items
from trainables.spectran.adapters.spectran import SpectralItems
from trainables.trial import Trial

TOP = 10
"""Directions whose share of all singular values is reported (§1: about 95 % under MLP adapters)."""


def write_diagnostics(items: Items, trial: Trial) -> dict[str, float]:
    """Write ``singular_values.csv`` and, for SpecTran with attention, ``spectral_weights.csv``; return their summary.

    Args:
        items: trained item vectors.
        trial: keeps the files as artifacts.

    Returns:
        ``trial/top_10_share`` of the singular values' sum, and the means over dimensions of the two kinds of weights as
        ``trial/principal_weight`` and ``trial/subordinate_weight``.
    """
    with torch.inference_mode():
        share_D = cumulative_shares(items.rows()[1:].cpu().numpy())
        numbers = range(1, len(share_D) + 1)
        shares = zip(numbers, share_D, strict=True)
        _write(trial.artifact("singular_values.csv"), ("dimension", "cumulative_share"), shares)
        summary = {"trial/top_10_share": float(share_D[min(TOP, len(share_D)) - 1])}
        if isinstance(items, SpectralItems) and items.query_DK is not None:
            principal_D, subordinate_D = spectral_weights(items)
            table = zip(range(1, len(principal_D) + 1), principal_D, subordinate_D, strict=True)
            _write(trial.artifact("spectral_weights.csv"), ("dimension", "principal", "subordinate"), table)
            summary["trial/principal_weight"] = float(principal_D.mean())
            summary["trial/subordinate_weight"] = float(subordinate_D.mean())
    return summary


def cumulative_shares(vectors_ND: np.ndarray) -> np.ndarray:
    """Share (min(N, D),) of the singular values' sum that the first 1, 2, ... of them hold; not centred."""
    singular_D = np.linalg.svd(vectors_ND, compute_uv=False).astype(np.float64)
    total = singular_D.sum()
    return np.cumsum(singular_D) / total if total else np.ones_like(singular_D)


def spectral_weights(items: SpectralItems) -> tuple[np.ndarray, np.ndarray]:
    """What each dimension takes from the spectrum, two (D,) arrays (§4.6).

    Returns:
        The weight of its own principal component (attention and position encoding), and the sum of the absolute
        attention on all subordinate components, those from the D-th on.
    """
    mixture_DR = items.mixture()
    subordinate_D = mixture_DR[:, items.columns :].abs().sum(dim=1)
    return mixture_DR.diagonal().cpu().numpy(), subordinate_D.cpu().numpy()


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[float]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows([f"{value:.6g}" for value in line] for line in lines)
