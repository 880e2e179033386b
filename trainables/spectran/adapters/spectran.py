"""SpecTran's adapter: item vectors as a learnable mixture of spectral components (equations 6-11).

The paper has no public code. Where it is silent: the Taylor coefficients are shared by all components (equation 10 has
no index on them), phi's threshold is one scalar, and IDs join by addition, which is what its parameter count fits.
"""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from trainables.seqrec.layers import normal

Position = Literal["taylor", "singular_values", "identity", "none"]

QUERY_KEY_STD = 0.1


class SpectralItems(nn.Module):
    """ID embeddings fused with the text's spectrum: E_item = Fusion(E_s, E_id) (equation 6).

    Args:
        left_IR: U, float32, row 0 (padding) zero. Not part of the checkpoint.
        singular_R: singular values, descending.
        dim: d, at most R.
        attention: whether phi(Q K^T) takes part (equation 7).
        inner_width: k, columns of Q and K.
        position: what stands on the diagonal of A (equation 8).
        taylor_order: n of equation 10, for position ``taylor``.
        id_width: columns of the ID embeddings, added onto the last, weakest of the d dimensions; ``dim`` for all.
        generator: draws the initial weights.

    Raises:
        ValueError: the text has fewer than ``dim`` spectral components.
    """

    left_IR: torch.Tensor
    singular_R: torch.Tensor

    def __init__(
        self,
        left_IR: torch.Tensor,
        singular_R: torch.Tensor,
        *,
        dim: int,
        attention: bool = True,
        inner_width: int = 64,
        position: Position = "taylor",
        taylor_order: int = 3,
        id_width: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        num_items, rank = left_IR.shape
        if dim > rank:
            raise ValueError(
                f"dim must be at most the rank of the text vectors, but got dim {dim} and rank {rank}; "
                "lower dim or use wider text vectors (data.text, data.text_width)"
            )
        self.dim, self.position = dim, position
        self.register_buffer("left_IR", left_IR, persistent=False)
        self.register_buffer("singular_R", singular_R, persistent=False)
        self.id_IW = normal(num_items, id_width, generator=generator)
        with torch.no_grad():
            self.id_IW[0] = 0
        self.query_DK: nn.Parameter | None = None
        if attention:
            self.query_DK = normal(dim, inner_width, generator=generator, std=QUERY_KEY_STD)
            self.key_RK = normal(rank, inner_width, generator=generator, std=QUERY_KEY_STD)
            self.threshold = nn.Parameter(torch.zeros(()))
        if position == "taylor":
            self.taylor_N = nn.Parameter(torch.ones(taylor_order + 1))

    def forward(self) -> torch.Tensor:
        """All item vectors, (I, D)."""
        semantic_ID = self.semantic()
        pad = self.dim - self.id_IW.shape[1]
        return semantic_ID + (functional.pad(self.id_IW, (pad, 0)) if pad else self.id_IW)

    def semantic(self) -> torch.Tensor:
        """E_s, (I, D): equation 11."""
        if self.query_DK is None:
            return self.left_IR[:, : self.dim] * self.diagonal()
        mixture_DR = softshrink(self.query_DK @ self.key_RK.T, nonnegative(self.threshold))
        diagonal_DD = torch.diag(self.diagonal())
        mixture_DR = mixture_DR + functional.pad(diagonal_DD, (0, mixture_DR.shape[1] - self.dim))
        return self.left_IR @ mixture_DR.T

    def diagonal(self) -> torch.Tensor:
        """The diagonal of D_d(Sigma_d), (D,): equation 9, or what an ablation of Table 3 puts there."""
        singular_D = self.singular_R[: self.dim]
        if self.position == "taylor":
            return taylor(singular_D, self.taylor_N)
        if self.position == "singular_values":
            return singular_D
        return torch.full_like(singular_D, 1.0 if self.position == "identity" else 0.0)


def taylor(singular_D: torch.Tensor, coefficient_N: torch.Tensor) -> torch.Tensor:
    """sigma_1 * sum_j alpha_j (sigma_i / sigma_1)^j for j = 0..n, (D,): equation 10 and the rescaling after it.

    Args:
        singular_D: singular values, the largest first.
        coefficient_N: alpha_0..alpha_n.
    """
    power_N = torch.arange(len(coefficient_N), device=singular_D.device)
    return singular_D[0] * ((singular_D / singular_D[0])[:, None] ** power_N) @ coefficient_N


def softshrink(x: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """sign(x) * max(|x| - threshold, 0), differentiable in both, also at threshold 0.

    Args:
        x: any shape.
        threshold: scalar, at least 0.
    """
    return torch.sign(x) * functional.relu(x.abs() - threshold)


def nonnegative(parameter: torch.Tensor) -> torch.Tensor:
    """``max(parameter, 0)`` that can leave zero again: below it, only a gradient that lowers it further is stopped."""
    clamped: torch.Tensor = _NonNegative.apply(parameter)
    return clamped


class _NonNegative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, parameter: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(parameter)
        return parameter.clamp(min=0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> torch.Tensor:
        (parameter,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.where((parameter > 0) | (grad < 0), grad, 0.0)
