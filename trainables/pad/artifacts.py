"""Artifacts of a finished trial besides its ranks: its gate's weights, and Figures 3, 6 and 7 where it has the tables.

Each file is a CSV whose first column is the horizontal axis, and the driver draws it. Large data are sampled from the
trial's seed, so that all files take a second or two whatever the data set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from trainables.data.splits import Rows
from trainables.pad.buckets import buckets, groups
from trainables.pad.compose import Method
from trainables.pad.config import ALIGNED, BUCKETS, GROUPS, ID, TEXT
from trainables.pad.diagnostics import distance_histograms, gate_weights, history_pairs, kendall_tau
from trainables.pad.experts import FusedItems, JoinedItems
from trainables.seqrec.curves import Words, write_curves
from trainables.seqrec.items import IdItems, Items
from trainables.seqrec.randomness import seed_for
from trainables.seqrec.text import TextItems
from trainables.trial import Trial

ROWS = 20_000
"""Training rows whose pairs of items are looked at, drawn where there are more."""

PAIRS = 10_000
"""Pairs of a bucket up to which its Kendall's tau is exact; of so many drawn ones its standard error is below .007."""

DISTANCES = 100_000
"""Pairs of a group's items up to which its histograms hold all."""

LEAST_ITEMS = 5
"""Items of a group that have a pair in each tail of a tenth."""


_BUCKET = "bucket of items, 1 the most often met"
GATE = Words(
    title="Weights of the gate",
    x=_BUCKET,
    y="mean weight of an expert",
    caption="Mean over the items of a bucket; all buckets hold about as many interactions.",
)
TAU = Words(
    title="Order kept by alignment",
    x=_BUCKET,
    y="Kendall's tau",
    caption="Agreement of two tables on which pairs of items lie nearer (Figure 6); 1 is full agreement.",
)
DISTANCE = Words(
    title="Distances",
    x="Euclidean distance",
    y="share of pairs",
    caption="The nearest and the farthest tenth of pairs by IDs (Figures 3 and 7).",
)


@dataclass(frozen=True)
class Tables:
    """Item vectors of one expert."""

    ids_ID: np.ndarray | None = None
    """Its ID embeddings."""
    text_ID: np.ndarray | None = None
    """Its vectors of the items' text."""
    frozen_IV: np.ndarray | None = None
    """The frozen text that these come from."""


def write_diagnostics(
    method: Method, items: JoinedItems, train: Rows, frequency_I: np.ndarray, trial: Trial
) -> dict[str, float]:
    """Write what the method has tables for, after its last phase; return a summary.

    * ``gate_weights.csv``: the mean weight of each expert, a bucket.
    * ``kendall_tau.csv`` (Figure 6), a bucket of the target: ``<expert>_ids`` compares phase 1's ID embeddings with an
      expert's final ones, ``<expert>_text`` the frozen text with an expert's vectors of it.
    * ``distances_<group>_ids.csv`` and ``distances_<group>_text.csv`` (Figures 3 and 7), for cold and warm items: where
      the nearest and the farthest tenth of pairs by ID distance lie. Both tables are the aligned expert's, or, without
      one, the ID expert's and the text expert's, or what CTRL matched IDs with; a group of fewer than five items has no
      such files.

    Args:
        method: the experts by name, trained since, and what phase 1 gave.
        items: the same, joined.
        train: training rows.
        frequency_I: int64, how often each item is met there.
        trial: seed, and keeper of the files.

    Returns:
        ``trial/tau_<expert>_<table>``, means over the buckets that have a value, and ``trial/separation_<group>``: the
        chance that a pair far apart by IDs is farther apart by text than one near by IDs.
    """
    with torch.inference_mode():
        if items.gate is not None:
            write_gate(items, tuple(method.experts), trial)
        by_expert = {name: tables(expert_items) for name, (expert_items, _) in method.experts.items()}
        if method.text is not None:
            by_expert[TEXT] = tables(method.text)
    first_ID = None if method.first is None else np.asarray(method.first["item.table_ID"])
    summary = write_tau(list(_compared(by_expert, first_ID)), train, buckets(frequency_I, BUCKETS), trial)
    return summary | write_distances(by_expert, groups(frequency_I), trial)


def write_gate(items: JoinedItems, names: tuple[str, ...], trial: Trial) -> None:
    """Write the gate's mean weights over each bucket's items."""
    assert items.gate is not None
    vectors = [expert.rows() for expert in items.experts]  # type: ignore[operator]
    weight_BE = gate_weights(items.gate(vectors, items.bucket_I).cpu().numpy(), items.bucket_I.cpu().numpy())
    axis = ("bucket", np.arange(1, len(weight_BE) + 1))
    write_curves(trial.artifact("gate_weights.csv"), axis, dict(zip(names, weight_BE.T, strict=True)), GATE)


def tables(items: Items) -> Tables:
    """The tables behind an expert's item vectors; none where these are of another kind."""
    match items:
        case IdItems():
            return Tables(ids_ID=_array(items.rows()))
        case TextItems():
            return Tables(text_ID=_array(items.rows()), frozen_IV=_array(items.text_IV))
        case FusedItems():
            text = tables(items.text)
            return Tables(_array(items.ids.rows()), text.text_ID, text.frozen_IV)
    return Tables()


def write_tau(
    compared: list[tuple[str, np.ndarray, np.ndarray]], train: Rows, bucket_I: np.ndarray, trial: Trial
) -> dict[str, float]:
    """Write Kendall's tau of two tables a column; return the columns' means.

    Args:
        compared: name of the column, the table before, the table after.
        train: training rows, which say what pairs of items there are.
        bucket_I: int64, of each item.
        trial: seed, and keeper of the file.
    """
    if not compared:
        return {}
    one_a_user = len(np.unique(train.user_N)) == len(train)
    if len(train) > ROWS:
        random = np.random.default_rng(seed_for(trial.seed, "diagnostics"))
        train = train.take(np.sort(random.choice(len(train), ROWS, replace=False)))
    pairs = history_pairs(train, every_position=one_a_user)
    taus = {
        name: kendall_tau(before_IX, after_IX, pairs, bucket_I, seed=trial.seed, most=PAIRS)
        for name, before_IX, after_IX in compared
    }
    axis = ("bucket", np.arange(1, int(bucket_I.max()) + 1))
    write_curves(trial.artifact("kendall_tau.csv"), axis, taus, TAU)
    held = {name: tau_B[~np.isnan(tau_B)] for name, tau_B in taus.items()}
    return {f"trial/tau_{name}": float(tau_X.mean()) for name, tau_X in held.items() if len(tau_X)}


def write_distances(by_expert: Mapping[str, Tables], group_I: np.ndarray, trial: Trial) -> dict[str, float]:
    """Write the histograms of cold and warm items; return how well the text tells near pairs from far ones.

    Args:
        by_expert: tables by expert.
        group_I: int64, of each item, from 1 in the order of ``GROUPS``.
        trial: seed, and keeper of the files.
    """
    nothing = Tables()
    aligned = by_expert.get(ALIGNED, nothing)
    ids_ID, text_ID = aligned.ids_ID, aligned.text_ID
    if ids_ID is None or text_ID is None:
        ids_ID, text_ID = by_expert.get(ID, nothing).ids_ID, by_expert.get(TEXT, nothing).text_ID
    if ids_ID is None or text_ID is None:
        return {}
    summary = {}
    for group in ("cold", "warm"):
        items_N = np.flatnonzero(group_I == 1 + GROUPS.index(group))
        if len(items_N) < LEAST_ITEMS:
            continue
        by_ids, by_text = distance_histograms(ids_ID, text_ID, items_N, seed=trial.seed, most=DISTANCES)
        for table, histograms in (("ids", by_ids), ("text", by_text)):
            curves = {"nearest": histograms.nearest_H, "farthest": histograms.farthest_H}
            words = replace(DISTANCE, title=f"{DISTANCE.title}: {group} items by {table}")
            axis = ("distance", histograms.middle_H)
            write_curves(trial.artifact(f"distances_{group}_{table}.csv"), axis, curves, words)
        summary[f"trial/separation_{group}"] = by_text.separation
    return summary


def _compared(
    by_expert: Mapping[str, Tables], first_ID: np.ndarray | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for name, expert in by_expert.items():
        if first_ID is not None and expert.ids_ID is not None:
            yield f"{name}_ids", first_ID, expert.ids_ID
        if expert.text_ID is not None and expert.frozen_IV is not None:
            yield f"{name}_text", expert.frozen_IV, expert.text_ID


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
