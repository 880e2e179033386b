"""The ranks of a trial on this node: started, watched and ended together.

The worker that runs such a trial is none of its ranks. It starts one process per rank, sends it a task and passes on
what rank 0 reports. It ends all ranks when one fails or the trial is stopped. When the worker itself ends, the kernel
ends the ranks (PR_SET_PDEATHSIG), so that no process is left behind. Ranks on other nodes (node_agents.py) are watched
too. Linux only.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from trainables.runtime.messages import Report
from trainables.runtime.rank_messages import TAKEN, RankEnd, RankTask, from_line, task_from_line, to_line
from trainables.runtime.task import Task
from trainables.storage import mirror
from trainables.trial import FINISHED, WORKER_LOST

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.05
_SETTLE_S = 1.0  # after the first failure: others may fail of it, and one may have died without a word
_LAST_WORDS = 5  # lines
_OF_OTHERS = ("/gloo/", "NCCL", "DistBackendError", "DistNetworkError", "DistStoreError")
"""Texts of a rank's error that follows from the end of another rank."""


class RankFailed(RuntimeError):  # noqa: N818
    """A rank ended with an error, and the trial with it."""

    def __init__(self, end: RankEnd) -> None:
        self.end = end
        super().__init__(end.text)
        if end.traceback:
            self.add_note(end.traceback)


class RemoteRanks(Protocol):
    """Ranks that run elsewhere, followed like one that runs here."""

    name: str
    end: RankEnd | None
    """Their last word, once there is one."""

    def poll(self) -> None:
        """Set ``end`` if there is one; returns at once."""

    def check_alive(self) -> None:
        """After ends that tell nothing themselves: set ``end`` if there is nobody any more who could send one."""


def supervise_ranks(
    module: str,
    tasks: Sequence[RankTask],
    *,
    receive: Callable[[Report], None],
    others: Sequence[RemoteRanks] = (),
    check: Callable[[], None] = lambda: None,
) -> list[RankEnd]:
    """Run ``python -m module`` once for each task, to the end; ``module`` opens a :class:`Worker`.

    Args:
        module: dotted name.
        tasks: one for each rank that runs on this node.
        receive: called with each report of a rank; raises to end all ranks.
        others: followed too, but ended by the caller.
        check: called again and again; raises to end all ranks.

    Returns:
        The last word of each rank and of each of the others.

    Raises:
        RankFailed: a rank failed or was killed; those on this node are killed at once.
    """
    ranks: list[_Rank] = []
    try:
        for task in tasks:
            ranks.append(_Rank(task, module))
            ranks[-1].send(to_line(task))
        everyone: list[_Rank | RemoteRanks] = [*ranks, *others]
        failed_at: float | None = None
        while any(each.end is None for each in everyone):
            check()
            if all(rank.end for rank in ranks):
                time.sleep(_LOOK_S)
            for rank in ranks:
                for report in rank.read_reports():
                    receive(report)
                    rank.send(TAKEN)
            for other in others:
                other.poll()
            if failed_at is None and _failed(everyone):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() > failed_at + _SETTLE_S:
                if all(_of_another(end) for _, end in _failed(everyone)):
                    for other in others:
                        other.check_alive()
                break
        if failed := _failed(everyone):
            raise _failure(failed)
        return [each.end for each in everyone if each.end]
    finally:
        for rank in ranks:
            rank.kill()


class Worker:
    """A rank's line to the process that started it.

    Args:
        descriptor: of the socket, from the command line.
        parent: process id of who started this rank.
    """

    def __init__(self, descriptor: int, parent: int) -> None:
        _die_with(parent)
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self.task = task_from_line(self._read())

    def report(self, step: int, metrics: dict[str, float], last: bool) -> None:
        """Send a report and wait until it has been taken."""
        self._socket.sendall(to_line(Report(step=step, metrics=metrics, last=last)))
        self._read()

    def leave(self, end: RankEnd) -> None:
        """Send the last word."""
        self._socket.sendall(to_line(replace(end, time=time.time())))

    def _read(self) -> str:
        if line := self._lines.readline():
            return line
        raise SystemExit("the worker that started this rank is gone")


class _Rank:
    """One rank, as its parent sees it."""

    def __init__(self, task: RankTask, module: str) -> None:
        self.name = f"rank {task.rank} of {task.task.ranks}"
        self.end: RankEnd | None = None
        self._output = output_of(task.task, task.rank)
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        with theirs, self._output.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # so that what it starts can be killed with it
            )
        self._buffer = b""

    def send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone, which the next look will tell
            self._socket.sendall(line)

    def read_reports(self) -> list[Report]:
        """Reports since the last look, after a short wait for one. Sets ``end`` if that came too."""
        if self.end is not None:
            return []
        over = self._process.poll() is not None  # before reading, so that its last words are read
        self._socket.settimeout(0.0 if over else _LOOK_S)
        try:
            while chunk := self._socket.recv(1 << 16):
                self._buffer += chunk
                self._socket.settimeout(0.0)
        except (TimeoutError, BlockingIOError, ConnectionError):
            pass
        *lines, self._buffer = self._buffer.split(b"\n")
        messages = [from_line(line) for line in lines]
        self.end = next((message for message in messages if isinstance(message, RankEnd)), None)
        if over and self.end is None:
            self.end = self._death()
        return [message for message in messages if isinstance(message, Report)]

    def kill(self) -> None:
        """Kill it and what it started, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()

    def _death(self) -> RankEnd:
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        said = last_words(self._output) or " without a word"
        first = code in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS)  # others may come of another rank's end
        return RankEnd(reason=WORKER_LOST, text=f"{how}{said}", time=0.0 if first else time.time())


def output_of(task: Task, rank: int) -> Path:
    """The file for what a rank prints."""
    return mirror.local_path(task.folder) / "ranks" / f"{rank}.log"


def last_words(output: Path) -> str:
    """The last lines of a rank's output in words that follow a sentence; "" where it said nothing."""
    try:
        lines = output.read_text("utf-8", errors="replace").strip().splitlines()[-_LAST_WORDS:]
    except OSError:
        return ""
    return "; its last words: " + " / ".join(line.strip() for line in lines) if lines else ""


def _failed(everyone: Sequence[_Rank | RemoteRanks]) -> list[tuple[str, RankEnd]]:
    """Names and last words of those that ended with an error."""
    return [(each.name, each.end) for each in everyone if each.end and each.end.reason != FINISHED]


def _of_another(end: RankEnd) -> bool:
    """True if a rank's error came of another's end. One that was killed has no time, and words of any kind."""
    return end.time > 0 and any(words in end.text for words in _OF_OTHERS)


def _failure(failed: Sequence[tuple[str, RankEnd]]) -> RankFailed:
    """The error of the trial: an end without a word, else the first one that did not come of another's."""
    name, end = min(failed, key=lambda each: (_of_another(each[1]), each[1].time))
    return RankFailed(replace(end, text=f"{name}: {end.text}"))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "a rank must be able to die with its worker, but prctl failed")
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)
