"""A trial that runs now: what it has reported, how often it failed, and what the display is told of its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from platform.runners.failures import Attempts
from platform.study.study import Asked
from platform.sweepfile.fields import Metric
from platform.tracking.journal import TrialFiles
from trainables.trial import NON_FINITE


@dataclass
class RunningTrial:
    """A trial that runs now, or waits to be started (again)."""

    asked: Asked
    files: TrialFiles
    started: float
    waited_s: float = 0.0
    """For how long it has waited, since it was started, for a worker or for what another trial computes."""
    attempts: Attempts = field(default_factory=Attempts)
    num_valued: int = 0
    """Reports so far that held the objective."""
    best: tuple[float, ...] | None = None
    """The objective values at the report that is best by the first metric."""
    step: int = 0
    seen: set[tuple[int, frozenset[str]]] = field(default_factory=set)

    def is_new(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether no report of this step with these names has come before."""
        return (step, frozenset(metrics)) not in self.seen

    def add_report(
        self, step: int, metrics: Mapping[str, float], objective: Sequence[Metric]
    ) -> tuple[float, ...] | None:
        """Take in a report; its objective values, where it has them all."""
        self.seen.add((step, frozenset(metrics)))
        self.step = step
        if not all(metric.name in metrics for metric in objective):
            return None
        values = tuple(metrics[metric.name] for metric in objective)
        self.num_valued += 1
        sign = objective[0].sign
        if self.best is None or sign * values[0] > sign * self.best[0]:
            self.best = values
        return values

    def not_finite(self, values: Sequence[float], objective: Sequence[Metric]) -> str | None:
        """Why the trial must fail, if one of its newest objective values is not finite."""
        if all(math.isfinite(value) for value in values):
            return None
        shown = ", ".join(f"{metric.name} = {value}" for metric, value in zip(objective, values, strict=True))
        return f"{NON_FINITE}: {shown} at step {self.step}"


@dataclass(frozen=True)
class Ended:
    """What the progress display is told of a trial's end."""

    number: int
    state: str
    reason: str
    values: tuple[float, ...] | None
