"""Settings of SpecTran: Spectral-aware Transformer-based adapter for LLM-enhanced sequential recommendation."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainables.backbones.config import SASRec
from trainables.config import at_least
from trainables.data.config import Data
from trainables.seqrec.config import METRICS, Fit, InfoNCE

__all__ = ["METRICS", "Config", "NoAdapter", "SpecTran", "check"]


@dataclass(frozen=True, kw_only=True)
class NoAdapter:
    """Item vectors are free ID embeddings; no text ("Base" in Table 2)."""

    name: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class SpecTran:
    """Item vectors from the spectrum of the text vectors, fused with ID embeddings (equations 6-11)."""

    name: Literal["spectran"] = "spectran"
    attention: bool = True
    """Whether all components are attended over, phi(Q K^T) in equation 7; off is "w/o phi(QK^T)" of Table 3."""
    inner_width: Annotated[int, at_least(1)] = 64
    """Columns of Q and K; not stated in the paper, Table 5's parameter count fits about 120."""
    position: Literal["taylor", "singular_values", "identity", "none"] = "taylor"
    """What stands on A's diagonal (equation 8): a learnable polynomial, Sigma_d, I_d, or nothing (Table 3)."""
    taylor_order: Annotated[int, at_least(0)] = 3
    """n of equation 10, used by position taylor; not stated in the paper."""
    fusion: Literal["add", "null_space"] = "add"
    """How IDs join (equation 6): added at full width, or onto the weakest dimensions only (AlphaFuse)."""
    null_width: Annotated[int, at_least(1)] = 64
    """Width of the ID embeddings under fusion null_space (AlphaFuse)."""
    center: bool = True
    """Whether the mean text vector is subtracted before the decomposition; not stated in the paper (README)."""
    normalise: bool = True
    """Whether text vectors then get unit length; not stated in the paper, measured clearly better (README)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One SpecTran trial; the defaults are the paper's where it states them."""

    seed: int = 0
    """Seed of initial weights, shuffling, negatives and dropout."""
    dim: Annotated[int, at_least(1)] = 128
    """Width of item vectors and states, d (§4.1.5)."""
    data: Data = field(default_factory=Data)
    """Data set, split and text vectors."""
    backbone: SASRec = field(default_factory=SASRec)
    """Encoder of the history."""
    adapter: NoAdapter | SpecTran = field(default_factory=SpecTran)
    """How text becomes item vectors."""
    objective: InfoNCE = field(default_factory=InfoNCE)
    """Training loss."""
    fit: Fit = field(default_factory=Fit)
    """Training loop."""

    def __post_init__(self) -> None:
        if self.dim % self.backbone.heads:
            raise ValueError(
                f"backbone.heads must divide dim, but got backbone.heads {self.backbone.heads} and dim {self.dim}; "
                "choose heads among the divisors of dim"
            )
        adapter = self.adapter
        if isinstance(adapter, SpecTran) and adapter.fusion == "null_space" and adapter.null_width > self.dim:
            raise ValueError(
                f"adapter.null_width must be at most dim, but got {adapter.null_width} with dim {self.dim}; "
                "lower adapter.null_width or raise dim"
            )


def check(config: Config) -> list[str]:
    """Problems that would end every trial of ``config``: data that is not there, too few text dimensions.

    Args:
        config: a built configuration.

    Returns:
        One line a problem (rule, value, remedy); empty where the trial can start. The rank of the text vectors is only
        bounded here, by their number and width; a trial finds the rest.
    """
    from trainables.data.config import check as check_data

    problems = check_data(config.data)
    if problems or not isinstance(config.adapter, SpecTran):
        return problems
    from trainables.spectran.spectrum import largest_rank

    rank = largest_rank(config.data, center=config.adapter.center)
    if rank is not None and config.dim > rank:
        problems.append(
            f"dim: must be at most the rank of the text vectors, which is {rank} or less, but got {config.dim}; "
            "lower dim or use wider text vectors (data.text, data.text_width)"
        )
    return problems
