"""A trainable with checkpoints of a size."""

from dataclasses import dataclass
from typing import Annotated

from trainables.config import at_least, between

METRICS = ("valid/ndcg_10",)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the weight."""

    seed: int = 0
    x: Annotated[float, between(0, 1)] = 0.5
    """The reported value."""
    steps: Annotated[int, at_least(1)] = 4
    """Reports."""
    sleep: Annotated[float, at_least(0)] = 0.0
    """Seconds of work before each."""
    mebibytes: Annotated[int, at_least(1)] = 4
    """Of a checkpoint."""
