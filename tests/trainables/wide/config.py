"""A trainable whose reports are wide: many metrics, a little work before each."""

from dataclasses import dataclass
from typing import Annotated

from trainables.config import at_least, between

METRICS = ("train/loss", "valid/ndcg_10", *(f"valid/hr_{k}" for k in range(1, 24)))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the width."""

    seed: int = 0
    x: Annotated[float, between(0, 1)] = 0.5
    """The reported value."""
    steps: Annotated[int, at_least(1)] = 200
    """Reports of 25 metrics each."""
    work: Annotated[float, at_least(0)] = 0.02
    """Seconds before each."""
