"""The MLflow side of a sweep: a parent run, a child run a trial, shipped from the trials' journals in the background.

What is on disk decides what is sent, so an outage or a crash is caught up by whoever ships next, and nothing is sent
twice: each batch carries the number of its last journal line as the metric `trial/reports`. Nothing here ever stops a
sweep.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from platform.destination import Destination
from platform.journal import TrialFiles, all_trials
from platform.runs import Runs, is_answer

_PAUSE_S = 1.0
_SWITCH_S = 0.0001  # how long the driver's loop waits for its turn; 5 ms by default, several times an event
_LONGEST_PAUSE_S = 15.0
_LAST_TRIES = 3  # at the end of a sweep, whose user waits

logger = logging.getLogger(__name__)


class Tracker:
    """Ships one sweep's trials to MLflow from a thread of its own.

    Args:
        destination: the MLflow store.
        sweep: the sweep's name.
        folder: the sweep's folder in the storage.
        tags: of the parent and of every trial (git commit, package versions).
        tell: called with one sentence when tracking is lost and when it is back.
    """

    def __init__(
        self, destination: Destination, sweep: str, folder: Path, tags: Mapping[str, str], tell: Callable[[str], None]
    ) -> None:
        self.destination = destination
        self._sweep = sweep
        self._folder = folder
        self._tags = dict(tags)
        self._tell = tell
        self._wake = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._dirty: dict[int, TrialFiles] = {}
        self._parent_end: dict[str, Any] | None = None
        self._runs: Runs | None = None
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin shipping; what an earlier driver left unsent comes first."""
        for trial in all_trials(self._folder):
            shipped = trial.read("shipped.json")
            if shipped.get("to") != str(self.destination) or shipped.get("ended") != trial.read("end.json").get("time"):
                self._dirty[trial.number] = trial
        sys.setswitchinterval(_SWITCH_S)
        self._thread.start()

    def changed(self, trial: TrialFiles) -> None:
        """A trial has something new on disk."""
        with self._lock:
            self._dirty[trial.number] = trial
        self._wake.set()

    def finish(self, end: Mapping[str, Any], patience_s: float = 30.0) -> bool:
        """Ship what is left and end the parent run; False if the store did not take all of it in `patience_s` seconds.

        Args:
            end: the parent's `status` (MLflow's word), `metrics`, `tags` and `files` (paths to log).
        """
        ended = sum(1 for trial in all_trials(self._folder) if trial.read("end.json"))
        self._parent_end = {"time": time.time(), "step": ended, **end}  # the same each time that it is tried
        self._done.set()
        self._wake.set()
        if self._thread.ident is None:  # never started
            return False
        self._thread.join(patience_s)
        return not self._thread.is_alive() and not self._lost

    def _run(self) -> None:
        pause, tries = _PAUSE_S, 0
        while True:
            self._wake.wait(_PAUSE_S if self._done.is_set() else _LONGEST_PAUSE_S)
            self._wake.clear()
            finishing = self._done.is_set()
            try:
                self._ship()
                if finishing and not self._dirty and self._runs:
                    self._runs.find()  # what was asked for twice, as an answer was lost, may have been done twice
                    self._runs.end_parent(self._parent_end or {})
            except Exception as error:  # whatever a store does, the sweep goes on
                logger.warning("tracking: %s", error, exc_info=True)
                tries += 1
                self._runs = None
                if finishing and tries >= _LAST_TRIES:
                    self._lose()
                    return
                if tries > 1:  # the first time may be a connection that was closed meanwhile, or a lock
                    self._lose()
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._done.wait(pause)
                self._wake.set()
                continue
            if self._lost:
                self._tell(f"MLflow at {self.destination} answers again")
            self._lost, pause, tries = False, _PAUSE_S, 0
            if finishing and not self._dirty:
                return
            self._done.wait(_PAUSE_S)  # reports that come meanwhile share a batch

    def _lose(self) -> None:
        if not self._lost:
            self._tell(f"MLflow at {self.destination} does not answer; the sweep goes on and ships later")
        self._lost = True

    def _ship(self) -> None:
        """Ship every trial that has something new; one that fails does not keep the others waiting.

        Raises:
            Exception: the first that was met, after all trials were tried.
        """
        if self._runs is None:
            self._runs = Runs(self.destination, self._sweep, self._folder, self._tags, self._tell)
        with self._lock:
            dirty, self._dirty = self._dirty, {}
        failed: Exception | None = None
        for number, trial in dirty.items():
            try:
                if failed is None or is_answer(failed):
                    self._runs.ship(trial)
                    continue
            except Exception as error:
                failed = failed or error
            with self._lock:
                self._dirty.setdefault(number, trial)
        if failed is not None:
            raise failed
