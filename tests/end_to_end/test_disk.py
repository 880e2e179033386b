"""A disk that fills up while a sweep runs on it: the trial that finds no room fails, the sweep waits and goes on."""

import time

import pytest

from platform.tracking.journal import TrialFiles

SWEEP = """\
name: heavy
trainable: tests.trainables.heavy
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 3
method: random
parameters: {steps: 4, sleep: 0.3, mebibytes: 4, x: {min: 0.0, max: 1.0}}
tracking: {best_trials: 1}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", [("--address", "inline"), ("--set", "max_concurrent_trials=1")], ids=["inline", "ray"]
)
def test_a_full_disk_fails_a_trial_and_the_sweep_goes_on_when_there_is_room(
    small_disk, fill, monkeypatch, start, ended, where
):
    disk = small_disk(24)
    file = disk.parent / "heavy.yaml"
    file.write_text(SWEEP)
    monkeypatch.setenv("SWEEP_STORAGE", str(disk))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{disk.parent}/mlflow.db")
    process = start(*where, file=file)
    while not list(disk.glob("heavy/trials/0/checkpoints/*.pt")):
        assert process.poll() is None
        time.sleep(0.05)
    ballast = fill(disk, leave=2**20)
    trial = TrialFiles(disk / "heavy", 0)
    deadline = time.monotonic() + 300
    while not trial.read("end.json"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert trial.read("end.json")["state"] == "FAIL"
    assert trial.read("end.json")["reason"].startswith(
        "disk full: OSError: [Errno 28] a checkpoint must fit on the disk"
    )
    assert list(disk.glob("heavy/trials/0/checkpoints/*.pt"))
    time.sleep(2)
    assert not (disk / "heavy" / "trials" / "1").exists()  # it waits
    ballast.unlink()
    done = ended(process, 600)
    assert done.code == 0
    assert "has room again; the sweep goes on" in done.out
    states = [TrialFiles(disk / "heavy", number).read("end.json")["state"] for number in range(3)]
    assert states == ["FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_is_told_without_a_traceback(small_disk, fill, monkeypatch, start, ended):
    disk = small_disk(1)
    file = disk.parent / "heavy.yaml"
    file.write_text(SWEEP)
    monkeypatch.setenv("SWEEP_STORAGE", str(disk))
    fill(disk)
    done = ended(start("--address", "inline", file=file))
    assert done.code == 1
    assert "No space left on device" in done.err
    assert done.err.endswith("the same command carries on then\n")
    assert "Traceback" not in done.err
