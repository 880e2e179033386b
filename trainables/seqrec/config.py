"""Settings that every sequential recommender shares: the training loop and the sampled objective."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least, between

TOP_K = (10, 20)
"""Cut-offs of every ranking metric (SpecTran §4.1.4)."""

OBJECTIVE = "valid/ndcg_20"
"""The metric whose best epoch is kept and tested (SpecTran and AlphaFuse)."""


def split_metrics(split: str, top_k: tuple[int, ...] = TOP_K) -> tuple[str, ...]:
    """Names that one evaluation of ``split`` reports, e.g. ``valid/hr_10``."""
    return tuple(f"{split}/{metric}_{k}" for metric in ("hr", "ndcg", "mrr") for k in top_k)


def final_metrics(top_k: tuple[int, ...] = TOP_K) -> tuple[str, ...]:
    """Names that the test split reports: those of every evaluation, and what its lists show."""
    return (
        *split_metrics("test", top_k),
        *(f"test/{metric}_{k}" for metric in ("coverage", "popularity") for k in top_k),
    )


METRICS = ("train/loss", *split_metrics("valid"), *final_metrics())
"""Everything that a recommender trained by ``seqrec.fit`` reports, ``trial/*`` aside."""


Matmul = Literal["highest", "high", "medium"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The training loop: Adam, one evaluation an epoch, early stopping (SpecTran §4.1.5)."""

    epochs: Annotated[int, at_least(1)] = 200
    """Most passes over the training rows."""
    patience: Annotated[int, at_least(1)] = 10
    """Epochs without a better objective, the metric whose best epoch is kept, after which training ends."""
    batch_size: Annotated[int, at_least(1)] = 256
    """Training rows per optimiser step."""
    learning_rate: Annotated[float, between(0, 1, open_low=True)] = 1e-3
    """Adam's step size, per optimiser step."""
    weight_decay: Annotated[float, between(0, 1)] = 0.0
    """Adam's L2 term, or AdamW's decay; SpecTran tries 1e-4, 1e-5, 1e-6 and 0, PAD has .1."""
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.5
    """Share of units dropped in the backbone; SpecTran tries 0 to .5 in steps of .1, PAD has .1."""
    optimiser: Literal["adam", "adamw"] = "adam"
    """`adam` adds weight decay to the gradient (SpecTran), `adamw` applies it apart from the gradient (PAD)."""
    keep: Literal["best", "last"] = "best"
    """Epoch whose weights are tested. PAD's released code tests the last. Earlier phases always hand on their best."""
    matmul: Matmul = "highest"
    """Precision of float32 matrix products in training: in full, or with factors rounded to TensorFloat32 (`high`) or
    bfloat16 (`medium`) where the hardware is then faster. Sums, weights and evaluation stay float32."""


@dataclass(frozen=True, kw_only=True)
class InfoNCE:
    """Softmax over the target and sampled negatives (SpecTran §4.1.2; AlphaFuse's loss)."""

    negatives: Annotated[int, at_least(1)] = 64
    """Items drawn uniformly for each training row (§4.1.2)."""
    similarity: Literal["dot", "cosine"] = "dot"
    """Score of a state and an item, in training and in ranking alike. The paper does not say; `dot` is the dot product
    over sqrt(dim), the length of a layer-normalised state: without it training overfits in an epoch (measured)."""
    temperature: Annotated[float, between(0, 100, open_low=True)] = 1.0
    """Training scores are divided by it; AlphaFuse takes .07 with cosine."""
    exclude: Literal["target", "history"] = "target"
    """Items that a negative may not be: the row's target, or its history as well."""
