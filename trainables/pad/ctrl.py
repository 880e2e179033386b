"""CTRL: item vectors that are first matched with text by contrast, then trained for the task (Li et al., 2023).

The original matches whole samples of click-through data with sentences made of them, under a maximum of similarities in
several sub-spaces. PAD's Table 2 has it for items: each item's ID embedding with a dense network of its text. Then the
text is dropped and the ID expert trained by BCE. Contrast leaves the backbone alone, which therefore starts afresh.

PAD's released class does something else, which is an option: BCE and a hundredth of InfoNCE at once, on IDs and text
fused, so that text takes part in the recommendation. It looks from text for IDs only, and takes an item that is twice
in a step for its own negative; the option keeps both.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.config import build, settings_of
from trainables.data.batches import Batch
from trainables.data.sequences import Sequences
from trainables.data.splits import Splits
from trainables.pad.alignment import drawn_once, step_items
from trainables.pad.config import CTRL, Config
from trainables.pad.contrast import info_nce
from trainables.pad.experts import FusedItems
from trainables.pad.phases import TEXT_READS, id_expert, shared, text_items
from trainables.pad.training import Penalty, Training
from trainables.seqrec.items import IdItems
from trainables.seqrec.text import TextItems
from trainables.storage.stages import Arrays, StageResult, stage
from trainables.trial import Trial

_UNREAD = (
    "backbone",
    "fit.dropout",
    *(f"data.{name}" for name in ("split_seed", "held_out_rows", "eval_rows", "mask_seen")),
)
READS = (*(name for name in TEXT_READS if name not in _UNREAD), "method.temperature", "method.rows")
"""Fields that the matching reads, which looks at no validation row; text vectors reach it as their stage."""

MATCHED = "valid/match_1"
"""The metric whose best epoch is kept: see :func:`match`."""


@stage(version=3)
def matched(
    data: str,
    settings: dict[str, Any],
    text: Mapping[str, np.ndarray],
    trial: Trial,
    sequences: Sequences,
    splits: Splits,
    folder: Path,
) -> Arrays:
    """Stage: CTRL's first phase, ID embeddings and a text network matched by InfoNCE.

    Args:
        data: fingerprint of ``sequences`` and of the training rows.
        settings: values of :data:`READS`.
        text: the text stage's ``vectors``.
        trial: where it reports, device and checkpoints.
        sequences: what ``data`` stands for.
        splits: of these, as ``data`` and the settings say.
        folder: for work that is not done.
    """
    config = build(Config, {**settings, "method.name": "ctrl"})
    method = config.method
    assert isinstance(method, CTRL)
    ids, _ = id_expert(config, sequences.num_items)
    texts = text_items(config, text["vectors"], "aligned text")
    model = nn.ModuleDict({"item": ids, "text": texts}).to(trial.device)
    drawn_N = drawn_once(ids.num_items, config.seed, "match")
    return Training(config, "pretrain", sequences, splits, trial, purpose="match").fit(
        model,
        both_ways(ids, texts, rows=method.rows, temperature=method.temperature),
        lambda: {MATCHED: match(ids, texts, drawn_N.to(trial.device))},
        MATCHED,
        folder,
    )


def matching(
    config: Config, trial: Trial, sequences: Sequences, splits: Splits, text: StageResult
) -> tuple[tuple[IdItems, nn.Module], StageResult]:
    """The ID expert with matched embeddings and a fresh backbone, and the phase that matched them."""
    inputs = {"data": splits.train_fingerprint, "settings": settings_of(config, READS), "text": text}
    first = shared(matched, inputs, trial.phase("phase1"), sequences, splits)
    ids, backbone = id_expert(config, sequences.num_items)
    with torch.no_grad():
        ids.table_ID.copy_(torch.from_numpy(np.array(first["item.table_ID"])))
    return (ids, backbone), first


def matched_text(config: Config, text: StageResult, first: StageResult) -> TextItems:
    """The text vectors that the phase before matched IDs with, without dropout; recommendation does without them."""
    items = text_items(config, text["vectors"], "aligned text")
    items.load_state_dict({name: torch.from_numpy(np.array(first[f"text.{name}"])) for name in items.state_dict()})
    return items.eval()


def both_ways(
    ids: IdItems, text: TextItems, *, rows: int, temperature: float
) -> Callable[[Batch, torch.Generator], torch.Tensor]:
    """InfoNCE of a step's items, half from text to IDs and half from IDs to text (CTRL, equations 4 to 6).

    Args:
        ids: free embeddings.
        text: vectors from text.
        rows: items of a step, of which the same ones are no negatives of each other.
        temperature: divides the cosines.
    """

    def loss(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        index_N = step_items(batch, ids.num_items, rows, generator)
        text_ND, id_ND = text.rows(index_N), ids.rows(index_N)
        forth = info_nce(text_ND, id_ND, temperature=temperature, item_N=index_N)
        back = info_nce(id_ND, text_ND, temperature=temperature, item_N=index_N)
        return (forth + back) / 2

    return loss


def beside(items: FusedItems, method: CTRL) -> Penalty:
    """``weight`` times InfoNCE from a step's texts to IDs, the loss beside BCE of the released class."""

    def penalty(batch: Batch, generator: torch.Generator) -> torch.Tensor:
        index_N = step_items(batch, items.num_items, method.rows, generator)
        text_ND, id_ND = items.text.rows(index_N), items.ids.rows(index_N)
        return method.weight * info_nce(text_ND, id_ND, temperature=method.temperature)

    return penalty


def match(ids: IdItems, text: TextItems, item_N: torch.Tensor) -> float:
    """Share of these items whose text has the highest cosine with its own ID embedding.

    No item is held out, so this says when matching is done, not how well it serves the recommendation.

    Args:
        ids: free embeddings.
        text: vectors from text.
        item_N: int64.
    """
    with torch.inference_mode():
        text_ND, id_ND = functional.normalize(text.rows(item_N)), functional.normalize(ids.rows(item_N))
        nearest_N = (text_ND @ id_ND.T).argmax(dim=1)
        return float((nearest_N == torch.arange(len(item_N), device=item_N.device)).float().mean())
