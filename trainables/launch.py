"""The ranks of a trial: the one-rank process group of a worker, and N local ranks of a trial of several.

The worker that runs such a trial is none of its ranks. It starts one process for each, hands it a task, passes on what
rank 0 reports and ends all of them at once when one fails, when the trial is stopped, or when it ends itself: by the
kernel's own hand (PR_SET_PDEATHSIG), so that no ending leaves a process behind. Linux only.
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
from typing import Any

from trainables.trial import FINISHED, WORKER_LOST

Message = dict[str, Any]

_PR_SET_PDEATHSIG = 1
_SETTLE_S = 1.0  # after the first failure: others may fail of it, and one may have died without a word
_LAST_WORDS = 5  # lines


class RankFailed(RuntimeError):  # noqa: N818
    """A rank ended with an error, and the trial with it; ``reason`` is a word of :mod:`trainables.trial`."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


def run_ranks(
    module: str, tasks: Sequence[Message], *, receive: Callable[[Message], None], outputs: Path
) -> list[Message]:
    """Run ``python -m module`` once for each task, to the end; ``module`` opens a :class:`Worker`.

    Args:
        module: dotted name.
        tasks: one for each rank, JSON-ready.
        receive: called with each message of a rank but its last; raises to end all ranks.
        outputs: folder for what the ranks print.

    Returns:
        The last message of each rank.

    Raises:
        RankFailed: a rank failed or was killed; the others are killed at once.
    """
    outputs.mkdir(parents=True, exist_ok=True)
    ranks: list[_Rank] = []
    try:
        for number, task in enumerate(tasks):
            ranks.append(_Rank(number, len(tasks), module, outputs / f"{number}.log"))
            ranks[-1].say(task)
        failed_at: float | None = None
        while any(rank.last is None for rank in ranks):
            for rank in ranks:
                for message in rank.heard():
                    receive(message)
                    rank.say({"go_on": True})
            if failed_at is None and any(rank.failed for rank in ranks):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() > failed_at + _SETTLE_S:
                break
        if any(rank.failed for rank in ranks):
            raise _failure(ranks)
        return [rank.last for rank in ranks if rank.last]
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
        self._write({"last": True, "reason": reason, "text": text, "time": time.monotonic(), **more})

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

    @property
    def failed(self) -> bool:
        return self.last is not None and self.last["reason"] != FINISHED

    def say(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # it is gone, which the next look will tell
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def heard(self) -> list[Message]:
        """What has come in since the last look, waiting a moment for it; its last word is kept in ``last``."""
        if self.last is not None:
            return []
        over = self._process.poll() is not None  # before reading, so that its last words are read
        self._socket.settimeout(0.0 if over else 0.05)
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
        lines = self._output.read_text("utf-8", errors="replace").strip().splitlines()[-_LAST_WORDS:]
        said = "; its last words: " + " / ".join(line.strip() for line in lines) if lines else " without a word"
        first = code in (-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS)  # others may come of another rank's end
        return {"reason": WORKER_LOST, "text": f"{how}{said}", "time": 0.0 if first else time.monotonic()}


def _failure(ranks: Sequence[_Rank]) -> RankFailed:
    """Which rank's end the trial is told: one that died without a word, else the one that failed first."""
    found = [(rank, rank.last) for rank in ranks if rank.last and rank.failed]
    rank, last = min(found, key=lambda pair: pair[1]["time"])
    error = RankFailed(last["reason"], f"{rank.name}: {last['text']}")
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


def open_store() -> Any:
    """A store over which the ranks of a trial find each other, on a port that the kernel picks; closed when dropped."""
    from torch._C._distributed_c10d import TCPStore

    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def join(port: int, *, rank: int, world_size: int, device: str) -> None:
    """Make this process one rank of its trial's process group.

    Args:
        port: of the store that the worker opened.
        rank: from 0.
        world_size: ranks of the trial.
        device: ``cpu`` or ``cuda:<index>``.
    """
    import torch
    import torch.distributed as dist
    from torch._C._distributed_c10d import TCPStore

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are here, whatever the host's name resolves to
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=device.partition(":")[2] or str(rank))
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    store = TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(_backend(device), store=store, rank=rank, world_size=world_size)


def join_alone(device: str) -> None:
    """Make this process the one rank of a process group, unless it is in one already.

    DeepSpeed needs a group even for one rank, and a second one after the first was destroyed fails; so a worker keeps
    its group for all its trials. No port is opened.

    Args:
        device: ``cpu`` or ``cuda:<index>``.
    """
    import torch.distributed as dist
    from torch._C._distributed_c10d import HashStore

    os.environ.setdefault("LOCAL_RANK", device.partition(":")[2] or "0")  # DeepSpeed reads it, group or not
    if not dist.is_initialized():
        dist.init_process_group(_backend(device), store=HashStore(), rank=0, world_size=1)


def _backend(device: str) -> str:
    """The process group's backend for tensors on ``device`` and on the CPU."""
    return "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
