"""Parts that several recommenders are made of.

Shapes, here and in every file of recommenders: B batch, L history length, D width, I items incl. padding 0,
K negatives, V text width, R spectral rank, T tokens (the positions of a batch that hold an item), H heads.
"""

import math

import torch
from torch import nn
from torch.nn import functional

INIT_STD = 0.02
"""Standard deviation of initial weights. N(0, 1) item tables halve the metrics (measured on Office)."""

_LEVELS = 1 << 16


def normal(*shape: int, generator: torch.Generator, std: float = INIT_STD) -> nn.Parameter:
    """A parameter of ``shape`` drawn from N(0, std^2) by ``generator``."""
    return nn.Parameter(torch.empty(shape).normal_(std=std, generator=generator))


def linear(width_in: int, width_out: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with weights from N(0, .02^2) and no bias at the start."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, width_in, width_out)
    with torch.no_grad():
        layer.weight.normal_(std=INIT_STD, generator=generator)
        layer.bias.zero_()
    return layer


def deep_linear(width_in: int, width_out: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer that keeps the length of what passes (xavier-normal), for stacks without a norm or a residual.

    Weights from N(0, .02^2) would shrink it tenfold a layer: five leave vectors of length .001 (infra/decisions/0005).
    """
    layer = linear(width_in, width_out, generator)
    nn.init.xavier_normal_(layer.weight, generator=generator)
    return layer


def fan_in_std(inputs: int) -> float:
    """The standard deviation that torch gives the weights of a sum over ``inputs`` numbers."""
    return math.sqrt(1 / (3 * inputs))


class Dropout(nn.Module):
    """Dropout whose mask costs a tenth of ``nn.Dropout``'s on a CPU, where drawing it outweighs the layer around it.

    One 64-bit draw serves four units, so the rate is rounded to 1/65536. Other devices use torch's own kernel.

    Args:
        rate: share of units set to zero, below 1; the others are scaled so that the expectation stays.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` of any shape, with units dropped while training."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.rate)
        dropped = min(round(self.rate * _LEVELS), _LEVELS - 1)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        level = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = (level >= dropped - _LEVELS // 2).view(torch.uint8)  # bytes become floats in a tenth of bools' time
        return x * (kept * (_LEVELS / (_LEVELS - dropped)))


def pack(x_ND: torch.Tensor, index_T: torch.Tensor) -> torch.Tensor:
    """Rows ``index_T`` of ``x_ND``, no index twice, as (T, D)."""
    packed: torch.Tensor = _Pack.apply(x_ND, index_T)
    return packed


def unpack(x_TD: torch.Tensor, index_T: torch.Tensor, rows: int) -> torch.Tensor:
    """``x_TD`` put back at rows ``index_T`` of an otherwise zero (rows, D)."""
    return x_TD.new_zeros(rows, x_TD.shape[1]).index_copy_(0, index_T, x_TD)


class _Pack(torch.autograd.Function):
    """``index_select`` whose gradient is a copy: no index comes twice, so nothing has to be added up."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x_ND: torch.Tensor, index_T: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(index_T)
        ctx.rows = x_ND.shape[0]  # type: ignore[attr-defined]
        return x_ND.index_select(0, index_T)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad_TD: torch.Tensor) -> tuple[torch.Tensor, None]:
        (index_T,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return unpack(grad_TD, index_T, ctx.rows), None  # type: ignore[attr-defined]
