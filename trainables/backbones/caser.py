"""Caser: convolutions over the history as an image of items by columns (Tang and Wang, WSDM 2018).

A horizontal filter reads h items in a row, all columns: ReLU, then its strongest answer in the window. A vertical
filter is a weighted sum of the window's items, column by column. Both answers, dropped out, go through a dense layer
and a ReLU (``final_relu``) to the state. The window is ``max_history`` positions, zero where there is no item.

Where this departs from it: no user embedding (nor has PAD), one target a position, and scores are dot products with
the item vectors, not with a second table and its biases. Weights start as wide as torch starts them, variance
1 / (3 * inputs), normal instead of uniform, biases at zero. ``final_norm`` is off: no port has a norm, and states grow
without one as long as the scaled dot product wants them (see gru4rec.py).

Every position has a window of its own, that ends with it; PAD slides one over twenty zeros and the history. Here they
share the work:

* what a row of a filter answers to an item is the same in all windows that hold it: one product over the T tokens,
  then one shifted sum for each row of the tallest filter;
* a window's strongest answer is a running maximum of those; ReLU and bias keep their order and come after it;
* the vertical filters of all windows are one banded matrix over positions.

Shapes beside the usual ones: F horizontal filters, G their rows in all, C vertical filters. An answer is placed where
the filter's last row stands, so those above the window's first items reach into its zeros.
"""

import collections
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from trainables.backbones import config
from trainables.backbones.ingredients import Ingredients
from trainables.backbones.layout import Layout
from trainables.seqrec.layers import Dropout, fan_in_std, linear, normal
from trainables.seqrec.objectives import Reading, next_item


class Caser(nn.Module):
    """History vectors in, hidden states out.

    Args:
        dim: D.
        max_history: L, the width of the window.
        filters_horizontal: horizontal filters of each height.
        filters_vertical: C.
        heights: items that a horizontal filter reads, at most L each; None: 1 to L.
        final_relu: whether a ReLU follows the dense layer.
        final_norm: whether states leave a LayerNorm.
        dropout: rate on the filters' answers.
        generator: draws the initial weights.

    Raises:
        ValueError: a filter is higher than the window, or there is none.
    """

    def __init__(
        self,
        dim: int,
        max_history: int,
        *,
        filters_horizontal: int = 2,
        filters_vertical: int = 2,
        heights: tuple[int, ...] | None = None,
        final_relu: bool = True,
        final_norm: bool = False,
        dropout: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if heights is not None and not (heights and max(heights) <= max_history and min(heights) >= 1):
            raise ValueError(
                f"heights must lie in 1..max_history, at least one of them, but got {list(heights)} and max_history "
                f"{max_history}; leave out what is higher, or set heights to null"
            )
        self.max_history = max_history
        tallest_first = sorted(set(heights or range(1, max_history + 1)), reverse=True)
        self.height_F = [height for height in tallest_first for _ in range(filters_horizontal)]
        self.rows_at_age = [sum(height > age for height in self.height_F) for age in range(tallest_first[0])]
        inputs_G = [dim * height for rows in self.rows_at_age for height in self.height_F[:rows]]
        self.horizontal_GD = normal(len(inputs_G), dim, generator=generator, std=1.0)
        self.bias_F = nn.Parameter(torch.zeros(len(self.height_F)))
        self.vertical_CL = normal(filters_vertical, max_history, generator=generator, std=fan_in_std(max_history))
        self.bias_C = nn.Parameter(torch.zeros(filters_vertical))
        self.dropout = Dropout(dropout)
        self.dense = linear(len(self.height_F) + filters_vertical * dim, dim, generator)
        with torch.no_grad():
            self.horizontal_GD.mul_(torch.tensor([fan_in_std(inputs) for inputs in inputs_G])[:, None])
            self.dense.weight.normal_(std=fan_in_std(self.dense.in_features), generator=generator)
        self.final_relu = final_relu
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()

    def forward(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The state at every position, (B, L, D); zero where there is no item.

        Args:
            vectors_BLD: item vectors, the newest last; anything at padding. Up to ``max_history`` positions.
            mask_BL: bool, True where there is an item. The last position always counts as one.
        """
        layout = Layout(mask_BL)
        x_TD = layout.pack(vectors_BLD)
        answer_BFL = self._answers(x_TD, layout).transpose(1, 2)
        strongest = []
        for height, part_BFL in self._by_height(answer_BFL):
            before = self.max_history - height  # where the first windows begin in zeros, a filter's answer is zero
            strongest.append(functional.max_pool1d(functional.pad(part_BFL, (before, 0)), before + 1, stride=1))
        strongest_BLF = torch.cat(strongest, dim=1).transpose(1, 2)
        sums_BLE = self._sums(layout.unpack(x_TD), layout.length)
        return layout.unpack(self._leave(layout.pack(strongest_BLF), layout.pack(sums_BLE)))

    def last(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        """The state at the last position alone, (B, D): ``forward(...)[:, -1]`` for less work."""
        layout = Layout(mask_BL)
        x_TD = layout.pack(vectors_BLD)
        answer_BLF = self._answers(x_TD, layout)
        strongest = []
        for height, part_BLF in self._by_height(answer_BLF, dim=2):
            missing = self.max_history - height + 1 - layout.length  # answers to the zeros before the batch
            strongest_BF = part_BLF[:, max(0, -missing) :].amax(dim=1)
            strongest.append(strongest_BF.clamp(min=0) if missing > 0 else strongest_BF)
        sums_B1E = self._sums(layout.unpack(x_TD), 1)
        return self._leave(torch.cat(strongest, dim=1), sums_B1E.squeeze(1))

    def _answers(self, x_TD: torch.Tensor, layout: Layout) -> torch.Tensor:
        """What each horizontal filter says of the items that end at each position, without bias, (B, L, F)."""
        row_BLG = layout.unpack(functional.linear(x_TD, self.horizontal_GD))
        answer_BLF: torch.Tensor = _ShiftedSum.apply(row_BLG, self.rows_at_age)
        return answer_BLF

    def _by_height(self, answer: torch.Tensor, dim: int = 1) -> Iterator[tuple[int, torch.Tensor]]:
        """Each height with its filters' part of ``answer``, whose axis ``dim`` counts filters."""
        count_H = collections.Counter(self.height_F)
        return zip(count_H, answer.split(list(count_H.values()), dim=dim), strict=True)

    def _sums(self, x_BLD: torch.Tensor, windows: int) -> torch.Tensor:
        """What each vertical filter makes of the windows that end at the last positions, (B, windows, C * D)."""
        length = x_BLD.shape[1]
        place_L = torch.arange(length, device=x_BLD.device)
        age_WL = place_L[length - windows :, None] - place_L
        band_CWL = self.vertical_CL[:, -1 - age_WL.clamp(min=0)] * (age_WL >= 0)
        sums_BED = band_CWL.transpose(0, 1).flatten(0, 1) @ x_BLD + self.bias_C.repeat(windows)[:, None]
        return sums_BED.view(len(x_BLD), windows, -1)

    def _leave(self, strongest_NF: torch.Tensor, sums_NE: torch.Tensor) -> torch.Tensor:
        strongest_NF = functional.relu(strongest_NF + self.bias_F)  # both keep the order, so the maximum came first
        state_ND: torch.Tensor = self.dense(self.dropout(torch.cat([strongest_NF, sums_NE], dim=1)))
        state_ND = self.norm(functional.relu(state_ND) if self.final_relu else state_ND)
        return state_ND


def make(settings: config.Caser, on: Ingredients) -> tuple[Caser, Reading]:
    """The backbone of ``backbone.name: caser``, and what its training reads from a batch."""
    backbone = Caser(
        on.dim,
        on.max_history,
        filters_horizontal=settings.filters_horizontal,
        filters_vertical=settings.filters_vertical,
        heights=settings.heights,
        final_relu=settings.final_relu,
        final_norm=settings.final_norm,
        dropout=on.dropout,
        generator=on.generator,
    )
    return backbone, next_item(backbone)


class _ShiftedSum(torch.autograd.Function):
    """From each filter row's product at every position, newest rows first, to the filters' answers there.

    The row of age a meets the item a positions earlier. Filters come tallest first, so that those which have a row of
    some age stand in front. Written out because autograd would copy all answers once a row.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, row_BLG: torch.Tensor, rows_at_age: list[int]
    ) -> torch.Tensor:
        ctx.rows_at_age = rows_at_age  # type: ignore[attr-defined]
        newest_BLF, *older = torch.split(row_BLG, rows_at_age, dim=2)
        answer_BLF = newest_BLF.clone(memory_format=torch.contiguous_format)
        for age, row_BLF in enumerate(older[: row_BLG.shape[1] - 1], start=1):
            answer_BLF[:, age:, : row_BLF.shape[2]] += row_BLF[:, :-age]
        return answer_BLF

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad_BLF: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows_at_age: list[int] = ctx.rows_at_age  # type: ignore[attr-defined]
        rows, length, _ = grad_BLF.shape
        grad_BLG = grad_BLF.new_zeros(rows, length, sum(rows_at_age))
        for age, part_BLF in enumerate(grad_BLG.split(rows_at_age, dim=2)[:length]):
            part_BLF[:, : length - age] = grad_BLF[:, age:, : part_BLF.shape[2]]
        return grad_BLG, None
