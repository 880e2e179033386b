"""A trainable that trains a small model on any number of ranks, and loses one on request."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least

METRICS = ("train/loss", "valid/ndcg_10")
SEVERAL_RANKS = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the small model."""

    seed: int = 0
    """Seed of the rows."""
    steps: Annotated[int, at_least(1)] = 5
    """Optimiser steps, one report each."""
    stages: tuple[int, ...] = (-1,)
    """Trainings one after the other, each a phase where there are several: under ZeRO of a stage; -1: without it."""
    wrong: Literal["nothing", "kill", "kill_once", "exception", "memory", "hang", "hang_once", "children"] = "nothing"
    """The fault of the last rank in the middle of step 3."""
