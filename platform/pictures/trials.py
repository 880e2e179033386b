"""A sweep's trials as pictures take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platform.pictures.chart import GREY, Mark
from platform.sweepfile.fields import Metric
from platform.sweepfile.parameters import Parameter

_ENOUGH = 10  # complete trials; with fewer, those stopped early are compared with them
STATES: Mapping[str, tuple[Mark, int]] = {
    "complete": ("dots", 0),
    "pruned": ("hollow", 4),
    "failed": ("cross", 1),
    "cancelled": ("cross", GREY),
    "unfinished": ("hollow", GREY),
}
"""The mark and the colour of each state."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial as pictures need it."""

    number: int
    state: str
    """complete, pruned, failed, cancelled or unfinished."""
    values: Mapping[str, Any]
    objective: tuple[float, ...] | None
    """Objective values at its best report; None where it has none."""
    curve: Sequence[tuple[float, ...]]
    """Objective values of each report that has them."""
    started: float
    ended: float | None
    reason: str = ""
    """The cause of its end."""

    @property
    def text(self) -> str:
        """The trial in a few words."""
        return f"trial {self.number} ({self.state})"


@dataclass(frozen=True, kw_only=True)
class Search:
    """A sweep as pictures need it."""

    metrics: tuple[Metric, ...]
    swept: Mapping[str, Sequence[Parameter]]
    """Each swept parameter, as each branch that has it declares it."""
    trials: Sequence[Trial]
    further: Sequence[Trial] = ()
    """Runs of settings with further seeds, which the search does not judge."""

    @property
    def valued(self) -> list[Trial]:
        """Trials that have an objective value."""
        return [trial for trial in self.trials if trial.objective]

    @property
    def judged(self) -> list[Trial]:
        """Complete trials where there are enough to compare, else all that have a value."""
        complete = [trial for trial in self.valued if trial.state == "complete"]
        return complete if len(complete) >= _ENOUGH else self.valued

    def best(self, index: int = 0) -> Trial | None:
        """The best trial by one metric: a complete one where there is one."""
        complete = [trial for trial in self.valued if trial.state == "complete"] or self.valued
        return max(complete, key=lambda trial: self.metrics[index].sign * value_of(trial, index), default=None)


def value_of(trial: Trial, index: int) -> float:
    """The trial's value of one metric."""
    assert trial.objective is not None, "only a trial with values is drawn"
    return trial.objective[index]
