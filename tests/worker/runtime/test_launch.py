"""Several local ranks: they train as one rank does, and end together whatever ends one of them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainables.runtime import launch
from trainables.runtime.failure import describe
from trainables.runtime.launch import RankFailed
from trainables.runtime.rank_messages import RankEnd
from trainables.runtime.task import Task
from trainables.runtime.worker import run_on_node
from trainables.trial import EXCEPTION, FINISHED, OUT_OF_MEMORY, WORKER_LOST, LocalTrial, TrialStopped

ROOT = Path(__file__).parents[3]
RANKED = "tests.trainables.ranked"


def task(folder: Path, ranks: int, attempt: int = 0, gpus: float = 0.0, **values) -> Task:
    where: dict[str, Any] = {"folder": str(folder), "stages": str(folder / "stages"), "number": 0, "attempt": attempt}
    return Task(trainable=RANKED, values=values, ranks=ranks, cpus=float(ranks), gpus=gpus, **where)


def train(folder: Path, ranks: int, *, attempt: int = 0, send=None, **values) -> LocalTrial:
    trial = LocalTrial(folder, attempt=attempt, send=send)
    run_on_node(task(folder, ranks, attempt, **values), trial)
    return trial


def losses(trial: LocalTrial) -> list[float]:
    return [metrics["train/loss"] for _, metrics in trial.reports]


def no_rank_is_left() -> bool:
    return not [
        child for child in psutil.Process().children(recursive=True) if "trainables.runtime.rank" in child.cmdline()
    ]


def gone(pid: int, within: float = 10) -> bool:
    """Return True if no process `pid` runs; a zombie does not count as running."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_two_ranks_train_as_one_does_on_the_same_rows_and_carry_on_as_two_or_one(tmp_path):
    """Without ZeRO and at each stage; sizes are odd, so that its last part is filled up."""
    whole = losses(train(tmp_path / "whole", 1, steps=6))
    stages = [-1, 0, 1, 2, 3]
    for ranks, begin, end in ((2, 0, 3), (2, 3, 5), (1, 5, 6)):
        reports = train(tmp_path / "many", ranks, stages=stages, steps=end).reports
        for stage in stages:
            name = f"zero{stage % 5}/train/loss"
            of_stage = [(step, metrics[name]) for step, metrics in reports if name in metrics]
            assert [step for step, _ in of_stage] == [*range(begin + 1, end + 1)]
            assert [loss for _, loss in of_stage] == pytest.approx(whole[begin:end], abs=1e-5), stage
    assert no_rank_is_left()


@pytest.mark.slow
def test_a_rank_killed_mid_step_fails_the_trial_at_once_with_its_last_words_and_the_retry_carries_on(tmp_path):
    whole = losses(train(tmp_path / "whole", 1))
    trial = LocalTrial(tmp_path / "two")
    with pytest.raises(RankFailed) as caught:
        run_on_node(task(tmp_path / "two", 2, wrong="kill_once"), trial)
    assert str(caught.value) == "rank 1 of 2: was killed by SIGKILL; its last words: this rank is about to be killed"
    assert describe(caught.value, trial)[0] == WORKER_LOST
    assert no_rank_is_left()
    assert losses(trial) == pytest.approx(whole[:2], abs=1e-5)
    again = train(tmp_path / "two", 2, attempt=1, wrong="kill_once")
    assert [step for step, _ in again.reports] == [3, 4, 5]
    assert losses(again) == pytest.approx(whole[2:], abs=1e-5)


@pytest.mark.slow
def test_an_exception_of_any_rank_is_the_trials_with_its_reason_and_traceback(tmp_path):
    trial = LocalTrial(tmp_path)
    with pytest.raises(RankFailed) as caught:
        run_on_node(task(tmp_path, 2, wrong="memory"), trial)
    assert describe(caught.value, trial) == (
        OUT_OF_MEMORY,
        "RankFailed: rank 1 of 2: MemoryError: no room on this rank",
    )
    traceback = trial.artifact("traceback.txt").read_text()
    assert re.search(r"ranked/run\.py.*\n.*_go_wrong", traceback)
    assert no_rank_is_left()


@pytest.mark.slow
def test_a_trial_that_is_stopped_ends_all_its_ranks_and_what_they_started(tmp_path):
    def stop(step: int, metrics: dict[str, float], last: bool) -> None:
        if step == 4:
            raise TrialStopped

    with pytest.raises(TrialStopped):
        train(tmp_path, 2, wrong="children", send=stop)
    assert no_rank_is_left()
    assert gone(int((tmp_path / "ranks" / "1" / "child").read_text()))


@pytest.mark.slow
def test_ranks_die_with_a_worker_that_is_killed(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from tests.worker.runtime.test_launch import train\n"
        f"train(Path({str(tmp_path)!r}), 2, wrong='hang')\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    child, until = tmp_path / "ranks" / "1" / "child", time.monotonic() + 60
    while not (child.exists() and child.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    ranks = [each.pid for each in psutil.Process(worker.pid).children() if "trainables.runtime.rank" in each.cmdline()]
    try:
        assert len(ranks) == 2
        os.kill(worker.pid, signal.SIGKILL)
        assert all(gone(pid) for pid in ranks)
    finally:
        worker.kill()
        worker.wait()
        os.kill(int(child.read_text()), signal.SIGKILL)  # a rank's own child outlives a rank that is killed


class Elsewhere:
    """Ranks that run elsewhere: their last word at the second look, and the one that a check on them gives."""

    def __init__(self, name: str, end: RankEnd | None, if_checked: RankEnd | None = None) -> None:
        self.name = name
        self.end: RankEnd | None = None
        self._end, self._if_checked, self._looks = end, if_checked, 0

    def poll(self) -> None:
        self._looks += 1
        self.end = self._end if self._looks > 1 else None

    def check_alive(self) -> None:
        self.end = self.end or self._if_checked


def follow(*others: Elsewhere, **more) -> list[RankEnd]:
    return launch.supervise_ranks("no.module", [], receive=lambda report: None, others=others, **more)


BROKEN = RankEnd(
    reason=EXCEPTION,
    text="rank 0 of 2: RuntimeError: [/src/gloo/transport/tcp/pair.cc:1] Connection closed by peer",
    time=1.0,
)
GONE = RankEnd(reason=WORKER_LOST, text="is gone (its node agent died)")


def test_ranks_elsewhere_are_followed_to_their_end():
    ends = [RankEnd(reason=FINISHED, memory_mib=size) for size in (1.0, 2.0)]
    assert follow(*(Elsewhere("node", end) for end in ends)) == ends


@pytest.mark.parametrize(
    ("other", "reason", "text"),
    [
        (
            RankEnd(reason=OUT_OF_MEMORY, text="rank 1 of 2: MemoryError: x", time=2.0),
            OUT_OF_MEMORY,
            "rank 1 of 2: M",
        ),
        (GONE, WORKER_LOST, "is gone (its node agent died)"),
    ],
)
def test_a_connection_that_broke_is_not_told_where_another_end_broke_it(other, reason, text):
    with pytest.raises(RankFailed, match=re.escape(f"node b: {text}")) as caught:
        follow(Elsewhere("node a", BROKEN), Elsewhere("node b", other))
    assert caught.value.end.reason == reason


def test_who_says_nothing_after_an_end_elsewhere_is_asked_after():
    with pytest.raises(RankFailed, match=re.escape("node b: is gone (its node agent died)")):
        follow(Elsewhere("node a", BROKEN), Elsewhere("node b", None, GONE))
    with pytest.raises(RankFailed, match=r"node a: rank 0 of 2: RuntimeError: \[/src/gloo/"):
        follow(Elsewhere("node a", BROKEN), Elsewhere("node b", None))


def test_an_error_of_its_own_is_told_without_asking_after_others():
    own = RankEnd(reason=EXCEPTION, text="rank 0 of 2: ValueError: x", time=1.0)
    with pytest.raises(RankFailed, match="node a: rank 0 of 2: ValueError: x"):
        follow(Elsewhere("node a", own), Elsewhere("node b", None, GONE))


def test_a_check_that_raises_ends_the_following():
    def stop() -> None:
        raise TrialStopped

    with pytest.raises(TrialStopped):
        follow(Elsewhere("node", None), check=stop)


def test_more_ranks_than_gpus_are_refused_before_one_is_started(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        ValueError, match=r"workers must be at most the GPUs of a trial, but got 2 ranks and 1 GPUs; low"
    ):
        run_on_node(task(tmp_path, 2, gpus=2.0), LocalTrial(tmp_path))
    assert not (tmp_path / "ranks").exists()
