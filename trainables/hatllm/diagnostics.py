"""The paper's diagnosis before any mask (§3, Figure 2): where attention goes, and why.

A pair is a reading and a read token of the items of one prompt, the read one first. A token with itself is no pair.
"""

import numpy as np
import torch

from trainables.data.batches import batches
from trainables.data.splits import Rows, Splits
from trainables.hatllm.cooccurrence import cooccurrence
from trainables.hatllm.parts import Method
from trainables.language.masks import Spans
from trainables.language.prompts import Prompts
from trainables.seqrec.curves import Words, write_curves
from trainables.seqrec.randomness import seed_for
from trainables.trial import Trial

AT_ONCE = 8
"""Prompts whose attention weights (B, H, T, T) are held at once."""


TOTAL = Words(
    title="Attention of item tokens",
    x="layer",
    y="share of attention",
    caption="Share on tokens of the same item, of other items, on itself and on all else (§3, Figure 2).",
)
PAIR = Words(
    title="Attention per pair of tokens",
    x="layer",
    y="mean weight of a pair",
    caption="Mean attention weight of a pair within an item and of a pair across items (§3, Figure 2).",
)


def write_diagnostics(method: Method, splits: Splits, rows: int, trial: Trial) -> dict[str, float]:
    """Write Figure 2 of the trained model, one line per layer, and return its summary.

    * ``attention_total.csv``: of what item tokens read, the share that lies on other tokens of the same item
      (``intra``), on other items (``inter``), on themselves (``itself``) and on tokens of no item (``other``);
    * ``attention_pair.csv``: the mean weight of a pair inside an item and of one across items.

    Args:
        method: the trained method.
        splits: validation rows are looked at for attention and distance, all training rows for co-occurrence.
        rows: how many of the validation rows, drawn where there are more; 0 does nothing.
        trial: seed, and keeper of the files.

    Returns:
        ``trial/attention_ratio`` (inter over intra, totals of all layers; §3 has about a third), ``trial/distance_*``
        (mean tokens between the two of a pair; §3: 5.6 and 30) and ``trial/cooccurrence_*`` (how often a pair of token
        numbers is met, over all such pairs; §3: 6.8 and 2.3), each ``intra`` and ``inter``. What has no pair to be
        taken over, such as the ratio where each item is one token, is left out.
    """
    if not rows or trial.world_size > 1:  # weights of several ranks may lie apart
        return {}
    random = np.random.default_rng(seed_for(trial.seed, "diagnostics"))
    valid = splits.valid.sample(rows, random)
    with torch.inference_mode():
        totals_LK, pairs_LK = attention(method, valid, trial.device)
    layers = ("layer", np.arange(1, len(totals_LK) + 1))
    names = ("intra", "inter", "itself", "other")
    write_curves(trial.artifact("attention_total.csv"), layers, dict(zip(names, totals_LK.T, strict=True)), TOTAL)
    write_curves(trial.artifact("attention_pair.csv"), layers, dict(zip(names, pairs_LK.T, strict=False)), PAIR)
    intra, inter = totals_LK[:, 0].sum(), totals_LK[:, 1].sum()
    summary = {"trial/attention_ratio": float(inter / intra) if intra else np.nan}
    distances = distance(method.prompts, valid)
    counts = cooccurrence(method.prompts, splits.train)
    for name, values in (("distance", distances), ("cooccurrence", counts)):
        summary |= {f"trial/{name}_{kind}": value for kind, value in zip(names, values, strict=False)}
    return {name: value for name, value in summary.items() if np.isfinite(value)}


def attention(method: Method, rows: Rows, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Measure what item tokens read in each layer, as means over heads and rows.

    Returns:
        Shares (layers, 4): same item, other items, itself, no item. Weights per pair (layers, 2): inside, across.
    """
    layers = len(method.model.plan)
    mass_L4, pairs_2, readers = np.zeros((layers, 4)), np.zeros(2), 0.0
    for batch in batches(rows, AT_ONCE, device=device):
        prompt = method.prompts(batch.history_BL)
        kinds_4BTT = _kinds(prompt.spans)
        pairs_2 += kinds_4BTT[:2].sum(dim=(1, 2, 3)).cpu().numpy()
        readers += float((prompt.spans.item_BT > 0).sum())

        def observe(layer: int, weight_BHTT: torch.Tensor, kinds_4BTT: torch.Tensor = kinds_4BTT) -> None:
            mass_L4[layer] += (kinds_4BTT * weight_BHTT.mean(dim=1)).sum(dim=(1, 2, 3)).cpu().numpy()

        method.model.states(prompt, observe)
    return mass_L4 / max(readers, 1.0), mass_L4[:, :2] / np.maximum(pairs_2, 1.0)


def distance(prompts: Prompts, rows: Rows) -> np.ndarray:
    """Mean number of tokens from the read to the reading one of a pair, inside an item and across items, (2,)."""
    total_2, pairs_2 = np.zeros(2), np.zeros(2)
    for batch in batches(rows, AT_ONCE):
        kinds_2BTT = _kinds(prompts(batch.history_BL).spans)[:2]
        at_T = torch.arange(kinds_2BTT.shape[-1])
        total_2 += (kinds_2BTT * (at_T[:, None] - at_T[None, :])).sum(dim=(1, 2, 3)).numpy()
        pairs_2 += kinds_2BTT.sum(dim=(1, 2, 3)).numpy()
    mean_2: np.ndarray = np.divide(total_2, pairs_2, out=np.full(2, np.nan), where=pairs_2 > 0)
    return mean_2


def _kinds(spans: Spans) -> torch.Tensor:
    """Masks of what an item token reads: same item, other items, itself, no item; bool (4, B, T, T)."""
    item_BT = spans.item_BT
    reader_BT1, read_B1T = item_BT[:, :, None], item_BT[:, None, :]
    at_T = torch.arange(item_BT.shape[1], device=item_BT.device)
    before_TT, itself_TT = at_T[:, None] > at_T[None, :], at_T[:, None] == at_T[None, :]
    pair_BTT = before_TT & (reader_BT1 > 0) & (read_B1T > 0)
    same_BTT = reader_BT1 == read_B1T
    reading_BTT = (reader_BT1 > 0).expand_as(same_BTT)
    none_BTT = before_TT & reading_BTT & (read_B1T == 0) & spans.real_BT[:, None, :]
    return torch.stack([pair_BTT & same_BTT, pair_BTT & ~same_BTT, itself_TT & reading_BTT, none_BTT])
