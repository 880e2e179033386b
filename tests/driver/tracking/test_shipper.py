"""MLflow, for real: a SQLite store and a server on the loopback, with each report once in its trial's child run."""

import math
from pathlib import Path
from typing import Any

import pytest

from platform.tracking.destination import Destination
from platform.tracking.messages import ParentEnd


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def test_a_sweep_is_a_parent_run_with_a_child_a_trial_and_every_report_once(tracked, request, kind):
    here = tracked(request.getfixturevalue("line").uri) if kind == "server" else tracked()
    shipper = here.started()
    done, pruned, failed = (here.trial(number) for number in range(3))
    for files in (done, pruned, failed):
        here.report(files, range(1, 4), 0.1 * (1 + files.number))
        shipper.changed(files)
    (done.folder / "artifacts").mkdir()
    (done.folder / "artifacts" / "config.json").write_text("{}")
    (done.folder / "artifacts" / "plots").mkdir()
    (done.folder / "artifacts" / "plots" / "spectrum.csv").write_text("1")
    (done.folder / "tags.json").write_text('{"data.fingerprint": "f00"}')
    here.report(done, range(4, 6))
    here.end(done)
    here.end(pruned, "PRUNED", "early stopping (asha) at report 3")
    here.end(failed, "FAIL", "exception: no")
    table = here.folder / "results.csv"
    table.write_text("trial\n0\n")
    for files in (done, pruned, failed):
        shipper.changed(files)
    best: dict[str, Any] = {"metrics": {"best/valid/ndcg_10": 0.5}, "tags": {"best.trial": "0"}}
    end = ParentEnd(status="FINISHED", **best, files=(table,))
    assert shipper.finish(end, patience_s=120)  # on a busy machine
    assert here.said == []

    parent, children = here.runs()
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "curve"
    assert parent.data.metrics == {"best/valid/ndcg_10": 0.5}
    assert parent.data.tags["best.trial"] == "0"
    assert here.artifacts(parent) == {"results.csv", "sweep.yaml"}
    assert {number: run.info.status for number, run in children.items()} == {0: "FINISHED", 1: "FINISHED", 2: "FAILED"}
    for run in children.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params == {"x": "0.5", "adapter.name": "none"}
        assert run.data.tags["version.torch"] == "2.13.0"
        assert run.info.end_time >= run.info.start_time
    assert here.history(0, "train/loss") == [(step, 1 / step) for step in range(1, 6)]
    assert here.history(1, "valid/ndcg_10") == [(1, 0.2), (2, 0.2), (3, 0.2)]
    assert children[0].data.tags["data.fingerprint"] == "f00"
    assert children[1].data.tags["sweep.end"] == "early stopping (asha) at report 3"
    assert children[2].data.tags["trial.state"] == "fail"
    assert here.artifacts(children[0]) == {"config.json", "learning_curve.html", "plots"}


def test_a_finished_sweep_that_is_run_again_adds_nothing(tracked):
    here = tracked()
    end = ParentEnd(status="FINISHED", metrics={"best/valid/ndcg_10": 0.5})
    files = here.trial(0)
    here.report(files, range(1, 3))
    here.end(files)
    for _ in range(2):
        shipper = here.started()
        assert shipper.finish(end)
    from mlflow import MlflowClient

    parent, children = here.runs()
    assert len(MlflowClient(here.uri).get_metric_history(parent.info.run_id, "best/valid/ndcg_10")) == 1
    assert parent.info.status == "FINISHED"
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2]
    assert children[0].info.status == "FINISHED"


def test_nothing_of_a_former_winner_stays_at_the_parent(tracked):
    here = tracked()
    first: dict[str, Any] = {"metrics": {"best/valid/hr_10": 0.5, "best/test/hr_10": 0.4}, "tags": {"best.x": "1"}}
    second: dict[str, Any] = {"metrics": {"best/valid/hr_10": 0.6}, "tags": {"best.trial": "3", "best.width": "64"}}
    for time, found in enumerate((first, second, {}, second)):
        assert here.started().finish(ParentEnd(status="FINISHED", time=time, **found))
    parent, _ = here.runs()
    assert {name: tag for name, tag in parent.data.tags.items() if name.startswith("best.")} == second["tags"]
    assert parent.data.metrics["best/valid/hr_10"] == 0.6
    assert math.isnan(parent.data.metrics["best/test/hr_10"])


def test_values_that_are_not_numbers_are_logged_as_nan(tracked):
    here = tracked()
    files = here.trial(0)
    files.append(1, {"valid/ndcg_10": float("nan"), "valid/hr_10": float("inf"), "train/loss": 0.5})
    here.end(files, "FAIL", "non-finite objective")
    shipper = here.started()
    assert shipper.finish(ParentEnd(status="FINISHED"))
    _, children = here.runs()
    for name in ("valid/ndcg_10", "valid/hr_10"):
        ((step, value),) = here.history(0, name)
        assert step == 1
        assert value != value
    assert here.history(0, "train/loss") == [(1, 0.5)]
    assert children[0].info.status == "FAILED"
    assert children[0].data.tags["sweep.infinite"] == "valid/hr_10 = inf at step 1"


def test_more_metrics_than_one_request_takes_are_all_there(tracked):
    here = tracked()
    files = here.trial(0, {f"parameter_{i}": i for i in range(150)})
    for step in range(1, 31):
        files.append(step, {f"valid/hr_{k}": step / k for k in range(1, 51)})
    here.end(files)
    shipper = here.started()
    assert shipper.finish(ParentEnd(status="FINISHED"))
    _, children = here.runs()
    assert len(children[0].data.params) == 150
    assert children[0].data.metrics["trial/reports"] == 30
    for k in (1, 50):
        assert here.history(0, f"valid/hr_{k}") == [(step, step / k) for step in range(1, 31)]


@pytest.mark.parametrize(
    ("checkpoints", "expected"),
    [
        ("best", {"best.safetensors", "learning_curve.html"}),
        ("last", {"checkpoints", "learning_curve.html"}),
        ("none", {"learning_curve.html"}),
    ],
)
def test_the_checkpoints_that_are_asked_for_become_artifacts(tracked, checkpoints, expected):
    here = tracked()
    files = here.trial(0)
    for name in ("artifacts/best.safetensors", "checkpoints/000001.pt", "checkpoints/000002.pt"):
        (files.folder / name).parent.mkdir(exist_ok=True)
        (files.folder / name).write_text("weights")
    here.end(files)
    shipper = here.started(checkpoints)
    assert shipper.finish(ParentEnd(status="FINISHED"))
    _, children = here.runs()
    assert here.artifacts(children[0]) == expected


def test_a_large_file_is_a_tag_that_says_where_it_lies(tracked, monkeypatch):
    from platform.tracking import runs

    monkeypatch.setattr(runs, "_LARGE_BYTES", 10)
    here = tracked()
    files = here.trial(0)
    (files.folder / "artifacts").mkdir()
    large = files.folder / "artifacts" / "ranks.npy"
    large.write_bytes(b"0" * 11)
    here.end(files)
    shipper = here.started()
    assert shipper.finish(ParentEnd(status="FINISHED"))
    _, children = here.runs()
    assert children[0].data.tags["file.ranks.npy"] == str(large)
    assert "ranks.npy" not in here.artifacts(children[0])


@pytest.mark.parametrize("largest", [10, 1000], ids=["by reference", "as a file"])
def test_weights_that_a_better_trial_pushed_out_are_gone_from_the_run_too(tracked, monkeypatch, wait_for, largest):
    from platform.tracking import runs

    monkeypatch.setattr(runs, "_LARGE_BYTES", largest)
    here = tracked()
    files = here.trial(0)
    weights = files.folder / "artifacts" / "best.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"0" * 100)
    here.end(files)
    shipper = here.started()
    shipper.changed(files)
    wait_for(lambda: "best.safetensors" in files.read("shipped.json").get("files", ()), "the weights")
    run = here.runs()[1][0]
    assert ("file.best.safetensors" in run.data.tags) is (largest == 10)
    assert ("best.safetensors" in here.artifacts(run)) is (largest == 1000)
    weights.unlink()
    shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"))
    run = here.runs()[1][0]
    assert "file.best.safetensors" not in run.data.tags
    assert "best.safetensors" not in here.artifacts(run)


def test_a_password_is_never_shown():
    shown = str(Destination("https://user:secret@mlflow.example:5000/path", "e", Path("a")))
    assert shown == "https://mlflow.example:5000/path"
