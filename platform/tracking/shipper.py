"""Ships a sweep's journals to MLflow: a parent run per sweep, a child run per trial.

The files on disk decide what is sent, so the next shipper catches up after an outage or a crash. Nothing is sent twice,
as each batch carries the number of its last journal line as the metric `trial/reports`.

``python -m platform.tracking.shipper`` is a process that belongs to a driver (`tracker.py`). It reads messages from
the driver, the first of which says what to ship, and answers by messages (`messages.py`). It ends when its driver does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from platform.console import log_to
from platform.tracking.destination import Destination
from platform.tracking.errors import is_unavailable, user_message
from platform.tracking.journal import TrialFiles, all_trials
from platform.tracking.messages import (
    Changed,
    Finish,
    Finished,
    Message,
    Notify,
    Order,
    ParentEnd,
    Shipped,
    decode,
    encode,
)
from platform.tracking.runs import Runs
from trainables.redaction import take_over

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0
_LAST_TRIES = 3  # at the end of a sweep, whose user waits
_NICE = 5  # the driver and the trials go first
_ORPHAN_S = 1.0

logger = logging.getLogger(__name__)


class Shipper:
    """Ships one sweep's trials to MLflow from a thread of its own; nothing in it ever raises.

    Args:
        order: the sweep and where it goes.
        notify: called with one sentence when tracking is lost and when it is back.
        shipped: called with the number of a trial when all that was new of it is in the store.
    """

    def __init__(
        self, order: Order, notify: Callable[[str], None], shipped: Callable[[int], None] = lambda number: None
    ) -> None:
        self._order = order
        self._destination = order.destination
        self._notify = notify
        self._shipped = shipped
        self._wake = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._dirty: dict[int, TrialFiles] = {}
        self._looked = False
        self._end: ParentEnd | None = None
        self._runs: Runs | None = None
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin shipping; what an earlier driver left unsent comes first."""
        self._thread.start()

    def changed(self, trial: TrialFiles) -> None:
        """Note that a trial has news on disk."""
        with self._lock:
            self._dirty[trial.number] = trial
        self._wake.set()

    def finish(self, end: ParentEnd, patience_s: float = 30.0) -> bool:
        """Ship what is left and end the parent run; False if the store did not take it all in `patience_s` seconds."""
        self._end = end
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
            failed = self._try_once(finishing, last=finishing and tries + 1 >= _LAST_TRIES)
            if failed is not None:
                tries += 1
                self._runs = None
                if finishing and tries >= _LAST_TRIES:
                    self._report_outage(failed)
                    return
                if tries > 1:  # the first time may be a connection that was closed meanwhile, or a lock
                    self._report_outage(failed)
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._done.wait(pause)
                self._wake.set()
                continue
            if self._lost:
                self._notify(f"MLflow at {self._destination} answers again")
            self._lost, pause, tries = False, _PAUSE_S, 0
            if finishing and not self._dirty:
                return
            self._done.wait(_PAUSE_S)  # reports that come meanwhile share a batch

    def _report_outage(self, error: Exception) -> None:
        if not self._lost:
            self._notify(f"MLflow at {self._destination} {user_message(error)}; the sweep goes on and ships later")
        self._lost = True

    def _try_once(self, finishing: bool, last: bool) -> Exception | None:
        """Ship the news; at the end, when MLflow has all or no try is left, end the parent run.

        Returns:
            The error, if there was one: the sweep goes on.
        """
        try:
            failed = self._ship()
            if finishing and self._end and self._runs and (not self._dirty or (last and not is_unavailable(failed))):
                self._runs.find()  # what was asked for twice, as an answer was lost, may have been done twice
                self._runs.end_parent(self._end)
            return failed
        except Exception as error:
            logger.warning("tracking: %s", error, exc_info=True)
            return error

    def _ship(self) -> Exception | None:
        """Ship every trial that has news; a failing trial delays the others only if the store is unavailable.

        Returns:
            The last error of a trial.

        Raises:
            Exception: of the store, before any trial.
        """
        order, unsent = self._order, dict[int, TrialFiles]()
        if self._runs is None:
            self._runs = Runs(order.destination, order.sweep, order.sweep_id, order.folder, order.tags, self._notify)
        if not self._looked:  # a driver that died, or that ended in an outage, left these
            unsent = {trial.number: trial for trial in _unsent(order.folder, order.destination)}
        self._looked = True
        with self._lock:
            dirty, self._dirty = unsent | self._dirty, {}
        failed: Exception | None = None
        for number, trial in dirty.items():
            try:
                if not is_unavailable(failed):
                    self._runs.ship(trial)
                    self._shipped(number)
                    continue
            except Exception as error:
                logger.warning("tracking: trial %d: %s", number, error, exc_info=True)
                failed = error
            with self._lock:
                self._dirty.setdefault(number, trial)
        return failed


def _unsent(folder: Path, destination: Destination) -> Iterable[TrialFiles]:
    """The trials of which the store lacks an end that is on disk, or a report of one that has not ended."""
    for trial in all_trials(folder):
        shipped, end = trial.read("shipped.json"), trial.read_end()
        is_known = shipped.get("to") == str(destination) and shipped.get("ended") == (end.time if end else None)
        if not is_known or (not end and trial.lines(shipped.get("reports", 0))):
            yield trial


def main() -> None:
    """Ship for the driver at the other end of the standard streams, until it wants no more or is gone."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # they are the driver's, which may still have much to send
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), _NICE))
    log_to(logging.StreamHandler())
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what others print is no answer
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        _serve(sys.stdin.buffer, answers)
    except BrokenPipeError:  # the driver died before it heard an answer
        pass
    finally:
        os._exit(0)  # a request that hangs holds nothing up


def _end_with(driver: int) -> None:
    """End this process with its driver, even where something else still holds the driver's end of the line."""
    while os.getppid() == driver:
        time.sleep(_ORPHAN_S)
    os._exit(0)


def _serve(messages: BinaryIO, answers: BinaryIO) -> None:
    lock = threading.Lock()

    def answer(message: Message) -> None:
        with lock:
            answers.write(encode(message))
            answers.flush()

    order = decode(messages.readline())
    if not isinstance(order, Order):  # the driver died before it had given one
        return
    take_over(order.secrets)
    shipper = Shipper(order, lambda text: answer(Notify(text)), lambda number: answer(Shipped(number)))
    shipper.start()
    for line in messages:
        match decode(line):  # None where the driver died within a line
            case Changed(number):
                shipper.changed(TrialFiles(order.folder, number))
            case Finish(end):  # the driver ends this process once it shows no sign of progress
                answer(Finished(shipper.finish(end, threading.TIMEOUT_MAX)))


if __name__ == "__main__":
    main()
