"""``python -m trainables.runtime.rank``: one rank of a trial, started by its worker (worker.py, launch.py)."""

import os
import sys
from collections.abc import Callable

import psutil

from trainables.runtime import launch, process_group
from trainables.runtime.failure import describe
from trainables.runtime.rank_messages import RankEnd, RankTask
from trainables.runtime.worker import limit_threads, make_trial, run_trial
from trainables.trial import FINISHED, TRACEBACK, LocalTrial


def main(descriptor: int, parent: int) -> int:
    """Run the task that comes down the line; returns the exit code."""
    worker = launch.Worker(descriptor, parent)
    trial, task = trial_of(worker.task, worker.report), worker.task.task
    try:
        limit_threads(task.cpus / task.ranks)
        process_group.join(worker.task)
        run_trial(task.trainable, task.values, trial)
    except (Exception, SystemExit) as error:
        reason, text = describe(error, trial)
        worker.leave(RankEnd(reason=reason, text=text, traceback=trial.artifact(TRACEBACK).read_text("utf-8")))
        return 1
    worker.leave(RankEnd(reason=FINISHED, memory_mib=psutil.Process().memory_info().rss / 2**20))
    return 0


def trial_of(rank_task: RankTask, report: Callable[[int, dict[str, float], bool], None]) -> LocalTrial:
    """The Trial of one rank, with reports that go to its worker."""
    task = rank_task.task
    return make_trial(task, report, device=rank_task.device, rank=rank_task.rank, world_size=task.ranks)


if __name__ == "__main__":
    code = main(*map(int, sys.argv[1:]))
    sys.stdout.flush()
    os._exit(code)  # a process group that others have left may hang on its way out
