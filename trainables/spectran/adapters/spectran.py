"""SpecTran's adapter: item vectors as a learnable mixture of spectral components (equations 6-11).

The paper has no public code. Where it is silent the defaults are: Taylor coefficients shared by all components
(equation 10 has no index on them), one scalar threshold for phi, and IDs joined by addition, which is what its
parameter count fits.
"""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from trainables.seqrec.items import IdItems, Items, Lookup, TableLookup, candidate_dots
from trainables.seqrec.layers import normal, unpack
from trainables.seqrec.text import mapped
from trainables.spectran.adapters import config
from trainables.spectran.adapters.ingredients import Ingredients
from trainables.spectran.spectrum import spectrum

Position = Literal["taylor", "singular_values", "identity", "none"]

QUERY_KEY_STD = 0.1
"""Of the first Q and K (§4.1.5)."""

GATHER_COST = 20
"""Multiplications of a matrix product that take as long as reading one number of a row of U for one candidate, forward
and backward (tests/benchmarks/adapters.py)."""


class SpectralItems(nn.Module, Items):
    """ID embeddings fused with the text's spectrum: E_item = Fusion(E_s, E_id) (equation 6).

    Args:
        left_IR: U, float32, row 0 (padding) zero. Not part of the checkpoint.
        singular_R: singular values, descending.
        dim: D, columns of an item vector.
        attention: whether phi(Q K^T) takes part (equation 7).
        inner_width: k, columns of Q and K.
        position: what stands on the diagonal of A (equation 8).
        taylor_order: n of equation 10, for position ``taylor``.
        coefficients: whether all components share the Taylor coefficients (as equation 10 is written), or each has
            its own.
        threshold: whether phi has one threshold, or one for each row of Q K^T.
        threshold_start: the threshold's first value (the paper: 0).
        learn_threshold: whether it is trained (as the paper does).
        id_width: columns of the ID embeddings.
        beside: the IDs are the last columns and E_s the others (fusion by concatenation); else they are added onto
            the last, weakest of E_s's D columns (all of them where ``id_width`` is ``dim``).
        generator: draws the initial weights.

    Raises:
        ValueError: the text has fewer spectral components than E_s has columns.
    """

    computed = True
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
        coefficients: Literal["shared", "component"] = "shared",
        threshold: Literal["scalar", "row"] = "scalar",
        threshold_start: float = 0.0,
        learn_threshold: bool = True,
        id_width: int,
        beside: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_items, rank = left_IR.shape
        self.width, self.columns, self.position = dim, dim - id_width if beside else dim, position
        if self.columns > rank:
            raise ValueError(
                f"dim must be at most the rank of the text vectors, but got dim {dim} and rank {rank}; "
                "lower dim or use wider text vectors (data.text, data.text_width)"
            )
        self.register_buffer("left_IR", left_IR, persistent=False)
        self.register_buffer("singular_R", singular_R, persistent=False)
        self.id_IC = normal(self.num_items, id_width, generator=generator)
        with torch.no_grad():
            self.id_IC[0] = 0
        self.query_DK: nn.Parameter | None = None
        if attention:
            self.query_DK = normal(self.columns, inner_width, generator=generator, std=QUERY_KEY_STD)
            self.key_RK = normal(rank, inner_width, generator=generator, std=QUERY_KEY_STD)
            start = torch.full((self.columns, 1) if threshold == "row" else (), threshold_start)
            self.threshold = nn.Parameter(start, requires_grad=learn_threshold)
        if position == "taylor":
            rows = (self.columns,) if coefficients == "component" else ()
            self.taylor_N = nn.Parameter(torch.ones(*rows, taylor_order + 1))

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        """See :meth:`Items.rows`."""
        left_NR, id_NC = (
            x if index_N is None else functional.embedding(index_N, x) for x in (self.left_IR, self.id_IC)
        )
        return self.fuse(self.semantic(left_NR), id_NC)

    def lookup(self, needed_N: torch.Tensor | None = None) -> Lookup:
        """See :meth:`Items.lookup`; reads single rows of U where that is cheaper than mixing all of them."""
        few = needed_N is not None and len(needed_N) * GATHER_COST < self.num_items * self.columns
        return SpectralLookup(self) if few and self.query_DK is not None else TableLookup(self.rows())

    def fuse(self, semantic_ND: torch.Tensor, id_NC: torch.Tensor) -> torch.Tensor:
        """E_item, (N, D), of E_s and E_id: equation 6."""
        if self.columns < self.width:
            return torch.cat([semantic_ND, id_NC], dim=1)
        pad = self.width - id_NC.shape[1]
        return semantic_ND + (functional.pad(id_NC, (pad, 0)) if pad else id_NC)

    def semantic(self, left_NR: torch.Tensor | None = None) -> torch.Tensor:
        """E_s, (N, D), of rows of U, by default all: equation 11."""
        if left_NR is None:
            left_NR = self.left_IR
        if self.query_DK is None:
            return left_NR[:, : self.columns] * self.diagonal()
        return left_NR @ self.mixture().T

    def mixture(self) -> torch.Tensor:
        """phi(Q K^T) + A, (D, R): what stands in the brackets of equation 11."""
        diagonal_DD = torch.diag(self.diagonal())
        if self.query_DK is None:
            return functional.pad(diagonal_DD, (0, self.left_IR.shape[1] - self.columns))
        mixture_DR = softshrink(self.query_DK @ self.key_RK.T, nonnegative(self.threshold))
        return mixture_DR + functional.pad(diagonal_DD, (0, mixture_DR.shape[1] - self.columns))

    def diagonal(self) -> torch.Tensor:
        """The diagonal of D_d(Sigma_d), (D,): equation 9, or what an ablation of Table 3 puts there."""
        singular_D = self.singular_R[: self.columns]
        if self.position == "taylor":
            return taylor(singular_D, self.taylor_N)
        if self.position == "singular_values":
            return singular_D
        return torch.full_like(singular_D, 1.0 if self.position == "identity" else 0.0)


def make(settings: config.SpecTran, on: Ingredients) -> SpectralItems | IdItems:
    """The items of ``adapter.name: spectran``."""
    inputs = {"text": on.text, "center": settings.center, "normalise": settings.normalise}
    result = on.stages.get(spectrum, inputs)
    left_IR = mapped(result["left_IR"])
    items = SpectralItems(
        left_IR,
        mapped(result["singular_R"]),
        dim=on.dim,
        attention=settings.attention,
        inner_width=settings.inner_width,
        position=settings.position,
        taylor_order=settings.taylor_order,
        coefficients=settings.coefficients,
        threshold=settings.threshold,
        threshold_start=settings.threshold_start,
        learn_threshold=settings.learn_threshold,
        id_width=settings.null_width if settings.fusion in ("null_space", "concat") else on.dim,
        beside=settings.fusion == "concat",
        generator=on.generator,
    )
    if settings.fusion != "init":
        return items
    with torch.no_grad():
        return IdItems(len(left_IR), on.dim, generator=on.generator, initial_ID=items.semantic(left_IR))


class SpectralLookup:
    """Item vectors of which a step needs few: E_s is mixed for the history alone, candidates are scored in U's space.

    A candidate's score with a state h is h · (M u) = (M^T h) · u, so that one (D, R) product a state replaces one a
    candidate, and only the candidates' rows of U are read.

    Args:
        items: with attention; its mixture M is computed once here.
    """

    def __init__(self, items: SpectralItems) -> None:
        self.items = items
        self.mixture_DR = items.mixture()

    def vectors(self, index: torch.Tensor) -> torch.Tensor:
        """See :meth:`Lookup.vectors`; padding is zero and costs nothing."""
        place_T = index.flatten().nonzero().squeeze(1)
        item_T = index.flatten()[place_T]
        vector_TD = self._of(item_T)
        return unpack(vector_TD, place_T, index.numel()).view(*index.shape, -1)

    def scores(self, state_NW: torch.Tensor, candidate_NS: torch.Tensor, *, cosine: bool = False) -> torch.Tensor:
        """See :meth:`Lookup.scores`; the cosine needs every candidate's length and with it the vectors themselves."""
        items = self.items
        if cosine:
            vector_NSW = functional.normalize(self._of(candidate_NS.flatten()), dim=1).view(*candidate_NS.shape, -1)
            return torch.bmm(vector_NSW, functional.normalize(state_NW, dim=1)[:, :, None]).squeeze(2)
        state_NW = state_NW / math.sqrt(items.width)
        text_NS = candidate_dots(state_NW[:, : items.columns] @ self.mixture_DR, items.left_IR, candidate_NS)
        first = items.width - items.id_IC.shape[1]
        return text_NS + candidate_dots(state_NW[:, first:].contiguous(), items.id_IC, candidate_NS)

    def _of(self, item_T: torch.Tensor) -> torch.Tensor:
        items = self.items
        semantic_TD = functional.embedding(item_T, items.left_IR) @ self.mixture_DR.T
        return items.fuse(semantic_TD, functional.embedding(item_T, items.id_IC))


def taylor(singular_D: torch.Tensor, coefficient_N: torch.Tensor) -> torch.Tensor:
    """sigma_1 * sum_j alpha_j (sigma_i / sigma_1)^j for j = 0..n, (D,): equation 10 and the rescaling after it.

    Args:
        singular_D: singular values, the largest first.
        coefficient_N: alpha_0..alpha_n, or (D, n + 1) of each component's own.
    """
    power_N = torch.arange(coefficient_N.shape[-1], device=singular_D.device)
    return singular_D[0] * ((singular_D / singular_D[0])[:, None] ** power_N * coefficient_N).sum(dim=1)


def softshrink(x: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """sign(x) * max(|x| - threshold, 0), differentiable in both, also at threshold 0.

    Args:
        x: any shape.
        threshold: at least 0, broadcast against ``x``.
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
