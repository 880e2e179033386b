"""One trial in a (reused) actor of Ray, its reports sent to the driver.

The driver may answer a report by ending the trial, which Ray turns into SystemExit inside ``tune.report``.
"""

import contextlib
import ctypes
import functools
import gc
import os
import sys
import threading
import time
from typing import Any

from trainables.runtime.failure import describe
from trainables.runtime.messages import Report, WorkerEnd, to_result
from trainables.runtime.task import Task
from trainables.runtime.worker import limit_threads, make_trial, run_on_node
from trainables.trial import FINISHED, RETIRED, LocalTrial, TrialStopped

_THREADS_SETTLE_S = 2.0
_GPU_MEMORY_KEPT_MIB = 64.0  # workspaces of the math libraries

_leftover: str | None = None  # why this actor takes no further trial


def train(config: dict[str, Any]) -> None:
    """Run the trial of the :class:`Task` that Tune's ``config`` holds.

    Raises:
        RuntimeError: the trial ended with an error, or this actor is not clean enough for another one; either way Ray
            discards the actor.
    """
    if _leftover:
        _last_word(WorkerEnd(reason=RETIRED, text=_leftover))
        raise RuntimeError(f"a worker is used again only if its last trial left nothing behind, but {_leftover}")
    task = Task.from_dict(config)
    limit_threads(task.cpus)
    _settle()
    threads_before = set(threading.enumerate())
    started = time.monotonic()
    trial: LocalTrial | None = None
    reason, text, stopped, others = FINISHED, "", False, 0.0
    try:
        trial = trial_of(task)
        others = _run(task.whole(), trial)
    except TrialStopped:
        stopped = True
    except (Exception, SystemExit) as error:
        reason, text = describe(error, trial)
    if trial and not stopped:
        trial.upload_artifacts()
    metrics = {"trial/wall_seconds": time.monotonic() - started, "trial/memory_mib": _memory_mib() + others}
    _note_leftovers(threads_before)  # here, as an exception that is being handled keeps the trial's objects alive
    if trial:
        trial.delete_local()
    if not stopped:
        _last_word(WorkerEnd(reason=reason, text=text, metrics=metrics))
    if reason != FINISHED:
        raise RuntimeError(text)
    sys.exit(0)  # as Tune's own report does: a plain return would report once more and wait for an answer


def _run(task: Task, trial: LocalTrial) -> float:
    """Run the trial where its ranks have their places; MiB of memory that other processes held."""
    if task.nodes == 1:
        return run_on_node(task, trial)
    from trainables.runtime.node_agents import run_on_nodes

    return run_on_nodes(task, trial)


def trial_of(task: Task) -> LocalTrial:
    """The Trial that ``task`` describes, with reports that go to the driver."""

    def send(step: int, metrics: dict[str, float], last: bool) -> None:
        _send(Report(step=step, metrics=metrics, last=last))

    return make_trial(task, send, device=device(task.gpus))


def device(gpus: float) -> str:
    """``cuda:0`` where this process was given (a share of) a GPU, else ``cpu``."""
    if not gpus:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"resources.gpu must be usable where the trial runs, but torch sees no GPU (asked: {gpus})")
    if gpus < 1:
        torch.cuda.set_per_process_memory_fraction(gpus)
    return "cuda:0"


@functools.cache
def _settle() -> None:
    """Once an actor: what the imports made stays, so that later collections look at a trial's objects only."""
    gc.freeze()


def _send(message: Report | WorkerEnd) -> None:
    from ray import tune

    try:
        tune.report(to_result(message))
    except SystemExit as end:
        raise TrialStopped("the driver ended this trial") from end


def _last_word(end: WorkerEnd) -> None:
    with contextlib.suppress(TrialStopped):
        _send(end)


def _note_leftovers(threads_before: set[threading.Thread]) -> None:
    """Remember why this actor must not be used again, if a trial left a thread or GPU memory behind."""
    global _leftover
    gc.collect()
    _give_memory_back()
    deadline = time.monotonic() + _THREADS_SETTLE_S
    while new := [t.name for t in set(threading.enumerate()) - threads_before if t.is_alive() and _is_ours(t)]:
        if time.monotonic() > deadline:
            _leftover = f"the threads {', '.join(sorted(new))} still run"
            return
        time.sleep(0.01)
    if (kept := _gpu_memory_mib()) > _GPU_MEMORY_KEPT_MIB:
        _leftover = f"{kept:.0f} MiB of GPU memory are still taken"


def _give_memory_back() -> None:
    """Hand freed memory to the system. glibc keeps what a thread freed for that thread's arena, and every trial is a
    thread of its own: an actor grew by 190 MiB a trial of HatLLM (measured). Elsewhere this does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _gpu_memory_mib() -> float:
    """Empty the GPU's cache and return the MiB that this process's tensors hold, 0 where no GPU was used."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    torch.cuda.empty_cache()
    return float(torch.cuda.memory_allocated() / 2**20)


def _is_ours(thread: threading.Thread) -> bool:
    """True if the trainable started the thread, not Ray or the standard library."""
    module = type(thread).__module__
    target = getattr(thread, "_target", None)
    origin = getattr(target, "__module__", None) or module
    return not origin.startswith(("ray", "concurrent", "grpc", "asyncio", "tqdm"))


def _memory_mib() -> float:
    import psutil

    return float(psutil.Process(os.getpid()).memory_info().rss / 2**20)
