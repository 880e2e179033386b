"""One trial from plain values to its end."""

import json
import logging
import os

import pytest

from trainables.config import ConfigError
from trainables.runtime.worker import divides, limit_threads, run_trial, training_seed
from trainables.trial import LocalTrial, TrialStopped

CURVE = "tests.trainables.curve"


def test_a_trial_runs_with_the_config_that_its_values_make_and_keeps_it_whole(tmp_path):
    trial = LocalTrial(tmp_path)
    run_trial(CURVE, {"steps": 2, "part.name": "curved", "part.bend": 3}, trial)
    assert [step for step, _ in trial.reports] == [1, 2, 2]
    resolved = json.loads((tmp_path / "artifacts" / "config.json").read_text())
    assert resolved["trainable"] == CURVE
    assert (resolved["part.name"], resolved["part.bend"], resolved["width"]) == ("curved", 3, 32)


def test_values_that_make_no_config_are_refused_before_anything_runs(tmp_path):
    trial = LocalTrial(tmp_path)
    with pytest.raises(ConfigError, match="steps: must be at least 1, but got 0"):
        run_trial(CURVE, {"steps": 0}, trial)
    assert trial.reports == []
    assert not (tmp_path / "artifacts").exists()


def test_the_end_that_a_report_raises_comes_through(tmp_path):
    def stop(step: int, metrics: dict[str, float], last: bool) -> None:
        raise TrialStopped

    with pytest.raises(TrialStopped):
        run_trial(CURVE, {}, LocalTrial(tmp_path, send=stop))


def test_the_seed_of_training_is_the_parameter_of_that_name():
    assert training_seed({"seed": 7}) == 7
    assert training_seed({}) == 0
    assert training_seed({"seed": "seven"}) == 0


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1, 1), (2, 2), (3.7, 3)])
def test_math_threads_are_the_trials_share_of_cores(cpus, threads, monkeypatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    try:
        limit_threads(cpus)
        assert torch.get_num_threads() == threads
        assert os.environ["OMP_NUM_THREADS"] == str(threads)
    finally:
        torch.set_num_threads(before)


def test_resumed_is_the_same_as_never_stopped(tmp_path, caplog):
    """The trainable that all tests of the platform use keeps its own promise."""
    whole, parts = LocalTrial(tmp_path / "whole"), []

    def send(step: int, metrics: dict[str, float], last: bool) -> None:
        parts.append((step, metrics))
        if len(parts) == 3:
            raise RuntimeError("cut")

    run_trial(CURVE, {"x": 0.3}, whole)
    with pytest.raises(RuntimeError, match="cut"):
        run_trial(CURVE, {"x": 0.3}, LocalTrial(tmp_path / "parts", send=send))
    with caplog.at_level(logging.WARNING):
        run_trial(CURVE, {"x": 0.3}, LocalTrial(tmp_path / "parts", send=send))
    assert parts == [*whole.reports[:3], *whole.reports[2:]]  # reported first, saved after: one step is redone
    assert caplog.text == ""


def test_a_trainable_says_which_of_its_settings_may_be_trained_in_micro_batches():
    assert divides(CURVE, {"divisible": True})
    assert not divides(CURVE, {"divisible": False})
    assert not divides(CURVE, {"steps": 0, "divisible": True})
    assert not divides("floors", {})
    assert divides("spectran", {"adapter.name": "alphafuse"})
    assert not divides("spectran", {"adapter.name": "llm_esr"})
    assert not divides("spectran", {"backbone.name": "bert4rec"})


def test_a_trial_in_micro_batches_is_tagged(tmp_path):
    run_trial(CURVE, {"steps": 1}, LocalTrial(tmp_path / "whole"))
    run_trial(CURVE, {"steps": 1}, LocalTrial(tmp_path / "half", micro_batch_divisor=2))
    assert not (tmp_path / "whole" / "tags.json").exists()
    assert json.loads((tmp_path / "half" / "tags.json").read_text()) == {"trial.micro_batch_divisor": "2"}


def test_a_secret_setting_is_not_in_the_resolved_config(tmp_path):
    run_trial("tests.trainables.secretive", {"hub.api_key": "abc"}, LocalTrial(tmp_path))
    resolved = json.loads((tmp_path / "artifacts" / "config.json").read_text())
    assert resolved["hub.api_key"] == "***"
