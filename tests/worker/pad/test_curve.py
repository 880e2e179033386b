"""Reports of a phase are stored, resumed after a crash, and replayed to trials that only load the phase."""

from pathlib import Path

import numpy as np
import pytest

from trainables.pad.curve import Curve, ReportOnce, replay, steps
from trainables.storage import mirror
from trainables.trial import LocalTrial, TrialStopped


def test_a_reader_reports_the_lines_that_the_trainer_reported(tmp_path: Path) -> None:
    trainer, reader = LocalTrial(tmp_path / "a"), LocalTrial(tmp_path / "b")
    curve = Curve(tmp_path, trainer)
    curve.report(1, {"valid/hr_10": 0.1, "train/loss": 2.0})
    curve.report(2, {"valid/hr_10": 0.2})
    arrays = curve.arrays()
    assert steps(arrays) == 2
    replay(arrays, reader)
    assert (
        reader.reports == trainer.reports == [(1, {"valid/hr_10": 0.1, "train/loss": 2.0}), (2, {"valid/hr_10": 0.2})]
    )


def test_who_trained_reports_nothing_twice(tmp_path: Path) -> None:
    trial = LocalTrial(tmp_path / "a")
    once = ReportOnce(trial)
    curve = Curve(tmp_path, once)
    curve.report(1, {"valid/hr_10": 0.1})
    replay(curve.arrays(), once)
    assert trial.reports == [(1, {"valid/hr_10": 0.1})]


def test_who_takes_over_reports_the_dead_trials_lines_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    first = Curve(tmp_path, LocalTrial(tmp_path / "a"))
    first.report(1, {"valid/hr_10": 0.1})
    first.save({"epoch": 1})
    first.report(2, {"valid/hr_10": 0.7})  # it dies before the checkpoint of this epoch
    with (tmp_path / "curve.jsonl").open("a") as stream:
        stream.write('{"step": 3, "met')
    heir = LocalTrial(tmp_path / "b")
    second = Curve(tmp_path, ReportOnce(heir))
    assert second.load() == {"epoch": 1}
    second.report(2, {"valid/hr_10": 0.2})
    assert heir.reports[0] == (1, {"valid/hr_10": 0.1})
    assert np.asarray(second.arrays()["curve_values"])[:, 0].tolist() == [0.1, 0.2]


def test_a_line_is_written_down_before_the_trial_may_be_stopped_by_it(tmp_path: Path) -> None:
    def stop(step: int, metrics: dict[str, float], last: bool) -> None:
        raise TrialStopped

    curve = Curve(tmp_path, LocalTrial(tmp_path / "a", send=stop))
    with pytest.raises(TrialStopped):
        curve.report(1, {"valid/hr_10": 0.1})
    assert steps(curve.arrays()) == 1


def test_on_another_node_who_takes_over_finds_the_lines_in_the_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_node(name: str) -> tuple[Curve, LocalTrial]:
        monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / name))
        folder = mirror.local_path(f"{bucket}/stages/phase")
        folder.mkdir(parents=True, exist_ok=True)
        trial = LocalTrial(tmp_path / f"trial-{name}")
        return Curve(folder, trial), trial

    first, _ = on_node("first")
    for epoch in (1, 2):
        first.report(epoch, {"valid/hr_10": epoch / 10})
        first.save({"epoch": epoch})
    second, heir = on_node("second")
    assert second.load() == {"epoch": 2}
    assert heir.reports == [(1, {"valid/hr_10": 0.1}), (2, {"valid/hr_10": 0.2})]
    assert steps(second.arrays()) == 2
