"""A disk that fills up while a sweep runs on it: the trial that finds no room waits with the sweep."""

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
def test_a_trial_that_finds_the_disk_full_waits_for_room_and_goes_on(
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
    while not trial.read("attempts.json"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert trial.read("attempts.json")["losses"] == 1
    assert list(disk.glob("heavy/trials/0/checkpoints/*.pt"))
    time.sleep(2)
    assert not (disk / "heavy" / "trials" / "1").exists()  # the sweep waits
    assert not trial.read("end.json")
    ballast.unlink()
    done = ended(process, 600)
    assert done.code == 0
    assert "has room again; the sweep goes on" in done.out
    states = [TrialFiles(disk / "heavy", number).read("end.json")["state"] for number in range(3)]
    assert states == ["COMPLETE"] * 3
    assert [line["step"] for line in trial.lines() if "valid/ndcg_10" in line["metrics"]] == [1, 2, 3, 4]


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
