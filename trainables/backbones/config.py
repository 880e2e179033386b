"""Settings of the sequence encoders."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least, between


@dataclass(frozen=True, kw_only=True)
class SASRec:
    """Causal Transformer over the history (Kang and McAuley, ICDM 2018)."""

    name: Literal["sasrec"] = "sasrec"
    blocks: Annotated[int, at_least(1)] = 2
    """Transformer blocks (SpecTran §4.1.5)."""
    heads: Annotated[int, at_least(1)] = 1
    """Attention heads; must divide the width (SpecTran §4.1.5)."""
    scale: bool = True
    """True multiplies item vectors by sqrt(dim) at the input, as the original does (AlphaFuse's does not)."""


@dataclass(frozen=True, kw_only=True)
class BERT4Rec:
    """Bidirectional Transformer trained by filling in masked items (Sun et al., CIKM 2019)."""

    name: Literal["bert4rec"] = "bert4rec"
    blocks: Annotated[int, at_least(1)] = 2
    """Transformer blocks (the original's; SpecTran does not say)."""
    heads: Annotated[int, at_least(1)] = 1
    """Attention heads; must divide the width (the original has 2; SpecTran states 1, for SASRec)."""
    mask_ratio: Annotated[float, between(0, 1, open_low=True, open_high=True)] = 0.2
    """Chance of each item of a training row to be masked, at least one a row (SpecTran §4.1.5 tries .2, .4, .6)."""
    newest_share: Annotated[float, between(0, 1)] = 0.5
    """Share of training rows that mask the newest item and no other, as ranking does. The original adds such rows but
    gives no share (§3.6), RecBole takes .5, SpecTran does not mention them. Without them training starts on a plateau
    of some 30 epochs of one row per user, which a patience of 10 does not survive (measured on Office)."""


@dataclass(frozen=True, kw_only=True)
class HSTU:
    """Causal gated attention without softmax (Zhai et al., ICML 2024)."""

    name: Literal["hstu"] = "hstu"
    blocks: Annotated[int, at_least(1)] = 2
    """Blocks (the released ml-1m setting; SpecTran does not say)."""
    heads: Annotated[int, at_least(1)] = 1
    """Attention heads; must divide the width (the released ml-1m setting)."""
    scale: bool = True
    """True multiplies item vectors by sqrt(dim) at the input, as the original does."""
    final_norm: bool = True
    """True adds a LayerNorm at the end. The original has none and scores by cosine at temperature .05. Similarity `dot`
    expects states as long as layer-normalised ones."""


@dataclass(frozen=True, kw_only=True)
class GRU4Rec:
    """Recurrent network over the history (Hidasi et al., ICLR 2016)."""

    name: Literal["gru4rec"] = "gru4rec"
    layers: Annotated[int, at_least(1)] = 1
    """GRU layers (one, as in the original and RecBole; PAD does not say)."""
    hidden: Annotated[int, at_least(1)] | None = None
    """Width of the GRU's own state; null: dim (LLM-ESR's port; RecBole has 128 for items of 64)."""
    dense: bool = True
    """True adds a linear layer between the GRU's state and the scored one, as RecBole and PAD's evaluator do."""
    final_norm: bool = False
    """True adds a last LayerNorm. No port has one. Similarity `dot` expects states as long as after a LayerNorm."""

    def __post_init__(self) -> None:
        if self.hidden is not None and not self.dense:
            raise ValueError(
                f"backbone.hidden needs backbone.dense, but got hidden {self.hidden} and dense false; "
                "set backbone.dense to true or backbone.hidden to null"
            )


@dataclass(frozen=True, kw_only=True)
class Caser:
    """Convolutions over the history (Tang and Wang, WSDM 2018)."""

    name: Literal["caser"] = "caser"
    filters_horizontal: Annotated[int, at_least(1)] = 2
    """Horizontal filters of each height (PAD's released default; the original has 16, RecBole 8)."""
    filters_vertical: Annotated[int, at_least(1)] = 2
    """Vertical filters (PAD's released default; the original and RecBole have 4)."""
    heights: tuple[Annotated[int, at_least(1)], ...] | None = None
    """Heights of the horizontal filters, items each reads; null: every one from 1 to data.max_history (the original and
    RecBole, whose names PAD's evaluator has; DROS's port has 2, 3, 4)."""
    final_relu: bool = True
    """True adds a ReLU after the dense layer, as the original does. PAD's evaluator has it for the plain model but not
    for the model with PAD, so the published gain includes this difference."""
    final_norm: bool = False
    """True adds a last LayerNorm. No port has one. Similarity `dot` expects states as long as after a LayerNorm."""


Backbone = SASRec | BERT4Rec | HSTU | GRU4Rec | Caser
