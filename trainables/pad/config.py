"""Settings of PAD (Pre-train, Align, Disentangle; SIGIR 2025) and of the methods of its Table 2.

Where paper and released code differ, the default is the paper's text. README has both.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainables.backbones.config import HSTU, Caser, GRU4Rec, SASRec
from trainables.config import above, at_least, between
from trainables.data.config import Data
from trainables.seqrec.config import Fit, final_metrics, split_metrics

__all__ = ["METRICS", "Config", "check", "micro_batches", "notes", "reports"]

OBJECTIVE = "valid/hr_10"
"""The metric whose best epoch is kept and tested (released code)."""

BUCKETS = 10
"""B, buckets of items of equal interaction mass (released)."""

ID, ALIGNED, TEXT = "id", "aligned", "text"

CHOSEN = {
    "all": (ID, ALIGNED, TEXT),
    "no_id": (ALIGNED, TEXT),
    "no_aligned": (ID, TEXT),
    "no_text": (ID, ALIGNED),
    "id": (ID,),
    "aligned": (ALIGNED,),
    "text": (TEXT,),
}
"""Experts of the last phase, by the setting `method.experts` (Figure 5b)."""

GROUPS = ("warm", "median", "cold")

METRICS = (
    "train/loss",
    *split_metrics("valid"),
    *final_metrics(),
    *(f"test/{metric}_{k}_{group}" for metric in ("hr", "ndcg", "mrr") for k in (10, 20) for group in GROUPS),
)
"""Metrics that a trial reports, besides `trial/*` and those of the phases."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Training of one phase before the last; batch size, dropout and optimiser are `fit`'s."""

    epochs: Annotated[int, at_least(1)] = 200
    """Most passes over the training rows (released: 400)."""
    patience: Annotated[int, at_least(1)] = 10
    """Epochs without a better valid/hr_10, or what else the phase is chosen by, after which it ends (Appendix A;
    released: more than 20)."""
    learning_rate: Annotated[float, between(0, 1, open_low=True)] = 1e-5
    """AdamW's step size (released; the paper does not say)."""
    weight_decay: Annotated[float, between(0, 1)] = 0.1
    """AdamW's decay (Appendix A)."""


@dataclass(frozen=True, kw_only=True)
class TextMLP:
    """The dense layers between frozen text and item vectors, f_MLP of equation 7."""

    layers: Annotated[int, at_least(1)] = 5
    """Linear + GELU layers (released: one down to dim, then four)."""
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.1
    """Rate between the layers (released)."""
    length: Annotated[float, above(0)] = 40.0
    """Mean length that text vectors are scaled to; the paper's are not normalised and their length is not stated."""


@dataclass(frozen=True, kw_only=True)
class Id:
    """One expert on free ID embeddings: the backbone alone (Table 2 "SASRec", §4.6 "SE-BCE")."""

    name: Literal["id"] = "id"


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """One expert on IDs and text, joined and trained from scratch (as CoLLM and LLaRA encode items)."""

    name: Literal["hybrid"] = "hybrid"


@dataclass(frozen=True, kw_only=True)
class MoRec:
    """One expert on text alone (Yuan et al., SIGIR 2023)."""

    name: Literal["morec"] = "morec"


@dataclass(frozen=True, kw_only=True)
class Single:
    """One expert after another, §4.6.1; `id` is the first, `pad` with `experts: aligned` the last in all settings."""

    name: Literal["single"] = "single"
    phases: Literal["bce", "tune", "align_tune"] = "tune"
    """`bce`: one training (SE-BCE); `tune`: phase 1, then trained on (SE-BCE-Tune); `align_tune`: phases 1 and 2, the
    latter at PAD's defaults, then trained on (SE-BCE-Align-Tune)."""
    gamma: Annotated[float, at_least(0)] = 0.2
    """Weight of the alignment loss of `align_tune`, eq. 4 (Appendix A)."""


@dataclass(frozen=True, kw_only=True)
class CTRL:
    """IDs matched with text by InfoNCE, then trained alone (Li et al., 2023)."""

    name: Literal["ctrl"] = "ctrl"
    joint: bool = False
    """Train once, by BCE and InfoNCE together, on IDs fused with text (PAD's released class), not one after the other
    (the papers)."""
    weight: Annotated[float, at_least(0)] = 0.01
    """Of InfoNCE beside BCE; read where `joint` (released)."""
    temperature: Annotated[float, above(0)] = 0.1
    """Divides the cosines (the default of the package that the released code uses; PAD does not say)."""
    rows: Annotated[int, at_least(2)] = 672
    """Items of a step that InfoNCE compares (released: 16 sequences of 21 positions, two items each)."""


@dataclass(frozen=True, kw_only=True)
class MAKE:
    """A text expert that is trained before, and an ID expert, behind a gate (Sheng et al., CIKM 2024)."""

    name: Literal["make"] = "make"
    complement: bool = False
    """True weighs the experts 2 sigmoid and 2 minus that (an older evaluator), False by two sigmoids over their sum."""
    buckets: Annotated[int, at_least(1)] = BUCKETS
    """B, buckets of items of equal interaction mass (released)."""


@dataclass(frozen=True, kw_only=True)
class DisCo:
    """Two parts each of IDs and text, kept apart and kept useful by losses of their own (Du et al., KDD 2024)."""

    name: Literal["disco"] = "disco"
    disentanglement: Annotated[float, at_least(0)] = 0.2
    """Weight of the four upper bounds of mutual information between parts (DisCo's released alpha)."""
    sufficiency: Annotated[float, at_least(0)] = 0.2
    """Weight of the four losses of telling a next item from others by one part (DisCo's released beta)."""
    negatives: Annotated[int, at_least(1)] = 30
    """Other items a row, in these (DisCo's released; 10 on one data set)."""


@dataclass(frozen=True, kw_only=True)
class SMEM:
    """PAD without an alignment loss: shared and modality-specific embeddings (§4.1.3)."""

    name: Literal["smem"] = "smem"
    experts: Literal["all", "no_id", "no_aligned", "no_text", "id", "aligned", "text"] = "all"
    """Experts, of the three, that take part in the last phase (Figure 5b)."""
    gate: Literal["frequency", "network", "global"] = "frequency"
    """Weights of the experts: by the scored item's bucket (released), by bucket and item vectors (eq. 11), or the same
    for all items."""
    buckets: Annotated[int, at_least(1)] = BUCKETS
    """B, buckets of items of equal interaction mass (released)."""
    pretrain_text: bool = False
    """True trains the text expert by itself before the last phase, as phase 1 trains the ID expert. The released code
    does not, and the paper does not say."""


@dataclass(frozen=True, kw_only=True)
class PAD:
    """Pre-train, align, disentangle."""

    name: Literal["pad"] = "pad"
    arm: Literal["anchored", "non_anchored", "frozen"] = "anchored"
    """Alignment loss with the recommendation loss beside it, without, or with and held-fixed ID embeddings (§4.4)."""
    gamma: Annotated[float, at_least(0)] = 0.2
    """Weight of the alignment loss, eq. 4 (Appendix A); 0 is SMEM, under arm anchored."""
    kernel: Literal["gaussian", "laplacian", "linear", "cosine", "info_nce"] = "gaussian"
    """Comparison of both embeddings: MK-MMD with one of four kernels, or InfoNCE (§4.5)."""
    bandwidths: Literal["adaptive", "literal"] = "adaptive"
    """Of gaussian and laplacian, sigma^2 of eq. 12: 2^k times the mean squared distance, k = -3..1 (released), or
    sigma = -3..1 as printed, but for 0."""
    mmd_rows: Annotated[int, at_least(2)] = 672
    """Positions of a step that the alignment loss compares (released: 16 sequences of 21 positions, two items each)."""
    experts: Literal["all", "no_id", "no_aligned", "no_text", "id", "aligned", "text"] = "all"
    """Experts, of the three, that take part in the last phase (Figure 5b)."""
    gate: Literal["frequency", "network", "global"] = "frequency"
    """Weights of the experts: by the scored item's bucket (released), by bucket and item vectors (eq. 11), or the same
    for all items."""
    buckets: Annotated[int, at_least(1)] = BUCKETS
    """B, buckets of items of equal interaction mass (released)."""
    pretrain_text: bool = False
    """True trains the text expert by itself before the last phase, as phase 1 trains the ID expert. The released code
    does not, and the paper does not say."""

    def __post_init__(self) -> None:
        if self.arm != "anchored" and not self.gamma:
            why = "has no other loss" if self.arm == "non_anchored" else "holds IDs fixed for that loss"
            raise ValueError(
                f"gamma must be above 0 under arm {self.arm}, which {why}, but got {self.gamma}; "
                "raise gamma, or take method smem"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of PAD or of a method beside it."""

    seed: int = 0
    """Seed of initial weights, shuffling, negatives and dropout, in all phases."""
    dim: Annotated[int, at_least(1)] = 128
    """Width of item vectors and states (Figure 1)."""
    data: Data = field(default_factory=lambda: Data(keep_last=23, max_history=20, mask_seen=True))
    """Data set and split: the last 23 interactions, seen items left out of the ranking (Appendix A, released)."""
    backbone: SASRec | GRU4Rec | Caser | HSTU = field(default_factory=SASRec)
    """Encoder of each expert's history."""
    text: TextMLP = field(default_factory=TextMLP)
    """From frozen text to item vectors."""
    method: Id | Hybrid | MoRec | CTRL | MAKE | DisCo | SMEM | Single | PAD = field(default_factory=PAD)
    """The method that is trained."""
    pretrain: Phase = field(default_factory=Phase)
    """Phase 1: the ID expert, the text expert, or CTRL's matching, whichever the method has."""
    align: Phase = field(default_factory=Phase)
    """Phase 2, the aligned expert; read by methods that have it."""
    fit: Fit = field(
        default_factory=lambda: Fit(
            batch_size=128, learning_rate=1e-4, weight_decay=0.1, dropout=0.1, optimiser="adamw", epochs=200
        )
    )
    """The last phase, or the only one (Appendix A; released: learning rate 1e-4 after two phases of 1e-5)."""

    def __post_init__(self) -> None:
        if self.data.train_rows != "last":
            raise ValueError(
                f"data.train_rows must be last, as PAD trains on every position of a row already, but got "
                f"{self.data.train_rows!r}, which would count each item once per later position; leave it out"
            )
        heads = getattr(self.backbone, "heads", 1)
        if self.dim % heads:
            raise ValueError(
                f"backbone.heads must divide dim, but got backbone.heads {heads} and dim {self.dim}; "
                "choose heads among the divisors of dim"
            )
        heights = getattr(self.backbone, "heights", None) or ()
        if heights and max(heights) > self.data.max_history:
            raise ValueError(
                f"backbone.heights must be at most data.max_history, but got {max(heights)} and "
                f"{self.data.max_history}; lower backbone.heights or raise data.max_history"
            )


def reports(config: Config) -> int:
    """Reports of a whole last phase, one per epoch; patience may end it before. Earlier phases have other metrics."""
    return config.fit.epochs


def micro_batches(config: Config) -> bool:
    """True if a batch may be trained in parts: in all phases the loss is a mean over examples.

    BCE is such a mean. MK-MMD, InfoNCE and the losses of DisCo compare a batch's items with each other.
    """
    match config.method:
        case PAD(experts=experts) if ALIGNED not in CHOSEN[experts]:
            return True
        case PAD(gamma=gamma) | Single(phases="align_tune", gamma=gamma):
            return gamma == 0
        case CTRL() | DisCo():
            return False
    return True


def notes(config: Config) -> list[str]:
    """Say what a reader of results on the data set must know."""
    from trainables.data.notes import notes as data_notes

    return data_notes(config.data)


def check(config: Config) -> list[str]:
    """Problems that would end every trial of ``config``: data that is not there, too few items.

    Args:
        config: a built configuration.

    Returns:
        One line a problem (rule, value, remedy); empty where the trial can start. That every bucket gets an item is
        only bounded here, by their number; a trial finds the rest before it trains.
    """
    from trainables.data.checks import check as check_data
    from trainables.data.checks import item_count

    only_ids = isinstance(config.method, Id) or (isinstance(config.method, Single) and config.method.phases == "bce")
    problems = check_data(config.data, text=not only_ids)
    items = item_count(config.data)
    if items is None:
        return problems
    buckets = getattr(config.method, "buckets", 0)
    if items < buckets:
        problems.append(
            f"method.buckets: must be at most the number of items, {items}, but got {buckets}; "
            "lower method.buckets or use a larger data set"
        )
    elif items < BUCKETS:
        problems.append(
            f"data.name: warm, median and cold items need a data set of {BUCKETS} items or more, but got {items}; "
            "use a larger data set"
        )
    elif items <= config.data.max_history + 1:
        problems.append(
            f"data.max_history: negatives need an item outside a row's history and target, but got {items} items and "
            f"max_history {config.data.max_history}; lower data.max_history or use a larger data set"
        )
    return problems
