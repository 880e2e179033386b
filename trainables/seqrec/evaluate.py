"""Full ranking: the target's rank among all items for every row of a split, and the report of the test split."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from trainables.data.batches import Batch, batches
from trainables.data.sequences import Sequences
from trainables.data.splits import History, Rows, seen_items, training_counts
from trainables.seqrec.config import TOP_K
from trainables.seqrec.metrics import Shown, ranking_metrics
from trainables.seqrec.recommend import write
from trainables.storage.mirror import WEIGHTS
from trainables.trial import Trial

_SCORES_AT_ONCE = 1 << 21

Score = Callable[[Batch], torch.Tensor]
"""From a batch to the scores (B, I) of all items, column 0 being the padding item."""


def rank_targets(
    score: Score,
    rows: Rows,
    *,
    num_items: int,
    device: str | torch.device = "cpu",
    seen: History | None = None,
    shown: Shown | None = None,
    batch_size: int | None = None,
) -> np.ndarray:
    """The rank of every row's target among the items 1..I-1, counted from 1.

    Ties count against the target, and so does a score that is not a number. Items that ``seen`` names are taken out
    of the ranking. A target among them ranks last, or stays if the rows' ``mask_target`` is False.

    Args:
        score: gives each batch's scores; called without gradients.
        rows: the split to rank.
        num_items: I, padding included.
        device: where the batches go.
        seen: items met before each row's target, in the rows' order; None takes none out.
        shown: counts the items that the rows' lists show; None counts nothing.
        batch_size: rows at once; by default as many as the scores leave room for.

    Returns:
        int32 (N,).
    """
    ranks, start = [], 0
    with torch.inference_mode():
        size = batch_size or min(max(_SCORES_AT_ONCE // num_items, 32), 4096)
        for batch in batches(rows, size, None, device):
            score_BI = score(batch)
            if seen is not None:
                row, item = seen.pairs(start, start + len(batch))
                if not rows.mask_target:
                    other = item != rows.target_N[start + row]
                    row, item = row[other], item[other]
                score_BI[torch.from_numpy(row).to(device), torch.from_numpy(item).to(device)] = -torch.inf
            if shown is not None:
                shown.add(score_BI)
            target_B1 = score_BI.gather(1, batch.target_B[:, None])
            ranks.append(num_items - 1 - (score_BI[:, 1:] < target_B1).sum(dim=1, dtype=torch.int32))
            start += len(batch)
    return torch.cat(ranks).cpu().numpy() if ranks else np.zeros(0, np.int32)


def rank_rows(
    score: Score,
    rows: Rows,
    sequences: Sequences,
    *,
    mask_seen: bool,
    shown: Shown | None = None,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
) -> np.ndarray:
    """:func:`rank_targets` among the items of ``sequences``.

    Args:
        score: see there.
        rows: a split of ``sequences``.
        sequences: all interactions.
        mask_seen: whether items that a row's user met before it are taken out (``data.mask_seen``).
        shown: see there.
        device: where the batches go.
        batch_size: see there.
    """
    seen = seen_items(sequences, rows) if mask_seen else None
    return rank_targets(
        score, rows, num_items=sequences.num_items, device=device, seen=seen, shown=shown, batch_size=batch_size
    )


def report_test(
    trial: Trial,
    rows: Rows,
    rank: Callable[[Rows, Shown | None], np.ndarray],
    *,
    step: int,
    top_k: Sequence[int] = TOP_K,
    weights: Mapping[str, torch.Tensor] | None = None,
    scoring: Mapping[str, torch.Tensor] | None = None,
    sequences: Sequences | None = None,
    train: Rows | None = None,
    trained: Iterable[torch.Tensor] = (),
    extra: Callable[[np.ndarray], Mapping[str, float]] | None = None,
) -> None:
    """Rank the test split once, and report it at the kept step; the only place that opens it.

    Artifacts: ``ranks.npy`` and, of a model, ``best.safetensors`` (:mod:`trainables.seqrec.recommend`). With the
    metrics of a trained model come ``trial/parameters`` and ``trial/inference_seconds``, of the ranking.

    Args:
        trial: where it reports.
        rows: the test split.
        rank: from rows, and what counts the items of their lists, to the ranks of their targets.
        step: the one whose weights are kept.
        top_k: cut-offs of the metrics.
        weights: the model's, by name; None where nothing was trained.
        scoring: what it needs beside them to score histories, by name; None for nothing.
        sequences: of the rows, whose items the model knows; None where no model is kept.
        train: the training rows, by which items are popular; None reports nothing of what lists show.
        trained: those that training changed, to be counted.
        extra: further metrics, from the ranks.
    """
    shown = Shown(training_counts(sequences, train), top_k) if sequences is not None and train is not None else None
    started = time.perf_counter()
    rank_N = rank(rows, shown)
    seconds = time.perf_counter() - started - (shown.seconds if shown else 0.0)
    metrics = ranking_metrics("test", rank_N, top_k)
    if shown:
        metrics |= shown.metrics("test")
    if weights is not None:
        count = sum(tensor.numel() for tensor in trained)
        metrics |= {"trial/parameters": count, "trial/inference_seconds": seconds}
    if trial.rank == 0:
        write_ranks(trial.artifact("ranks.npy"), rows, rank_N)
        if sequences is not None:
            write(trial.artifact(WEIGHTS), sequences, weights or {}, scoring or {})
    trial.report(step, {**metrics, **(extra(rank_N) if extra else {})})


def write_ranks(path: Path, rows: Rows, rank_N: np.ndarray) -> None:
    """Write one record a row, ``user`` and ``rank`` (int32 both), for paired comparisons of two methods."""
    table = np.empty(len(rows), dtype=[("user", np.int32), ("rank", np.int32)])
    table["user"], table["rank"] = rows.user_N, rank_N
    with path.open("wb") as stream:
        np.save(stream, table, allow_pickle=False)
