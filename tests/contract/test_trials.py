"""Every Trial keeps the same promises: in this process, as a phase, and under Ray."""

import logging
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from trainables.runtime import on_ray, rank
from trainables.runtime.messages import Report
from trainables.runtime.rank_messages import RankTask, from_line, to_line
from trainables.runtime.task import Task
from trainables.storage.stages import stage
from trainables.trial import LocalTrial, Trial, TrialStopped

Sent = list[tuple[int, dict[str, float]]]


def _local(folder: Path, sent: Sent, stop_at: int) -> Trial:
    def send(step: int, metrics: dict[str, float], last: bool) -> None:
        sent.append((step, metrics))
        if step == stop_at:
            raise TrialStopped

    return LocalTrial(folder, send=send)


def _phase(folder: Path, sent: Sent, stop_at: int) -> Trial:
    return _local(folder, sent, stop_at).phase("pretrain")


def _last_phase(folder: Path, sent: Sent, stop_at: int) -> Trial:
    """A phase whose metrics are the trial's own, with its checkpoints elsewhere."""
    return _local(folder, sent, stop_at).phase("", checkpoints=folder / "scratch")


def _task(folder: Path, ranks: int = 1) -> Task:
    return Task(trainable="any", values={}, number=0, folder=str(folder), stages=str(folder), cpus=1.0, ranks=ranks)


def _ray(folder: Path, sent: Sent, stop_at: int) -> Trial:
    """The Trial that a Ray worker makes, over a session that answers as Tune's does."""

    def report(message: dict) -> None:
        sent.append((message["step"], dict(message["metrics"])))
        if message["step"] == stop_at:
            raise SystemExit(0)

    from ray import tune

    tune.report = report
    return on_ray.trial_of(_task(folder))


def _rank(folder: Path, sent: Sent, stop_at: int) -> Trial:
    """Rank 0 of two: its reports go, as JSON, to a trial of its worker's."""
    worker = _local(folder, sent, stop_at)

    def report(step: int, metrics: dict[str, float], last: bool) -> None:
        taken = from_line(to_line(Report(step=step, metrics=metrics, last=last)))
        assert isinstance(taken, Report)
        worker.report(taken.step, taken.metrics, taken.last)

    place: dict[str, Any] = {"device": "cpu", "interface": "lo", "address": "127.0.0.1", "port": 0}
    return rank.trial_of(RankTask(task=_task(folder, ranks=2), rank=0, local_rank=0, **place), report)


def _ray_phase(folder: Path, sent: Sent, stop_at: int) -> Trial:
    return _ray(folder, sent, stop_at).phase("pretrain")


@pytest.fixture(
    params=[_local, _phase, _last_phase, _ray, _ray_phase, _rank],
    ids=["local", "phase", "last phase", "ray", "ray phase", "rank"],
)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Sent, int], Trial]:
    from ray import tune

    monkeypatch.setattr(tune, "report", tune.report)
    return request.param


def test_a_report_arrives_with_its_step_and_plain_floats(make, tmp_path):
    sent: Sent = []
    make(tmp_path, sent, -1).report(3, {"valid/hr_10": torch.tensor(0.25)})
    ((step, metrics),) = sent
    assert step == 3
    assert list(metrics.values()) == [0.25]
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize(
    ("step", "metrics", "message"),
    [
        (
            3,
            {"valid/hr_10": "abc"},
            r"a metric must be a number, but (pretrain/)?valid/hr_10 is 'abc' at step 3; report",
        ),
        (3, {"train/loss": 0.1, "valid/hr_10": None}, r"but (pretrain/)?valid/hr_10 is None at step 3"),
        (3, {"valid/hr_10": torch.ones(2)}, r"but (pretrain/)?valid/hr_10 is tensor\(\[1., 1.\]\) at step 3"),
        (3, {"valid/hr_10": 10**400}, r"but (pretrain/)?valid/hr_10 is 1000"),
        ("3", {"valid/hr_10": 0.1}, "a step must be a whole number of 64 bits, but got '3'; report int"),
        (2**63, {"valid/hr_10": 0.1}, "a step must be a whole number of 64 bits, but got 9223372036854775808; report"),
    ],
)
def test_a_report_that_is_no_number_is_refused_with_its_name(make, tmp_path, step, metrics, message):
    sent: Sent = []
    with pytest.raises(ValueError, match=message):
        make(tmp_path, sent, -1).report(step, metrics)
    assert sent == []


def test_a_metric_without_a_name_is_refused_and_numpys_steps_are_taken(tmp_path):
    sent: Sent = []
    trial = _local(tmp_path, sent, -1)
    trial.report(cast(int, np.int64(3)), {"valid/hr_10": cast(float, np.float32(0.5))})
    assert [type(step) for step, _ in sent] == [int]
    with pytest.raises(
        ValueError, match="a metric must have a name such as valid/ndcg_10, but got 1 at step 4; rename"
    ):
        trial.report(4, cast(dict[str, float], {1: 0.5}))


def test_a_report_raises_the_end_of_a_trial_that_must_end(make, tmp_path):
    trial = make(tmp_path, [], 2)
    trial.report(1, {"valid/hr_10": 0.1})
    with pytest.raises(TrialStopped):
        trial.report(2, {"valid/hr_10": 0.1})


@pytest.mark.parametrize("make", [_local, _last_phase, _ray, _rank])
def test_nothing_of_the_validation_split_follows_the_last_report(make, tmp_path):
    trial = make(tmp_path, [], -1)
    trial.report(1, {"valid/hr_10": 0.1}, last=True)
    trial.report(1, {"test/hr_10": 0.2})
    trial.phase("pretrain").report(1, {"valid/hr_10": 0.3})
    with pytest.raises(ValueError, match=r"after its last report, but got valid/hr_10 at step 2; give last=True with"):
        trial.report(2, {"valid/hr_10": 0.1})


def test_the_last_report_reaches_the_driver_as_that_and_of_a_phase_only_if_it_is_the_trials_own(tmp_path):
    sent: list[tuple[object, ...]] = []
    trial = LocalTrial(tmp_path, send=lambda *report: sent.append(report))
    trial.phase("pretrain").report(1, {"valid/hr_10": 0.1}, last=True)
    trial.phase("", offset=1).report(1, {"valid/hr_10": 0.2}, last=True)
    assert [last for *_, last in sent] == [False, True]


def test_the_end_is_not_swallowed_by_a_trainable_that_catches_exceptions():
    assert not issubclass(TrialStopped, Exception)


def test_what_was_saved_is_loaded(make, tmp_path):
    trial = make(tmp_path, [], -1)
    assert trial.load() is None
    trial.save({"step": 4, "model": {"weight": torch.arange(3.0)}, "history": [0.1, None, "x"]})
    loaded = trial.load()
    assert loaded["step"] == 4
    assert loaded["history"] == [0.1, None, "x"]
    assert torch.equal(loaded["model"]["weight"], torch.arange(3.0))


def test_only_the_last_two_checkpoints_are_kept(make, tmp_path):
    trial = make(tmp_path, [], -1)
    for step in range(5):
        trial.save({"step": step})
    assert len(list(tmp_path.rglob("*.pt"))) == 2
    assert trial.load() == {"step": 4}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning_for_the_one_before(make, tmp_path, damage, caplog):
    trial = make(tmp_path, [], -1)
    trial.save({"step": 1})
    trial.save({"step": 2})
    newest = max(tmp_path.rglob("*.pt"))
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray(b"something else")
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert trial.load() == {"step": 1}
    assert f"{newest} is skipped" in caplog.text


def test_an_artifact_can_be_written_below_the_trials_folder(make, tmp_path):
    trial = make(tmp_path, [], -1)
    trial.artifact("plots/curve.csv").write_text("1")
    assert (tmp_path / "artifacts" / "plots" / "curve.csv").read_text() == "1"


def test_tags_and_status_are_left_for_the_driver(make, tmp_path):
    trial = make(tmp_path, [], -1)
    trial.tag("data.fingerprint", "abc")
    trial.tag("device", "cpu")
    trial.status("epoch 1")
    assert (tmp_path / "tags.json").read_text() == '{"data.fingerprint": "abc", "device": "cpu"}'
    assert (tmp_path / "status").read_text().endswith("epoch 1")


@pytest.mark.parametrize("odd", [b"null", b"[]", b"\xff", b'{"a'])
def test_a_file_of_tags_that_is_none_holds_no_trial_up(make, tmp_path, odd):
    (tmp_path / "tags.json").write_bytes(odd)
    make(tmp_path, [], -1).tag("device", "cpu")
    assert (tmp_path / "tags.json").read_text() == '{"device": "cpu"}'


def test_a_status_is_taken_away_by_an_empty_one(make, tmp_path):
    trial = make(tmp_path, [], -1)
    trial.status("waits for phase1")
    trial.status("")
    assert (tmp_path / "status").read_text() == ""


def test_those_who_wait_for_a_result_are_told_which_trial_computes_it(make, tmp_path):
    trial = make(tmp_path, [], -1)
    result = trial.stages.get(told, {"number": 1}, context={"folder": trial.stages.folder, "status": trial.status})
    assert bytes(result["owner"]).decode() == f"trial 0 (process {os.getpid()} on {socket.gethostname()})"


@stage(version=1)
def told(number, folder, status):
    """The text that names the computing trial to those that wait."""
    (note,) = folder.glob("told-*.owner")
    return {"owner": np.frombuffer(note.read_bytes(), np.uint8)}


def test_a_phase_has_its_own_prefix_and_checkpoints_and_counts_steps_on(make, tmp_path):
    sent: Sent = []
    trial = make(tmp_path, sent, -1)
    phase = trial.phase("align", offset=8)
    trial.report(8, {"valid/hr_10": 0.25})
    phase.report(1, {"valid/hr_10": 0.5})
    phase.save({"phase": 1})
    (_, ((name, _),)), (step, metrics) = ((step, tuple(metrics.items())) for step, metrics in sent)
    assert step == 9
    assert metrics == ((f"{name.removesuffix('valid/hr_10')}align/valid/hr_10", 0.5),)
    assert trial.load() is None
    assert trial.phase("align").load() == {"phase": 1}
    assert trial.phase("other").load() is None
    assert (phase.number, phase.seed, phase.folder) == (trial.number, trial.seed, trial.folder)


def test_the_phase_without_a_name_reports_as_the_trial_and_keeps_its_checkpoints_there(make, tmp_path):
    sent: Sent = []
    trial = make(tmp_path, sent, -1)
    phase = trial.phase("", offset=11)
    trial.report(14, {"test/hr_10": 0.5})
    phase.report(3, {"test/hr_10": 0.5})
    assert sent[0] == sent[1]
    phase.save({"step": 3})
    assert trial.load() == {"step": 3}
    phase.status("epoch 3")
    assert (tmp_path / "status").read_text().removeprefix("pretrain: ") == "epoch 3"


def test_a_phases_checkpoints_lie_where_it_is_told(make, tmp_path):
    trial = make(tmp_path, [], -1)
    trial.phase("align", checkpoints=tmp_path / "stage").save({"step": 2})
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["000000.pt"]
    assert trial.phase("align").load() is None
    assert trial.phase("pretrain", checkpoints=tmp_path / "stage").load() == {"step": 2}


def test_a_phase_of_a_phase_adds_name_offset_and_checkpoints_to_the_outer_ones(tmp_path):
    sent: Sent = []
    outer = _local(tmp_path, sent, -1).phase("phase1", offset=2)
    inner, moved = outer.phase("text", offset=3), outer.phase("", checkpoints=tmp_path / "stage")
    inner.report(1, {"loss": 0.5})
    moved.report(1, {"loss": 0.5})
    assert sent == [(6, {"phase1/text/loss": 0.5}), (3, {"phase1/loss": 0.5})]
    inner.save({"step": 1})
    assert outer.load() is None
    assert (tmp_path / "checkpoints" / "phase1" / "text" / "000000.pt").exists()
    inner.status("epoch 1")
    assert (tmp_path / "status").read_text() == "phase1: text: epoch 1"
    inner.status("")
    assert (tmp_path / "status").read_text() == ""


@pytest.mark.parametrize(
    "name", ["valid", "test", "train", "trial", "a/b", "..", "../x", "/x", "x\0", "x" * 300, "phase 1", "γ"]
)
def test_a_phases_name_that_is_no_word_or_the_metrics_own_is_refused(make, tmp_path, name):
    with pytest.raises(ValueError, match=rf"must be named by letters, .* but got {re.escape(repr(name))}; take a word"):
        make(tmp_path, [], -1).phase(name)


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/x", "a/../../x", "a//b", "x\0", "x" * 300, "größe.csv", ".x"])
def test_an_artifact_whose_name_leads_elsewhere_is_refused(make, tmp_path, name):
    with pytest.raises(
        ValueError, match=r"each part of an artifact's name .* must be at most 100 letters, .*rename it"
    ):
        make(tmp_path, [], -1).artifact(name)


def test_steps_of_a_phase_do_not_run_backwards(make, tmp_path):
    with pytest.raises(ValueError, match=r"offset must be at least 0, but got -1; give the steps before the phase"):
        make(tmp_path, [], -1).phase("align", offset=-1)


def test_ranks_other_than_the_first_report_save_and_say_nothing(tmp_path):
    sent: Sent = []
    trial = LocalTrial(tmp_path, rank=1, world_size=2, send=lambda *report: sent.append(report))
    for each in (trial, trial.phase("align")):
        each.report(1, {"valid/hr_10": 0.5})
        each.save({"step": 1})
        each.status("step 1")
        each.tag("device", "cpu")
        assert each.load() is None
    assert sent == []
    assert list(tmp_path.iterdir()) == []


def test_artifacts_of_other_ranks_lie_apart(tmp_path):
    first, second = LocalTrial(tmp_path, world_size=2), LocalTrial(tmp_path, rank=1, world_size=2)
    first.artifact("curve.csv").write_text("0")
    second.artifact("curve.csv").write_text("1")
    assert first.artifact("curve.csv").read_text() == "0"
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["curve.csv"]


def test_all_ranks_load_what_the_first_one_saved(tmp_path):
    LocalTrial(tmp_path, world_size=2).save({"step": 3})
    assert LocalTrial(tmp_path, rank=1, world_size=2).load() == {"step": 3}
