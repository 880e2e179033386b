"""A counting floor: count the training parts once, then rank both splits."""

from collections.abc import Callable

import numpy as np
import torch

from trainables.data.batches import Batch
from trainables.data.sequences import load
from trainables.data.splits import Rows, split
from trainables.data.tags import tag_data
from trainables.floors.config import Config
from trainables.floors.counts import Counts, count, popularity_scores, transition_scores
from trainables.seqrec.config import TOP_K
from trainables.seqrec.evaluate import rank_rows, report_test
from trainables.seqrec.metrics import Shown, ranking_metrics
from trainables.seqrec.recommend import Recommender, Saved
from trainables.trial import Trial


def run(config: Config, trial: Trial) -> None:
    """Report validation, then the test split, both as step 0. `ranks.npy` holds the test ranks.

    >>> from pathlib import Path
    >>> from trainables.trial import LocalTrial
    >>> trial = LocalTrial(Path("trial"))
    >>> run(Config(method="popularity"), trial)  # on the built-in data set
    >>> [(step, "valid/ndcg_10" in metrics, "test/ndcg_10" in metrics) for step, metrics in trial.reports]
    [(0, True, False), (0, False, True)]

    Raises:
        DataError: the data set cannot be used.
    """
    sequences = load(config.data, trial.stages)
    splits = split(sequences, config.data)
    tag_data(trial, sequences, splits, config.data)
    counts = count(sequences, splits.train)
    score = scorer(config, counts)

    def ranks(rows: Rows, shown: Shown | None = None) -> np.ndarray:
        return rank_rows(score, rows, sequences, mask_seen=config.data.mask_seen, shown=shown)

    if trial.load() is None:
        trial.report(0, ranking_metrics("valid", ranks(splits.valid), TOP_K), last=True)
        trial.save({"validated": True})
    report_test(trial, splits.test, ranks, step=0, scoring=counts.tensors(), sequences=sequences, train=splits.train)


def scorer(config: Config, counts: Counts) -> Callable[[Batch], torch.Tensor]:
    """A function from a batch on the CPU to float64 scores (B, I) that the caller may change."""

    def score(batch: Batch) -> torch.Tensor:
        if config.method == "popularity":
            return torch.from_numpy(popularity_scores(counts, len(batch)))
        return torch.from_numpy(transition_scores(counts, batch.history_BL.numpy(), config.window, config.decay))

    return score


def recommender(config: Config, saved: Saved, device: str) -> Recommender:
    """The recommender that a trial of ``config`` saved; it scores on the CPU."""
    return Recommender(score=scorer(config, Counts.of(saved.scoring)), max_history=config.data.max_history)
