"""The cost of PAD's alignment beside one table of distances of the same vectors: `torch.cdist` of all rows with all.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.mmd

672 rows per side, as for a batch of 16 users in the released code (16 · 21 positions · positive and negative). Rounds
are interleaved so that a busy machine slows all alike. The quickest counts. `value` runs without gradients, `step` with
those of both sides. Laplacian's peer is the L1 table, everyone else's the Euclidean one.
"""

import argparse
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from trainables.pad.contrast import info_nce
from trainables.pad.mmd import mmd

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def table_of(p: float) -> Loss:
    """Distances of all rows of both sides with all, as a loss."""

    def distances(source_ND: torch.Tensor, target_ND: torch.Tensor) -> torch.Tensor:
        both = torch.cat([source_ND, target_ND])
        return torch.cdist(both, both, p=p)

    return distances


LOSSES: dict[str, tuple[Loss, str]] = {
    "cdist": (table_of(2), "cdist"),
    "cdist, L1": (table_of(1), "cdist, L1"),
    "gaussian": (mmd, "cdist"),
    "gaussian, 3 literal widths": (lambda s, t: mmd(s, t, bandwidths=(4, 7, 15)), "cdist"),
    "laplacian": (lambda s, t: mmd(s, t, kernel="laplacian"), "cdist, L1"),
    "linear": (lambda s, t: mmd(s, t, kernel="linear"), "cdist"),
    "cosine": (lambda s, t: mmd(s, t, kernel="cosine"), "cdist"),
    "info_nce": (info_nce, "cdist"),
}


def seconds(loss: Loss, source_ND: torch.Tensor, target_ND: torch.Tensor, *, step: bool) -> float:
    """Of one call; with its gradients where ``step``."""
    sides = [side.detach().requires_grad_(step) for side in (source_ND, target_ND)]
    synchronise(source_ND.device)
    started = time.perf_counter()
    value = loss(*sides)
    if step:
        value.sum().backward()
    synchronise(source_ND.device)
    return time.perf_counter() - started


def synchronise(device: torch.device) -> None:
    """Wait for what a GPU still computes."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=672)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    source_ND = torch.randn(arguments.rows, arguments.width, generator=generator).to(device)
    target_ND = (torch.randn(arguments.rows, arguments.width, generator=generator) + 0.3).to(device)
    best = {(name, step): float("inf") for name in LOSSES for step in (False, True)}
    for _ in range(arguments.rounds):
        for (name, step), before in best.items():
            best[name, step] = min(before, seconds(LOSSES[name][0], source_ND, target_ND, step=step))
    table = Table(title=f"2 x {arguments.rows} rows of width {arguments.width}, {device}")
    for column in ("loss", "value ms", "÷ cdist", "step ms", "÷ cdist with gradients", "÷ cdist's value"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    for name, (_, peer) in LOSSES.items():
        plain, full, peer_plain = best[name, False], best[name, True], best[peer, False]
        texts = [f"{ratio:.2f}" for ratio in (plain / peer_plain, full / best[peer, True], full / peer_plain)]
        table.add_row(name, f"{1e3 * plain:.1f}", texts[0], f"{1e3 * full:.1f}", *texts[1:])
    Console().print(table)


if __name__ == "__main__":
    main()
