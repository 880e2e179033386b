"""Settings of SpecTran: Spectral-aware Transformer-based adapter for LLM-enhanced sequential recommendation."""

from dataclasses import dataclass, field
from typing import Annotated

from trainables.backbones.config import Backbone, BERT4Rec, SASRec
from trainables.config import at_least
from trainables.data.config import Data
from trainables.seqrec.config import METRICS, Fit, InfoNCE
from trainables.spectran.adapters.config import Adapter, NoAdapter, SpecTran, adds_by_row, problems, refuse_widths

__all__ = ["METRICS", "Config", "check", "micro_batches", "notes", "reports"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """One SpecTran trial; the defaults are the paper's where it states them."""

    seed: int = 0
    """Seed of initial weights, shuffling, negatives and dropout."""
    dim: Annotated[int, at_least(1)] = 128
    """Width of item vectors and states, d (§4.1.5)."""
    data: Data = field(default_factory=Data)
    """Data set, split and text vectors."""
    backbone: Backbone = field(default_factory=SASRec)
    """Encoder of the history."""
    adapter: Adapter = field(default_factory=SpecTran)
    """The adapter from text to item vectors."""
    objective: InfoNCE = field(default_factory=InfoNCE)
    """Training loss."""
    fit: Fit = field(default_factory=Fit)
    """Training loop."""

    def __post_init__(self) -> None:
        heads = getattr(self.backbone, "heads", 1)
        if self.dim % heads:
            raise ValueError(
                f"backbone.heads must divide dim, but got backbone.heads {heads} and dim {self.dim}; "
                "choose heads among the divisors of dim"
            )
        refuse_widths(self.adapter, self.dim)


def reports(config: Config) -> int:
    """Reports of a whole trial, one per epoch; patience may end it before."""
    return config.fit.epochs


def micro_batches(config: Config) -> bool:
    """True if a batch may be trained in parts: its loss is a mean over rows, to which each row adds by itself.

    BERT4Rec's is a mean over masks, of which rows have different numbers.
    """
    return adds_by_row(config.adapter) and not isinstance(config.backbone, BERT4Rec)


def notes(config: Config) -> list[str]:
    """Say what a reader of results on the data set must know."""
    from trainables.data.notes import notes as data_notes

    return data_notes(config.data)


def check(config: Config) -> list[str]:
    """Problems that would end every trial of ``config``: data that is not there, too few text dimensions.

    Args:
        config: a built configuration.

    Returns:
        One line a problem (rule, value, remedy); empty where the trial can start. The rank of the text vectors is only
        bounded here, by their number and width; a trial finds the rest.
    """
    from trainables.data.checks import check as check_data

    text = not isinstance(config.adapter, NoAdapter)
    return check_data(config.data, text=text) or problems(config.adapter, config.dim, config.data)
