"""Retention: the checkpoints on disk once trials have ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from platform.runners.retention import Retention
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.sweepfile.fields import Metric, Tracking
from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import start

UP, DOWN = Metric(name="valid/hr_10", goal="maximize"), Metric(name="valid/loss", goal="minimize")


def ended(number: int, state: str, *values: float, of: int | None = None) -> EndedTrial:
    return EndedTrial(number, TrialEnd.now(State(state), ""), values or None, of)


class Disk:
    """A sweep's folder with trials that leave two checkpoints, one of a phase, and weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed: list[int] = []

    def kept(self, *metrics: Metric, **tracking: Any) -> Retention:
        return Retention(
            self.folder, metrics or (UP,), Tracking(**tracking), lambda trial: self.changed.append(trial.number)
        )

    def end(self, kept: Retention, number: int, state: str, *values: float, of: int | None = None) -> None:
        trial = TrialFiles(self.folder, number).folder
        names = (
            "checkpoints/000001.pt",
            "checkpoints/000002.pt",
            "checkpoints/phase1/000007.pt",
            "artifacts/ranks.npy",
        )
        for name in (*names, "artifacts/best.safetensors"):
            (trial / name).parent.mkdir(parents=True, exist_ok=True)
            (trial / name).write_text("x")
        kept.ended(ended(number, state, *values, of=of))

    def left(self) -> dict[int, set[str]]:
        """The names of what is left of the checkpoints and weights, by trial."""
        return {
            int(trial.name): {path.stem for path in trial.rglob("*") if path.suffix in (".pt", ".safetensors")}
            for trial in (self.folder / "trials").iterdir()
        }


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


ALL_KEPT = {"000002", "000007", "best"}


def test_the_best_trials_of_the_sweep_keep_their_newest_checkpoint_and_their_weights(disk):
    kept = disk.kept(best_trials=2)
    for number, value in enumerate((0.3, 0.1, 0.2, 0.4)):
        disk.end(kept, number, "COMPLETE", value)
    assert disk.left() == {0: ALL_KEPT, 1: set(), 2: set(), 3: ALL_KEPT}
    assert disk.changed == [1, 2]  # overtaken by 2, then by 3
    assert (disk.folder / "trials" / "1" / "artifacts" / "ranks.npy").exists()


def test_what_is_best_is_said_by_the_goal_and_by_each_metric(disk):
    kept = disk.kept(UP, DOWN, best_trials=1)
    for number, values in enumerate(((0.5, 9.0), (0.1, 1.0), (0.4, 5.0))):
        disk.end(kept, number, "COMPLETE", *values)
    assert [number for number, names in sorted(disk.left().items()) if names] == [0, 1]


def test_pruned_trials_keep_nothing_and_the_last_failed_ones_their_newest_checkpoint(disk):
    kept = disk.kept(best_trials=1)
    for number, state in enumerate(("PRUNED", "FAIL", "FAIL", "PRUNED")):
        disk.end(kept, number, state)
    assert [number for number, names in sorted(disk.left().items()) if names] == [2]


@pytest.mark.parametrize(("rule", "left"), [("last", ALL_KEPT), ("none", set())])
def test_the_last_of_every_trial_or_nothing_is_kept_where_the_sweep_says_so(disk, rule, left):
    kept = disk.kept(checkpoints=rule)
    for number, state in enumerate(("COMPLETE", "PRUNED", "FAIL")):
        disk.end(kept, number, state, 0.5)
    assert disk.left() == {0: left, 1: left, 2: left}


def test_another_driver_goes_on_with_the_best_of_all(disk):
    before = disk.kept(best_trials=2)
    for number, value in enumerate((0.3, 0.1)):
        disk.end(before, number, "COMPLETE", value)
    again = disk.kept(best_trials=2)
    again.begin([ended(0, "COMPLETE", 0.3), ended(1, "COMPLETE", 0.1)])
    disk.end(again, 2, "COMPLETE", 0.2)
    assert [number for number, names in sorted(disk.left().items()) if names] == [0, 2]
    assert disk.changed == [1]


def test_a_trial_that_goes_on_keeps_its_checkpoints(begin: Callable[..., Any]) -> None:
    here = begin("limits.max_failures_per_trial=1", "tracking.checkpoints=none")
    task = start(here.ledger)
    (Path(task.folder) / "checkpoints").mkdir()
    here.ledger.fail(0, "exception", "once")
    here.ledger.interrupt()
    assert (Path(task.folder) / "checkpoints").exists()


def test_trials_wait_for_room_after_one_found_none(begin, monkeypatch):
    from platform.storage import disk_space

    free = [False]
    monkeypatch.setattr(disk_space, "_has_room", lambda folder, size: free[0])
    monkeypatch.setattr(disk_space, "_PAUSE_S", 0.0)
    here = begin()
    here.ledger.next_task(cpus=1.0, gpus=0.0)
    here.ledger.fail(0, "disk full", "OSError")
    assert here.ended == []
    assert here.ledger.waits
    assert here.ledger.next_task(cpus=1.0, gpus=0.0) is None
    free[0] = True
    again = here.ledger.next_task(cpus=1.0, gpus=0.0)
    assert (again.number, again.attempt) == (0, 1)
    assert not here.ledger.waits


def test_a_run_with_another_seed_is_kept_with_its_setting_and_takes_no_place(disk):
    kept = disk.kept(best_trials=1)
    disk.end(kept, 0, "COMPLETE", 0.5)
    disk.end(kept, 1, "COMPLETE", 0.4)
    disk.end(kept, 2, "COMPLETE", 0.9, of=0)
    assert disk.left() == {0: ALL_KEPT, 1: set(), 2: ALL_KEPT}
    disk.end(kept, 3, "COMPLETE", 0.6)
    assert disk.left() == {0: set(), 1: set(), 2: set(), 3: ALL_KEPT}
