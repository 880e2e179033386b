"""A trial that runs now: its reports, its attempts, and the verdict on its newest report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from platform.runners.failures import Attempts
from platform.storage.trial_end import State, TrialEnd
from platform.study.study import Asked, Study
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
    value: tuple[float, ...] | None = None
    """The objective values at the newest report."""
    reported: tuple[float, float] | None = None
    """When the first and the newest report with the objective came."""
    step: int = 0
    seen: set[tuple[int, frozenset[str]]] = field(default_factory=set)

    def is_new(self, step: int, metrics: Mapping[str, float]) -> bool:
        """True if no report of this step with these names has come before."""
        return (step, frozenset(metrics)) not in self.seen

    def add_report(
        self, step: int, metrics: Mapping[str, float], objective: Sequence[Metric]
    ) -> tuple[float, ...] | None:
        """Add a report; returns its objective values, where it has them all."""
        self.seen.add((step, frozenset(metrics)))
        self.step = step
        if not all(metric.name in metrics for metric in objective):
            return None
        values = tuple(metrics[metric.name] for metric in objective)
        self.num_valued += 1
        self.value, now = values, time.monotonic()
        self.reported = (self.reported[0] if self.reported else now, now)
        sign = objective[0].sign
        if self.best is None or sign * values[0] > sign * self.best[0]:
            self.best = values
        return values

    @property
    def pace_s(self) -> float | None:
        """Seconds between two reports; None before the second one that came here."""
        first, newest = self.reported or (0.0, 0.0)
        return (newest - first) / (self.num_valued - 1) if self.num_valued > 1 and newest > first else None

    @property
    def work_s(self) -> float:
        """Seconds that its reports took, without the start of its worker where there are two of them."""
        return time.monotonic() - self.started if self.pace_s is None else self.pace_s * self.num_valued

    def judge(self, values: Sequence[float], study: Study, last: bool) -> TrialEnd | None:
        """The end that its newest objective values give the trial; None where it goes on."""
        metrics, stopping = study.spec.metrics, study.spec.early_stopping.type
        if not all(math.isfinite(value) for value in values):
            shown = ", ".join(f"{metric.name} = {value}" for metric, value in zip(metrics, values, strict=True))
            return TrialEnd.now(State.FAIL, f"{NON_FINITE}: {shown} at step {self.step}")
        pruned = study.judge(self.asked.number, self.num_valued, values[0], last)
        return TrialEnd.now(State.PRUNED, f"early stopping ({stopping}) {pruned}") if pruned else None
