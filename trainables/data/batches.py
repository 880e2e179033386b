"""Rows in batches: plain tensor indexing, in order or shuffled by a generator."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from trainables.data.splits import Rows


@dataclass(frozen=True)
class Batch:
    """B rows on one device."""

    history_BL: torch.Tensor
    """int64, left-padded with 0."""
    target_B: torch.Tensor
    """int64."""
    user_B: torch.Tensor
    """int64."""

    def __len__(self) -> int:
        return len(self.target_B)


def batches(
    rows: Rows, batch_size: int, generator: torch.Generator | None = None, device: str | torch.device = "cpu"
) -> Iterator[Batch]:
    """Yield every row once, the last batch as short as it must be.

    Args:
        rows: what to go through.
        batch_size: rows per batch.
        generator: shuffles (one draw per pass, made on its own device); None goes in order, as evaluation does.
        device: where the batches live.
    """
    history_NL, target_N, user_N = (
        torch.from_numpy(column).to(device) for column in (rows.history_NL, rows.target_N, rows.user_N)
    )
    order_N = None
    if generator is not None:
        order_N = torch.randperm(len(rows), generator=generator, device=generator.device).to(device)
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        index = part if order_N is None else order_N[part]
        yield Batch(history_NL[index].long(), target_N[index].long(), user_N[index].long())
