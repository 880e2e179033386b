"""Tracks a sweep in MLflow by a process of its own, which takes neither the driver's time nor that of its trials.

The tracker sends the process (`shipper.py`) the numbers of trials with news on disk; the process reads the trials
itself. If it dies, the tracker starts it again and resends unconfirmed numbers. Nothing here ever stops or delays a
sweep.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from platform.tracking.destination import Destination
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
from trainables.redaction import remembered

_ROOT = Path(__file__).parents[2]
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0
_HEARS_S = 60.0  # within which a process that was just started reads what it is told
_LOOKS_S, _WORKS_S = 0.5, 0.5  # pause between two looks for progress; CPU time that is a sign of it
_DEATHS = 3  # in a row, without anything shipped, before the user is told

logger = logging.getLogger(__name__)


class Tracker:
    """One sweep's way to MLflow.

    Args:
        destination: the MLflow store.
        sweep: the sweep's name.
        folder: the sweep's folder in the storage.
        tags: of the parent and of every trial (git commit, package versions).
        notify: called with one sentence when tracking is lost and when it is back.
    """

    def __init__(
        self, destination: Destination, sweep: str, folder: Path, tags: Mapping[str, str], notify: Callable[[str], None]
    ) -> None:
        self.destination = destination
        self._folder = folder
        self._notify = notify
        self._order = Order(
            destination=destination, sweep=sweep, sweep_id="", folder=folder, tags=tags, secrets=tuple(remembered())
        )
        self._lock = threading.Lock()
        self._unsent: set[int] = set()  # trials with something new that the process has not been told of
        self._unconfirmed: set[int] = set()  # trials that it has been told of and has not shipped yet
        self._ready = False  # whether the process has been told of all that was there when it started
        self._end: ParentEnd | None = None
        self._patience_s = _HEARS_S
        self._messages = 0  # from the process, so far
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        self._finished: bool | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self, sweep_id: str) -> None:
        """Begin shipping; what an earlier driver left unsent comes first.

        Args:
            sweep_id: tells the sweep from others of its name.
        """
        self._order = dataclasses.replace(self._order, sweep_id=sweep_id)
        self._thread.start()

    def changed(self, trial: TrialFiles) -> None:
        """Note that a trial has news on disk."""
        with self._lock:
            if self._ready and trial.number not in self._unconfirmed:
                self._send(trial.number)
            else:
                self._unsent.add(trial.number)

    def finish(self, end: ParentEnd, patience_s: float = 30.0) -> bool:
        """Ship what is left and end the parent run; False if the store did not take all of it.

        No process is left, either way.

        Args:
            end: of the parent; its `time` and `step` are set here.
            patience_s: seconds without a sign of progress: a message of the process, or half a second of its CPU time.
        """
        ended = sum(1 for trial in all_trials(self._folder) if trial.read("end.json"))
        with self._lock:
            self._patience_s = patience_s
            self._end = dataclasses.replace(end, time=time.time(), step=ended)
            if self._ready:
                for number in sorted(self._unsent):
                    self._send(number, patience_s)
                self._write_end()
        try:
            if self._thread.ident is not None:  # it was started
                self._wait(patience_s)
        finally:
            self.close()
        return bool(self._finished)

    def _wait(self, patience_s: float) -> None:
        """Wait for the end, or until there was no sign of progress for so long."""
        last, seen = time.monotonic(), self._signs()
        while self._thread.is_alive() and time.monotonic() < last + patience_s:
            self._thread.join(min(_LOOKS_S, patience_s))
            if (signs := self._signs()) != seen:
                last, seen = time.monotonic(), signs

    def _signs(self) -> tuple[int, int]:
        """Messages and half seconds of CPU time of the process; a process that keeps dying shows no signs."""
        process = self._process
        if process is None or self._deaths >= _DEATHS:
            return self._messages, 0
        try:
            used = psutil.Process(process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return self._messages, 0
        return self._messages, int((used.user + used.system) / _WORKS_S)

    def close(self) -> None:
        """End the process, whatever it does; the next driver ships the rest."""
        self._closed.set()
        with self._lock:
            if self._process:
                self._process.kill()
                self._process.wait()
        if self._thread.ident is not None:
            self._thread.join()  # its line is at its end now

    def _run(self) -> None:
        """Keep a process that ships, and read its messages, until all is done."""
        pause = _PAUSE_S
        while True:
            try:
                self._begin()
                self._read_messages()
            except OSError as error:
                logger.warning("tracking: %s", error)
            self._reap()
            if self._finished is not None or self._closed.is_set():
                return
            self._deaths += 1
            logger.warning("tracking: the process that ships to MLflow has died; it is started again")
            if self._deaths == _DEATHS:
                self._notify(f"the process that ships to MLflow at {self.destination} keeps dying; the sweep goes on")
            pause = _PAUSE_S if self._deaths == 1 else min(2 * pause, _LONGEST_PAUSE_S)
            self._closed.wait(pause)

    def _begin(self) -> None:
        """Start a process, and send it all trials that no process has confirmed.

        Raises:
            OSError: there is no process to be had.
        """
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        with self._lock:
            if self._closed.is_set():
                return
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "platform.tracking.shipper"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                process_group=0,  # a signal to the driver's group, such as Ctrl-C, is not for it
            )
            self._unsent |= self._unconfirmed  # the process before died, perhaps before it shipped these
            self._unconfirmed.clear()
        self._write(self._order)
        while not self._ready:
            with self._lock:
                numbers, self._unsent = sorted(self._unsent), set()
                self._unconfirmed.update(numbers)
                if not numbers:
                    self._ready = True
                    if self._end is not None:
                        self._write_end()
            for number in numbers:  # which may take as long as it takes to start; the driver does not wait
                self._write(Changed(number), _HEARS_S)

    def _reap(self) -> None:
        with self._lock:
            self._ready = False
            if self._process and self._process.stdin:
                self._process.kill()
                self._process.wait()
                self._process.stdin.close()
                self._process = None

    def _read_messages(self) -> None:
        """Read the messages of the process until it ends."""
        process = self._process
        if process is None or process.stdout is None:  # closed meanwhile
            return
        with process.stdout as answers:
            for line in answers:
                self._messages += 1
                match decode(line):  # None where the process died within a line
                    case Notify(text):
                        self._notify(text)
                    case Shipped(number):
                        self._deaths = 0
                        self._confirm(number)
                    case Finished(took_all):
                        self._finished = took_all
                        return

    def _confirm(self, number: int) -> None:
        with self._lock:
            self._unconfirmed.discard(number)
            if number in self._unsent:
                self._send(number)

    def _send(self, number: int, patience_s: float = 0.0) -> None:
        """Send a trial's number to a process that is ready."""
        self._unsent.discard(number)
        self._unconfirmed.add(number)
        self._write(Changed(number), patience_s)

    def _write_end(self) -> None:
        assert self._end is not None
        self._write(Finish(self._end), self._patience_s)

    def _write(self, message: Message, patience_s: float = 0.0) -> None:
        """Write a line to the process if there is one; a process that does not read it is ended and replaced."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        assert process.stdin
        rest = memoryview(encode(message))
        ready = select.poll()
        ready.register(process.stdin, select.POLLOUT)
        deadline = time.monotonic() + patience_s
        try:
            while rest:
                if not ready.poll(1000 * max(deadline - time.monotonic(), 0.0)):
                    process.kill()  # it hangs
                    return
                rest = rest[os.write(process.stdin.fileno(), rest[: select.PIPE_BUF]) :]
        except BrokenPipeError:  # it died: `_run` notices, and tells another one
            return
