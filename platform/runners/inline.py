"""Runs the trials of a sweep one after the other in this process: no Ray, for debugging and tests."""

from __future__ import annotations

import time
from collections.abc import Callable

from platform.runners.ledger import Decision, Ledger
from trainables.runtime.failure import describe
from trainables.runtime.task import Task
from trainables.runtime.worker import limit_threads, make_trial, run_on_node
from trainables.trial import TrialStopped

_PAUSE_S = 0.5


def run(ledger: Ledger, check: Callable[[], None] = lambda: None) -> None:
    """Run every trial that `ledger` hands out; a trial's exception fails the trial, not the sweep.

    Args:
        ledger: of the sweep.
        check: raises what ends the sweep, and was not heard where it was raised first.
    """
    while task := _next(ledger, check):
        _run(ledger, task, check)


def _run(ledger: Ledger, task: Task, check: Callable[[], None]) -> None:
    """Run one trial; an error of the driver itself in a report ends the trial, and is raised."""
    number = task.number
    own: list[Exception] = []

    def send(step: int, metrics: dict[str, float], last: bool) -> None:
        check()
        try:
            decision = ledger.report(number, step, metrics, last)
        except Exception as error:
            own.append(error)
            raise TrialStopped from error
        if decision is Decision.STOP:
            raise TrialStopped

    trial = make_trial(task, send)
    limit_threads(task.cpus)
    try:
        run_on_node(task, trial)
    except TrialStopped:
        if own:
            raise own[0] from None
    except (Exception, SystemExit) as error:
        check()
        reason = describe(error, trial)
        trial.upload_artifacts()
        ledger.fail(number, *reason)
    else:
        trial.upload_artifacts()
        ledger.finish(number, {})
    trial.delete_local()


def _next(ledger: Ledger, check: Callable[[], None]) -> Task | None:
    """The next task, once the disk has room for it and no person has paused the sweep."""
    cpus = ledger.spec.resources.cpu * ledger.spec.resources.workers
    check()
    while (task := ledger.next_task(cpus=cpus, gpus=0.0)) is None and ledger.waits:
        time.sleep(_PAUSE_S)
        check()
    return task
