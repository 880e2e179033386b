"""Maximum mean discrepancy between two samples of vectors (PAD §2.2, §3.2, §4.5), a pure function of both.

Departures from the paper's text, as its released code has them: the five values that §4.1.4 calls σ = -3..1 are
exponents of two on the mean distance of all pairs (as literal widths one would be zero, three negative); the kernels
are summed, not averaged; a sample's own mean leaves out each vector with itself. Literal widths are an option.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch.nn import functional

Kernel = Literal["gaussian", "laplacian", "linear", "cosine", "cosine_distance"]
Radial = Literal["gaussian", "laplacian"]

RADIAL: tuple[Radial, ...] = get_args(Radial)
"""Kernels of the distance alone, which have bandwidths."""

EXPONENTS = (-3, -2, -1, 0, 1)
"""Of two, on the mean distance of all pairs: the widths of the summed kernels (§4.1.4)."""

_PAIRS_AT_ONCE = {"cpu": 1 << 17, "other": 1 << 26}
"""Kernel values computed together: what a core's cache holds, or what fills a GPU."""


def mmd(
    source_ND: torch.Tensor,
    target_MD: torch.Tensor,
    *,
    kernel: Kernel = "gaussian",
    exponents: Sequence[float] = EXPONENTS,
    bandwidths: Sequence[float] | None = None,
    constant: bool = False,
    biased: bool = False,
) -> torch.Tensor:
    """Squared discrepancy D² of two samples (eq. 5), from means of kernels k over pairs of vectors.

    ``mean k(s, s') + mean k(t, t') - 2 mean k(s, t)``, the first two over different vectors of a sample, N(N-1) pairs,
    the third over all N·M. On two equal samples of N this is not zero but ``-2/N (k(x, x) - mean k(s, s'))``: between
    -2K/N and 0 for K summed Gaussian or Laplacian kernels. ``biased`` makes it zero.

    * ``gaussian`` (eq. 12): exp(-|x - x'|² / 2σ²), σ² = 2^exponent · mean of |x - x'|² over all (N + M)² pairs.
    * ``laplacian`` (eq. 17): exp(-|x - x'|₁ / σ²), σ² = 2^exponent · mean of |x - x'|₁.
    * ``linear`` (eq. 14): x·x'. Without ``biased`` it has no lower end: growing vectors lower it.
    * ``cosine``: x·x' / |x||x'|. Equation 15 prints one minus that, which is a distance and no kernel: its D² is
      minus this one, so that a lower loss drives the samples apart. It is there as ``cosine_distance``.

    The mean distance takes no part in the gradient. Memory and gradient: one pass over blocks of pairs keeps no table
    of all pairs where that is large, and never one of pairs times columns.

    Args:
        source_ND: N vectors, 2 or more (text, in PAD); detach one side to move the other alone.
        target_MD: M vectors, 2 or more (IDs).
        kernel: how alike two vectors are.
        exponents: one kernel each, summed; read by ``gaussian`` and ``laplacian``.
        bandwidths: literal σ, not zero, one kernel each, instead of ``exponents``; the sign plays no part.
        constant: add 1/(N-1) + 1/(M-1), as the released code does; no gradient.
        biased: keep each vector's pair with itself in its sample's mean, over N² pairs: never negative, and zero on
            equal samples.

    Returns:
        A number without dimension.

    Raises:
        ValueError: a sample of fewer than 2 vectors, differing widths, no kernel, or a bandwidth of zero.
    """
    _refuse(source_ND, target_MD, exponents, bandwidths)
    if kernel in RADIAL:
        value = _radial(source_ND, target_MD, kernel, exponents, bandwidths, biased)
    elif kernel == "linear":
        value = _linear(source_ND, target_MD, biased)
    else:
        value = _linear(functional.normalize(source_ND, dim=1), functional.normalize(target_MD, dim=1), biased)
        value = -value if kernel == "cosine_distance" else value
    return value + (1 / (len(source_ND) - 1) + 1 / (len(target_MD) - 1)) if constant else value


def _refuse(
    source_ND: torch.Tensor, target_MD: torch.Tensor, exponents: Sequence[float], bandwidths: Sequence[float] | None
) -> None:
    if min(len(source_ND), len(target_MD)) < 2:
        raise ValueError(
            f"mmd compares samples of 2 vectors or more, but got {len(source_ND)} and {len(target_MD)}; "
            "raise fit.batch_size"
        )
    if source_ND.shape[1] != target_MD.shape[1]:
        raise ValueError(
            f"mmd compares vectors of one width, but got {source_ND.shape[1]} and {target_MD.shape[1]}; "
            "bring both to the same width first"
        )
    if not (exponents if bandwidths is None else bandwidths):
        raise ValueError("mmd needs a kernel, but got neither exponents nor bandwidths; give one or more")
    if bandwidths is not None and 0 in bandwidths:
        raise ValueError(
            f"a bandwidth must not be zero, under which no two vectors are alike, but got {tuple(bandwidths)}; "
            "drop it, or leave bandwidths out: the paper's -3..1 are exponents"
        )


def _linear(source_ND: torch.Tensor, target_MD: torch.Tensor, biased: bool) -> torch.Tensor:
    """D² under the dot product: sums of vectors say all, no pair is formed."""
    source_D, target_D = source_ND.mean(dim=0), target_MD.mean(dim=0)
    value = (source_D - target_D).square().sum()
    if biased:
        return value
    for mean_D, sample_ND in ((source_D, source_ND), (target_D, target_MD)):  # from N² pairs to N(N-1)
        own = (sample_ND - mean_D).square().sum() / len(sample_ND)
        value = value - own / (len(sample_ND) - 1)
    return value


def _radial(
    source_ND: torch.Tensor,
    target_MD: torch.Tensor,
    kernel: Radial,
    exponents: Sequence[float],
    bandwidths: Sequence[float] | None,
    biased: bool,
) -> torch.Tensor:
    """D² under sums of exp(-rate · distance); the distance is squared Euclidean or L1."""
    vectors_ND = torch.cat([source_ND, target_MD])
    vectors_ND = vectors_ND - vectors_ND.detach().mean(dim=0)  # distances stay, and lose less to rounding
    squared = kernel == "gaussian"
    if bandwidths is not None:
        rates = sorted(1 / ((2 if squared else 1) * width**2) for width in bandwidths)
        base = vectors_ND.new_tensor(rates[0])
    else:
        rates = sorted((0.5 if squared else 1.0) * 2.0**-exponent for exponent in exponents)
        base = rates[0] / mean_distance(vectors_ND.detach(), squared).clamp_min(1e-30)
    ratios = tuple(rate / rates[0] for rate in rates)
    value: torch.Tensor = _Pairs.apply(vectors_ND, len(source_ND), squared, base, ratios, biased)
    return value


def mean_distance(vectors_ND: torch.Tensor, squared: bool) -> torch.Tensor:
    """Mean over all N² ordered pairs of the squared Euclidean or the L1 distance; no pair is formed.

    Squared: twice the variance. L1: in each column, sorted, the r-th smallest of N is added 2r - N - 1 times.
    """
    count = len(vectors_ND)
    if squared:
        return 2 * (vectors_ND - vectors_ND.mean(dim=0)).square().sum() / count
    times_N = torch.arange(1 - count, count, 2, device=vectors_ND.device, dtype=vectors_ND.dtype)
    return 2 / count**2 * (times_N @ vectors_ND.sort(dim=0).values).sum()


class _Pairs(torch.autograd.Function):
    """D² of the first ``size`` vectors and the rest, block by block; the gradient is gathered on the same way.

    The base rate is the smallest, ``ratios`` (ascending, the first 1) are multiples of it. Of two equal sides each
    pair is computed once.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        vectors_ND: torch.Tensor,
        size: int,
        squared: bool,
        base: torch.Tensor,
        ratios: tuple[float, ...],
        biased: bool,
    ) -> torch.Tensor:
        wants = ctx.needs_input_grad[0]  # type: ignore[attr-defined]
        total = len(vectors_ND)
        grad_ND = torch.zeros_like(vectors_ND) if wants else None
        value = vectors_ND.new_zeros((), dtype=torch.float64)
        for start, stop in ((0, size), (size, total)):
            count = stop - start
            pairs = count * (count if biased else count - 1)
            rows = _rows_at_once(count, vectors_ND.device)
            for first in range(start, stop, rows):
                last = min(first + rows, stop)
                part = _block(vectors_ND, (first, last), (first, stop), squared, base, ratios, 1 / pairs, grad_ND)
                value += part
            if not biased:
                value -= len(ratios) / (count - 1)  # what each vector has with itself
        rows = _rows_at_once(total - size, vectors_ND.device)
        for first in range(0, size, rows):
            cross = (first, min(first + rows, size)), (size, total)
            value += _block(vectors_ND, *cross, squared, base, ratios, -2 / (size * (total - size)), grad_ND)
        if grad_ND is not None:
            ctx.save_for_backward(grad_ND)
        return value.to(vectors_ND.dtype)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None, None, None]:
        (grad_ND,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * grad_ND, None, None, None, None, None


def _block(
    vectors_ND: torch.Tensor,
    left: tuple[int, int],
    right: tuple[int, int],
    squared: bool,
    base: torch.Tensor,
    ratios: tuple[float, ...],
    weight: float,
    grad_ND: torch.Tensor | None,
) -> torch.Tensor:
    """``weight`` times the sum of kernels of a block of pairs, whose gradient is added to ``grad_ND``.

    Where both sides start at the same vector, the columns after the square corner count twice: for the rows that would
    hold the same pairs turned round.
    """
    corner = left[1] - left[0] if left[0] == right[0] else right[1] - right[0]
    left_RD, right_CD = vectors_ND[slice(*left)], vectors_ND[slice(*right)]
    distance_RC = _squared(left_RD, right_CD) if squared else torch.cdist(left_RD, right_CD, p=1)
    kernel_RC, slope_RC = _kernels(distance_RC, base, ratios, grad_ND is not None)
    value = kernel_RC.sum().double() + kernel_RC[:, corner:].sum()
    if grad_ND is not None and slope_RC is not None:
        slope_RC[:, :corner] *= -weight * base
        slope_RC[:, corner:] *= -2 * weight * base
        by_left_RD, by_right_CD = (_by_squared if squared else _by_l1)(left_RD, right_CD, slope_RC)
        grad_ND[slice(*left)] += by_left_RD
        grad_ND[slice(*right)] += by_right_CD
    return weight * value


def _squared(left_RD: torch.Tensor, right_CD: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances (R, C); rounding may leave them a little below zero."""
    norms_RC = left_RD.square().sum(dim=1)[:, None] + right_CD.square().sum(dim=1)
    return torch.addmm(norms_RC, left_RD, right_CD.T, alpha=-2)


def _by_squared(
    left_RD: torch.Tensor, right_CD: torch.Tensor, slope_RC: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients by both sides of squared distances with gradient ``slope_RC``: no table but that one is read."""
    by_left_RD = slope_RC.sum(dim=1)[:, None] * left_RD - slope_RC @ right_CD
    by_right_CD = slope_RC.sum(dim=0)[:, None] * right_CD - slope_RC.T @ left_RD
    return 2 * by_left_RD, 2 * by_right_CD


def _by_l1(left_RD: torch.Tensor, right_CD: torch.Tensor, slope_RC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of L1 distances, which are computed again."""
    with torch.enable_grad():
        left_RD, right_CD = left_RD.detach().requires_grad_(), right_CD.detach().requires_grad_()
        by_left_RD, by_right_CD = torch.autograd.grad(
            torch.cdist(left_RD, right_CD, p=1), (left_RD, right_CD), slope_RC
        )
    return by_left_RD, by_right_CD


def _kernels(
    distance_RC: torch.Tensor, base: torch.Tensor, ratios: tuple[float, ...], wants: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Sum of exp(-base · ratio · distance), and of these times their ratio; a ratio twice the last costs no exp."""
    power_RC = torch.exp(distance_RC * -base)
    sum_RC = power_RC.clone()
    slope_RC = power_RC.clone() if wants else None
    for before, ratio in itertools.pairwise(ratios):
        squarings = math.log2(ratio / before)
        if squarings.is_integer():
            for _ in range(int(squarings)):
                power_RC.square_()
        else:
            power_RC = torch.exp(distance_RC * (-base * ratio))
        sum_RC += power_RC
        if slope_RC is not None:
            slope_RC.add_(power_RC, alpha=ratio)
    return sum_RC, slope_RC


def _rows_at_once(columns: int, device: torch.device) -> int:
    return max(_PAIRS_AT_ONCE["cpu" if device.type == "cpu" else "other"] // columns, 16)
