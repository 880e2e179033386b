"""Tune's searcher, scheduler and stopper as views of one ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from platform.runners.ledger import Decision, Ledger
from trainables.exceptions import text_of
from trainables.runtime.failure import classify
from trainables.runtime.messages import Report, WorkerEnd, from_result
from trainables.trial import EXCEPTION, FINISHED, WORKER_LOST


class Bridge:
    """The sweep's trials behind Tune's trials: it takes messages of Tune's to the ledger."""

    def __init__(self, ledger: Ledger, cpu: float, gpu: float) -> None:
        self.ledger = ledger
        self._cpu = cpu
        self._gpu = gpu
        self._numbers: dict[str, int] = {}
        self._trials: dict[str, Any] = {}
        self._error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for snapshots that are never used."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Bridge:
        """Itself: there is one ledger."""
        return self

    def task(self, tune_id: str) -> dict[str, Any] | None:
        """The next trial for Tune's trial `tune_id`, as the config that Tune hands to a worker."""
        task = self.ledger.next_task(cpus=self._cpu, gpus=self._gpu)
        if task is None:
            return None
        self._numbers[tune_id] = task.number
        return task.redacted().to_dict()

    def check(self) -> None:
        """Raise the driver's own error, if there was one where Tune would take it for a trial's error."""
        if self._error:
            raise self._error

    def take(self, tune_id: str, result: dict[str, Any]) -> Decision:
        """Take the message in a result of Tune's; STOP ends the trial."""
        decision = Decision.STOP
        with self._own():
            decision = self._take(tune_id, from_result(result))
        if decision is Decision.STOP:
            self._forget(tune_id)
        return decision

    def _take(self, tune_id: str, message: Report | WorkerEnd | None) -> Decision:
        number = self._numbers[tune_id]
        if isinstance(message, Report):
            return self.ledger.report(number, message.step, message.metrics, message.last)
        if isinstance(message, WorkerEnd):
            del self._numbers[tune_id]
            if message.reason == FINISHED:
                self.ledger.finish(number, message.metrics)
            else:
                self.ledger.fail(number, message.reason, message.text)
                return Decision.CONTINUE  # to its error, at which Tune discards the worker; STOP would use it again
        return Decision.STOP

    def known(self, trial: Any) -> None:
        """Note that Tune made its trial of a task."""
        self._trials[trial.trial_id] = trial

    def end_silent(self) -> None:
        """End the workers of trials that a limit ended, though they report nothing."""
        unplaced = {
            number
            for each, number in self._numbers.items()
            if each not in self._trials or self._trials[each].status != Trial.RUNNING
        }
        numbers = self.ledger.end_silent(unplaced)
        for tune_id in [each for each, number in self._numbers.items() if number in numbers]:
            if actor := self._trials[tune_id].temporary_state.ray_actor:  # else it has yet to start, and to be stopped
                ray.kill(actor)

    def lost(self, tune_id: str, text: str, error: BaseException | None = None) -> None:
        """Note that Tune's trial ended without a last message: its worker is lost, or `error` says out of memory."""
        number = self._forget(tune_id)
        if number is not None:
            reason = classify(error) if error else EXCEPTION
            with self._own():
                self.ledger.fail(number, WORKER_LOST if reason == EXCEPTION else reason, text)

    @contextmanager
    def _own(self) -> Iterator[None]:
        """Keep the driver's own error for `check`."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error

    def _forget(self, tune_id: str) -> int | None:
        """Drop Tune's trial, which has ended; returns the number of the sweep's trial, if it still had one."""
        self._trials.pop(tune_id, None)
        return self._numbers.pop(tune_id, None)


class LedgerSearcher(Searcher):
    """Hands Tune the ledger's next trial.

    Args:
        bridge: to the ledger.
        check: called at each question: while trials wait and none runs, Tune does nothing else for ten minutes.
    """

    def __init__(self, bridge: Bridge, check: Callable[[], None]) -> None:
        super().__init__()
        self._bridge = bridge
        self._check = check

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as `Bridge` says."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The task of the next trial; FINISHED where the sweep will start none any more, None where it may yet."""
        self._check()
        task = self._bridge.task(trial_id)
        if task is not None:
            return task
        return None if self._bridge.ledger.running or self._bridge.ledger.waits else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to do: the scheduler has told the ledger."""

    def save(self, checkpoint_path: str) -> None:
        """Tune's own snapshot is not used."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune's own snapshot is not used."""


class LedgerScheduler(FIFOScheduler):
    """Takes each report to the ledger and ends the trials that the ledger ends."""

    _supports_buffered_results = False

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Tune made a trial of what the searcher handed out."""
        super().on_trial_add(tune_controller, trial)
        self._bridge.known(trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Continue or stop, as the ledger says."""
        return self._bridge.take(trial.trial_id, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Handle a trial that ended by itself: the ledger knows its end, unless there was no last message."""
        self._bridge.lost(trial.trial_id, "it ended without a last word")

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Handle a trial whose worker is lost."""
        error = trial.get_error()
        lines = text_of(error).strip().splitlines() if error else []
        self._bridge.lost(trial.trial_id, lines[-1] if lines else "no message", error)


class SweepStopper(Stopper):
    """Ends the Tune run once the ledger closes by a limit and its trials have ended."""

    def __init__(self, bridge: Bridge, check: Callable[[], None]) -> None:
        self._bridge = bridge
        self._check = check

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as `Bridge` says."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never ends one trial; the scheduler does."""
        return False

    def stop_all(self) -> bool:
        """True if nothing is left; Tune asks after each event, so that an exception here may end the run."""
        self._check()
        self._bridge.check()
        self._bridge.end_silent()
        return bool(self._bridge.ledger.closing) and not self._bridge.ledger.running
