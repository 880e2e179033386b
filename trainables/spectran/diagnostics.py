"""The paper's diagnostics besides rankings: collapse of the item vectors, and weights over the spectrum.

The first is Figure 1 (§2.2.2), the second Table 6. Each table is a CSV whose first column is the horizontal axis,
and the driver draws it.
"""

import numpy as np
import torch

from trainables.seqrec.curves import Words, write_curves
from trainables.seqrec.items import Items
from trainables.spectran.adapters.spectran import SpectralItems
from trainables.trial import Trial

TOP = 10
"""Directions whose share of all singular values is reported (§2.2.2: about 95 % under MLP adapters)."""


SINGULAR_VALUES = Words(
    title="Spectrum of the item vectors",
    x="largest singular values counted",
    y="share of their sum",
    caption="Where it rises at once, few directions carry the vectors (Figure 1, of their covariance).",
)
SPECTRAL_WEIGHTS = Words(
    title="Weights over the spectrum",
    x="dimension",
    y="absolute weight",
    caption="Weight of a dimension's own principal component, and the sum over all subordinate ones (§4.6).",
)


def write_diagnostics(items: Items, trial: Trial) -> dict[str, float]:
    """Write ``singular_values.csv`` and, for SpecTran with attention, ``spectral_weights.csv``; return their summary.

    Args:
        items: trained item vectors; the table is what the backbone reads and scores, IDs fused in, padding left out.
        trial: keeps the files as artifacts.

    Returns:
        ``trial/top_10_share`` of the sum of the covariance's singular values, and the means over dimensions of the two
        kinds of weights as ``trial/principal_weight`` and ``trial/subordinate_weight``.
    """
    with torch.inference_mode():
        share_D = cumulative_shares(items.rows()[1:].cpu().numpy())
        _write_by_dimension(trial, "singular_values.csv", {"cumulative_share": share_D}, SINGULAR_VALUES)
        summary = {"trial/top_10_share": float(share_D[min(TOP, len(share_D)) - 1])}
        if isinstance(items, SpectralItems) and items.query_DK is not None:
            principal_D, subordinate_D = spectral_weights(items)
            weights = {"principal": principal_D, "subordinate": subordinate_D}
            _write_by_dimension(trial, "spectral_weights.csv", weights, SPECTRAL_WEIGHTS)
            summary["trial/principal_weight"] = float(principal_D.mean())
            summary["trial/subordinate_weight"] = float(subordinate_D.mean())
    return summary


def cumulative_shares(vectors_ND: np.ndarray) -> np.ndarray:
    """Share (D,) that the largest 1, 2, ... singular values of the vectors' covariance matrix have of their sum.

    They are its eigenvalues, the variances along principal directions; all 1 where the vectors are all the same.
    """
    centred_ND = vectors_ND - vectors_ND.mean(axis=0, dtype=np.float64)
    variance_D = np.maximum(np.linalg.eigvalsh(centred_ND.T @ centred_ND)[::-1], 0)
    total = variance_D.sum()
    return np.cumsum(variance_D) / total if total else np.ones_like(variance_D)


def spectral_weights(items: SpectralItems) -> tuple[np.ndarray, np.ndarray]:
    """Weights of each dimension over the spectrum, two (D,) arrays (§4.6).

    Returns:
        The weight of its own principal component (attention and position encoding), and the sum of the absolute
        attention on all subordinate components, those from the D-th on.
    """
    mixture_DR = items.mixture()
    subordinate_D = mixture_DR[:, items.columns :].abs().sum(dim=1)
    return mixture_DR.diagonal().cpu().numpy(), subordinate_D.cpu().numpy()


def _write_by_dimension(trial: Trial, name: str, curves: dict[str, np.ndarray], words: Words) -> None:
    dimensions = np.arange(1, len(next(iter(curves.values()))) + 1)
    write_curves(trial.artifact(name), ("dimension", dimensions), curves, words)
