"""The ranks of a trial of several, as far as they run on this node: started, heard, and ended together.

The worker that runs such a trial is none of its ranks. It starts one process for each, hands it a task, passes on what
rank 0 reports and ends all of them at once when one fails, when the trial is stopped, or when it ends itself: by the
kernel's own hand (PR_SET_PDEATHSIG), so that no ending leaves a process behind. Where ranks run on other nodes too, see
node_agents.py, these are followed beside them. Linux only.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainables.trial import FINISHED, WORKER_LOST

Message = dict[str, Any]

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.05
_SETTLE_S = 1.0  # after the first failure: others may fail of it, and one may have died without a word
_LAST_WORDS = 5  # lines
_OF_OTHERS = ("/gloo/", "NCCL", "DistBackendError", "DistNetworkError", "DistStoreError")
"""What a rank's error says that comes of the end of another."""


class RankFailed(RuntimeError):  # noqa: N818
    """A rank ended with an error, and the trial with it; ``reason`` is a word of :mod:`trainables.trial`.

    ``time`` is that of its last word in seconds since 1970, 0 where it had none.
    """

    def __init__(self, reason: str, text: str, time: float = 0.0) -> None:
        self.reason = reason
        self.time = time
        super().__init__(text)


class RemoteRanks(Protocol):
    """Ranks that run elsewhere, followed like one that runs here."""

    name: str
    last: Message | None
    """The last word: ``reason``, ``text``, ``time`` (see :class:`RankFailed`), ``memory_mib`` where it is finished."""

    def poll(self) -> None:
        """Set ``last`` if there is one; returns at once."""

    def check_alive(self) -> None:
        """After ends that tell nothing themselves: set ``last`` if there is nobody any more who could send one."""


def run_ranks(
    module: str,
    tasks: Sequence[Message],
    *,
    receive: Callable[[Message], None],
    outputs: Path,
    others: Sequence[RemoteRanks] = (),
    check: Callable[[], None] = lambda: None,
) -> list[Message]:
    """Run ``python -m module`` once for each task, to the end; ``module`` opens a :class:`Worker`.

    Args:
        module: dotted name.
        tasks: one for each rank that runs here, JSON-ready, with its ``rank`` and the trial's ``world_size``.
        receive: called with each message of a rank but its last; raises to end all ranks.
        outputs: folder for what the ranks print.
        others: followed too, but ended by the caller.
        check: called again and again; raises to end all ranks.

    Returns:
        The last message of each rank and of each of the others.

    Raises:
        RankFailed: a rank failed or was killed; those that run here are killed at once.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    ranks: list[_Rank] = []
    try:
        for task in tasks:
            ranks.append(_Rank(task["rank"], task["world_size"], module, output_of(outputs, task["rank"])))
            ranks[-1].say(task)
        everyone: list[_Rank | RemoteRanks] = [*ranks, *others]
        failed_at: float | None = None
        while any(each.last is None for each in everyone):
            check()
            if all(rank.last for rank in ranks):
                time.sleep(_LOOK_S)
            for rank in ranks:
                for message in rank.heard():
                    receive(message)
                    rank.say({"go_on": True})
            for other in others:
                other.poll()
            if failed_at is None and any(_failed(each) for each in everyone):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() > failed_at + _SETTLE_S:
                if all(_of_another(each.last) for each in everyone if each.last and _failed(each)):
                    for other in others:
                        other.check_alive()
                break
        if any(_failed(each) for each in everyone):
            raise _failure(everyone)
        return [each.last for each in everyone if each.last]
    finally:
        for rank in ranks:
            rank.end()


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
        self.task = self._read()

    def ask(self, message: Message) -> None:
        """Send ``message`` and wait until it has been taken."""
        self._write(message)
        self._read()

    def leave(self, reason: str, text: str = "", **more: Any) -> None:
        """The last word."""
        self._write({"last": True, "reason": reason, "text": text, "time": time.time(), **more})

    def _write(self, message: Message) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> Message:
        line = self._lines.readline()
        if not line:
            raise SystemExit("the worker that started this rank is gone")
        message: Message = json.loads(line)
        return message


class _Rank:
    """One rank, as its parent sees it."""

    def __init__(self, number: int, of: int, module: str, output: Path) -> None:
        self.name = f"rank {number} of {of}"
        self.last: Message | None = None
        self._output = output
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        with theirs, output.open("wb") as file:
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

    def say(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # it is gone, which the next look will tell
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def heard(self) -> list[Message]:
        """What has come in since the last look, waiting a moment for it; its last word is kept in ``last``."""
        if self.last is not None:
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
        messages = [json.loads(line) for line in lines]
        self.last = next((message for message in messages if message.get("last")), None)
        if over and self.last is None:
            self.last = self._death()
        return [message for message in messages if not message.get("last")]

    def end(self) -> None:
        """Kill it and what it started, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()

    def _death(self) -> Message:
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        said = last_words(self._output) or " without a word"
        first = code in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS)  # others may come of another rank's end
        return {"reason": WORKER_LOST, "text": f"{how}{said}", "time": 0.0 if first else time.time()}


def output_of(outputs: Path, rank: int) -> Path:
    """Where a rank's output lies in the folder of all ranks' outputs."""
    return outputs / f"{rank}.log"


def last_words(output: Path) -> str:
    """The last lines of a rank's output in words that follow a sentence; "" where it said nothing."""
    try:
        lines = output.read_text("utf-8", errors="replace").strip().splitlines()[-_LAST_WORDS:]
    except OSError:
        return ""
    return "; its last words: " + " / ".join(line.strip() for line in lines) if lines else ""


def _failed(each: "_Rank | RemoteRanks") -> bool:
    return each.last is not None and each.last["reason"] != FINISHED


def _of_another(last: Message) -> bool:
    """Whether a rank's error came of another's end; one that was killed has no time, and words of any kind."""
    return last["time"] > 0 and any(words in last["text"] for words in _OF_OTHERS)


def _failure(everyone: "Sequence[_Rank | RemoteRanks]") -> RankFailed:
    """Which end the trial is told: one without a word, else the first one that did not come of another's."""
    found = [(each, each.last) for each in everyone if each.last and _failed(each)]
    each, last = min(found, key=lambda pair: (_of_another(pair[1]), pair[1]["time"]))
    error = RankFailed(last["reason"], f"{each.name}: {last['text']}", last["time"])
    if last.get("traceback"):
        error.add_note(last["traceback"])
    return error


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "a rank must be able to die with its worker, but prctl failed")
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)
