"""A trainable that only reports: a rising curve whose height its parameters set, and that goes wrong on request."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least, between

METRICS = ("train/loss", "valid/ndcg_10", "valid/hr_10", "test/ndcg_10")
SEVERAL_RANKS = True  # which draw the same curve
CONSTRAINTS = ("width <= 48 or x <= 0.9",)


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A part without settings."""

    name: Literal["plain"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Curved:
    """A part with a setting of its own."""

    name: Literal["curved"] = "curved"
    bend: Annotated[int, between(1, 5)] = 2
    """The bend, in steps."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the curve."""

    seed: int = 0
    """Seed of the noise."""
    x: Annotated[float, between(0, 1)] = 0.5
    """The best value is 0.7."""
    width: Annotated[int, at_least(1)] = 32
    """The best value is 32."""
    part: Plain | Curved = Plain()
    """The shape."""
    steps: Annotated[int, at_least(1)] = 6
    """Reports."""
    sleep: Annotated[float, at_least(0)] = 0.0
    """Seconds of work before each report."""
    wrong: Literal[
        "nothing",
        "nan",
        "exception",
        "text",
        "once",
        "exit",
        "exit_once",
        "thread",
        "leave",
        "silent",
        "memory",
        "disk",
        "hang",
        "deaf",
    ] = "nothing"
    """The fault at the third report."""
    divisible: bool = False
    """True if half a micro-batch keeps the loss and fits in memory."""
    witness: bool = False
    """True if it looks for each report in its journal at once, and fails if the report is not there."""
    checkpoints: bool = True
    """True if each step is saved."""
    log_work: bool = False
    """True if each computed step is noted in `work.log`, however often."""
    load_torch: bool = False
    """True if torch is imported, as by a real trial."""


def reports(config: Config) -> int:
    """Return the number of points of the curve."""
    return config.steps


def micro_batches(config: Config) -> bool:
    """Return True if a batch may be taken in parts."""
    return config.divisible
