"""The terminal of a sweep: a clean screen, everything else in a log file, signals as an exception."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from rich.console import Console

from trainables.redaction import redact

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PLAIN_WIDTH = 160
_ONE_PRESS_S = 0.5


class Interrupted(BaseException):
    """A signal asked the driver to end; `exit_code` is the shell's for it."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__(signal.Signals(signum).name)


class _Redacting(logging.Formatter):
    """Hides the secrets in a record, its traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def log_to(handler: logging.Handler) -> None:
    """Send all logging of this process to `handler`, without secrets."""
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def console_on(stream: TextIO) -> Console:
    """A console on `stream`, of a fixed width where that is no terminal."""
    return Console(file=stream, width=None if stream.isatty() else _PLAIN_WIDTH)


@contextmanager
def clean_screen(log: Path) -> Iterator[Console]:
    """A console on the real terminal, while file descriptors 1 and 2 and all logging go to `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    screen, errors = os.dup(1), os.dup(2)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    handler = logging.FileHandler(log)
    log_to(handler)
    with os.fdopen(os.dup(screen), "w", encoding="utf-8") as stream:
        try:
            yield console_on(stream)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(screen, 1)
            os.dup2(errors, 2)
            logging.getLogger().removeHandler(handler)
            handler.close()
            for descriptor in (screen, errors, target):
                os.close(descriptor)


class Signals:
    """A context in which SIGINT, SIGTERM and SIGHUP raise `Interrupted` in the main thread.

    Once only, so that the way out is not cut; but a second Ctrl-C ends the process there and then, where `now` is set.
    """

    def __init__(self) -> None:
        self.announce: Callable[[], None] = lambda: None
        """Called as soon as the first Ctrl-C comes, whatever the main thread does."""
        self.now: Callable[[], None] | None = None
        """Called by the second Ctrl-C, before the process ends. Nothing is lost by that: the next driver repairs it."""
        self._pressed = -_ONE_PRESS_S
        self._deferred = False
        self._noted: int | None = None
        self._raised: int | None = None

    def __enter__(self) -> Signals:
        self._before = {each: signal.getsignal(each) for each in _SIGNALS}
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def install(self) -> None:
        """Set the handlers (again: starting Ray replaces that of SIGTERM)."""
        for each in _SIGNALS:
            if each != signal.SIGHUP or self._before[each] != signal.SIG_IGN:  # nohup stays in force
                signal.signal(each, self._interrupt)

    def defer(self) -> None:
        """Note signals from here on, for `check` to raise: compiled code that runs now must not be cut.

        A second signal is raised at once. A signal that was raised before counts as handled.
        """
        self._deferred = True
        self._raised = None

    def resume(self) -> None:
        """Raise signals at once again, now the one that was noted, if there is one."""
        self._deferred = False
        self.check()

    def check(self) -> None:
        """Raise the signal that was noted, or that was raised where no code could catch it, if there is one.

        A callback of compiled code, such as a write of `torch.save`, may turn the exception into another one, or into
        none.
        """
        signum, self._noted, self._raised = self._noted or self._raised, None, None
        if signum is not None:
            self._end(signum)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self._deferred and self._noted is not None and signum == signal.SIGINT and self.now:
            self._end_now(signum, frame)
            return
        if signum == signal.SIGINT:
            self._pressed = time.monotonic()
            self.announce()
        if self._deferred and self._noted is None:
            self._noted = signum
            return
        self._noted, self._raised = None, signum
        self._end(signum)

    def _end(self, signum: int) -> NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        if self.now:
            signal.signal(signal.SIGINT, self._end_now)
        raise Interrupted(signum)

    def _end_now(self, signum: int, frame: FrameType | None) -> None:
        assert self.now
        if time.monotonic() - self._pressed < _ONE_PRESS_S:  # some wrappers pass one Ctrl-C on a second time
            return
        self.now()
        os._exit(128 + signum)
