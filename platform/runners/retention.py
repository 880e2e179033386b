"""Retention of checkpoints once their trials have ended, so that a sweep does not fill its disk.

`tracking.checkpoints: best` keeps the newest checkpoint and the weights of the best trials overall. It also keeps the
newest checkpoint of as many trials that failed last. A setting's runs with further seeds are kept with it. `last` keeps
the newest checkpoint of every trial, `none` keeps none. A trial that may be resumed keeps its checkpoints in any case.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from platform.storage.trial_end import EndedTrial, State
from platform.sweepfile.fields import Metric, Tracking
from platform.tracking.journal import TrialFiles
from trainables.storage import mirror

_AT_ONCE = 16  # a bucket takes its time for each


class Retention:
    """The checkpoints of one sweep's ended trials.

    Args:
        folder: the sweep's.
        metrics: of the sweep; a trial is among the best if it is by one of them.
        tracking: what is to be kept.
        changed: called with a trial that ended earlier and lost its checkpoints now.
    """

    def __init__(
        self, folder: Path, metrics: Sequence[Metric], tracking: Tracking, changed: Callable[[TrialFiles], None]
    ) -> None:
        self._folder = folder
        self._signs = [metric.sign for metric in metrics]
        self._rule = tracking.checkpoints
        self._most = tracking.best_trials
        self._changed = changed
        self._values: dict[int, Sequence[float]] = {}
        self._of: dict[int, int] = {}
        self._failed: list[int] = []
        self._kept: set[int] = set()

    def begin(self, past: Sequence[EndedTrial]) -> None:
        """Take in the trials that ended under earlier drivers."""
        for trial in past:
            self._note(trial)
        self._kept = self._best()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            # all of them: the driver may have died between a trial's end and the removal of its checkpoints
            list(threads.map(self._apply, [trial.number for trial in past]))

    def ended(self, trial: EndedTrial) -> None:
        """Delete the checkpoints that are no longer kept once this trial has ended."""
        self._note(trial)
        before, self._kept = self._kept, self._best()
        self._apply(trial.number)
        for number in before - self._kept:
            if self._apply(number):
                self._changed(TrialFiles(self._folder, number))

    def _note(self, trial: EndedTrial) -> None:
        if trial.end.state is State.COMPLETE and trial.values:
            if trial.of is None:
                self._values[trial.number] = trial.values
            else:
                self._of[trial.number] = trial.of
        elif trial.end.state is State.FAIL:
            self._failed.append(trial.number)

    def _best(self) -> set[int]:
        best: set[int] = set(self._failed[-self._most :])
        for index, sign in enumerate(self._signs):
            ranked = sorted(self._values, key=lambda number: sign * self._values[number][index], reverse=True)
            best |= set(ranked[: self._most])
        return best | {number for number, of in self._of.items() if of in best}

    def _apply(self, number: int) -> bool:
        """Delete the files in a trial's folder that are not kept; True if it deleted any."""
        folder = self._folder / "trials" / str(number)
        if self._rule == "last" or (self._rule == "best" and number in self._kept):
            return _keep_newest(folder / "checkpoints")
        weights = folder / "artifacts" / mirror.WEIGHTS
        files = [*mirror.sizes(folder / "checkpoints"), *mirror.sizes(folder / "artifacts")]
        dropped = [path for path in files if path == weights or path.is_relative_to(folder / "checkpoints")]
        changes = bool(dropped) or (folder / "checkpoints").exists()
        mirror.remove(dropped)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return changes


def _keep_newest(folder: Path) -> bool:
    """Leave the newest checkpoint of each phase."""
    checkpoints = sorted(path for path in mirror.sizes(folder) if path.suffix == ".pt")
    newest = {path.parent: path for path in checkpoints}
    older = [path for path in checkpoints if path != newest[path.parent]]
    mirror.remove([*older, *folder.rglob("*.draft"), *folder.rglob("*.damaged")])
    return bool(older)
