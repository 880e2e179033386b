"""The end of what a test started: a command that outlives a failed test would go on beside all that follow."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

Started = subprocess.Popen[str]


def kill(process: Started) -> None:
    """Kill a process that leads a session of its own, with all that it started; nothing where it has ended."""
    if process.poll() is None:
        each = psutil.Process(process.pid).children(recursive=True)  # Ray's are in sessions of their own
        os.killpg(process.pid, signal.SIGKILL)
        for child in each:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


@contextmanager
def killed_at_the_end() -> Iterator[Callable[..., Started]]:
    """Gives what starts a process as `subprocess.Popen` does, in a session of its own; what still runs is killed."""
    started: list[Started] = []

    def start(command: list[str], **settings: Any) -> Started:
        started.append(subprocess.Popen(command, text=True, start_new_session=True, **settings))
        return started[-1]

    try:
        yield start
    finally:
        for process in started:
            kill(process)
