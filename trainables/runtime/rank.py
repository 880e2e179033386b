"""``python -m trainables.runtime.rank``: one rank of a trial, started by its worker (worker.py, launch.py)."""

import os
import sys
from collections.abc import Callable
from typing import Any

import psutil

from trainables.runtime import launch, process_group
from trainables.runtime.failure import describe
from trainables.runtime.worker import limit_threads, run_trial
from trainables.storage import mirror
from trainables.storage.stages import Stages
from trainables.trial import FINISHED, TRACEBACK, LocalTrial


def main(descriptor: int, parent: int) -> int:
    """Run the task that comes down the line; returns the exit code."""
    worker = launch.Worker(descriptor, parent)
    task = worker.task
    trial = trial_of(task, worker.ask)
    try:
        limit_threads(task["threads"])
        group = {name: task[name] for name in ("interface", "rank", "world_size", "local_rank", "device")}
        process_group.join(task["address"], task["port"], **group)
        run_trial(task["trainable"], task["values"], trial)
    except (Exception, SystemExit) as error:
        reason, text = describe(error, trial)
        worker.leave(reason, text, traceback=trial.artifact(TRACEBACK).read_text())
        return 1
    worker.leave(FINISHED, memory_mib=psutil.Process().memory_info().rss / 2**20)
    return 0


def trial_of(task: dict[str, Any], ask: Callable[[dict[str, Any]], None]) -> LocalTrial:
    """The Trial of one rank; its reports go to its worker through ``ask``."""
    return LocalTrial(
        mirror.local_path(task["folder"]),
        seed=task["seed"],
        number=task["number"],
        attempt=task["attempt"],
        device=task["device"],
        rank=task["rank"],
        world_size=task["world_size"],
        stages=Stages(mirror.local_path(task["stages"])),
        micro_batch_divisor=task["micro_batch_divisor"],
        send=lambda step, metrics: ask({"step": step, "metrics": metrics}),
    )


if __name__ == "__main__":
    code = main(*map(int, sys.argv[1:]))
    sys.stdout.flush()
    os._exit(code)  # a process group that others have left may hang on its way out
