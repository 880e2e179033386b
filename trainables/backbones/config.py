"""Settings of the sequence encoders."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least


@dataclass(frozen=True, kw_only=True)
class SASRec:
    """Causal Transformer over the history (Kang and McAuley, ICDM 2018)."""

    name: Literal["sasrec"] = "sasrec"
    blocks: Annotated[int, at_least(1)] = 2
    """Transformer blocks (SpecTran §4.1.5)."""
    heads: Annotated[int, at_least(1)] = 1
    """Attention heads; must divide the width (SpecTran §4.1.5)."""
    scale: bool = True
    """Whether item vectors are multiplied by sqrt(dim) at the input, as the original does (AlphaFuse's does not)."""
