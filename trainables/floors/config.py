"""Settings of the counting floors: popularity and transition counts."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainables.config import at_least, between
from trainables.data.config import Data
from trainables.seqrec.config import final_metrics, split_metrics

__all__ = ["METRICS", "Config", "check", "notes", "reports"]

METRICS = (*split_metrics("valid"), *final_metrics())
"""Nothing is trained, so there is no loss."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One counting floor; no paper, the defaults were set once and never tuned."""

    seed: int = 0
    """Changes nothing: counting is the same every time."""
    data: Data = field(default_factory=Data)
    """Data set and split; text vectors are not read and need not be there, and `train_rows` makes no difference."""
    method: Literal["popularity", "transitions"] = "transitions"
    """`popularity`: how often an item was taken; `transitions`: what came right after the user's newest items."""
    window: Annotated[int, at_least(1)] = 5
    """Newest items of the history that transitions look at, at most `data.max_history`."""
    decay: Annotated[float, between(0, 1, open_low=True)] = 0.5
    """Weight of an item relative to the next newer one, for transitions."""


def reports(config: Config) -> int:
    """One report: nothing is trained."""
    return 1


def notes(config: Config) -> list[str]:
    """Say what a reader of results on the data set must know."""
    from trainables.data.notes import notes as data_notes

    return data_notes(config.data)


def check(config: Config) -> list[str]:
    """Say what is wrong with the data before anything starts; [] if nothing is."""
    from trainables.data.checks import check as check_data

    return check_data(config.data, text=False)
