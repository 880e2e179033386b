"""The trials that wait to be started: an earlier driver's, those that start again, and new ones of the study.

Runs of settings with further seeds do not count against `num_trials`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from platform.runners.running import RunningTrial
from platform.study.study import Asked, Study
from platform.study.view import is_peer


class TrialQueue:
    """Trials in the order in which they are started, and the number that the budget still allows.

    Args:
        study: new trials are asked of it; those that a dead driver left running must be resumed before.
        trial_of: makes the trial of a new point.
    """

    def __init__(self, study: Study, trial_of: Callable[[Asked], RunningTrial]) -> None:
        self.waiting: deque[RunningTrial] = deque()
        """The trials, the next one first."""
        self.is_exhausted: bool
        """True once a grid is used up; trials that run or wait are still run to their ends."""
        self._study = study
        self._trial_of = trial_of
        self.recount()

    def recount(self) -> None:
        """Count the settings that the study has, after a person changed them."""
        self._counted = sum(map(is_peer, self._study.trials()))
        self.is_exhausted = False

    @property
    def left(self) -> int:
        """Trials that are still to be started, as far as the budget says."""
        settings = 0 if self.is_exhausted else max(0, self._study.spec.num_trials - self._counted)
        return len(self.waiting) + settings + self._study.seeds_left

    def next(self, *, is_idle: bool) -> RunningTrial | None:
        """Take out the trial to start; None if there is none now.

        Args:
            is_idle: True if no trial runs.
        """
        self._ask(is_idle)
        return self.waiting.popleft() if self.waiting else None

    def _ask(self, is_idle: bool) -> None:
        """Enqueue a trial, if the study has one to ask for.

        A deterministic sweep asks for a whole batch, once every trial before it has ended: what the study knows then
        does not depend on which trial was quicker. A batch that a crash cut short is filled up first. Runs with further
        seeds come between batches, or once no setting is left and none runs.
        """
        batch = self._study.spec.batch or 1
        if self.waiting if batch == 1 else self._counted % batch == 0 and (self.waiting or not is_idle):
            return
        if self._counted % batch == 0 and self._ask_seeds(is_over=False):
            return
        while self._counted < self._study.spec.num_trials and not self.is_exhausted:
            asked = self._study.ask()
            if asked is None:
                self.is_exhausted = True
                break
            self._counted += 1
            self.waiting.append(self._trial_of(asked))
            if self._counted % batch == 0:
                return
        if is_idle and not self.waiting:
            self._ask_seeds(is_over=True)

    def _ask_seeds(self, *, is_over: bool) -> bool:
        """Enqueue the runs with further seeds that are due; True if there are any."""
        self.waiting += map(self._trial_of, self._study.ask_seeds(is_over=is_over))
        return bool(self.waiting)
