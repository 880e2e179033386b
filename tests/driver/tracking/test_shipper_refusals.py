"""Data that the store refuses, has twice or must never see: all else is there, and once."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from platform.tracking.messages import ParentEnd


def ship(here: Any, *trials: Any, **options: Any) -> None:
    shipper = here.started(**options)
    for files in trials:
        shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)


def test_a_metric_that_mlflow_refuses_is_named_and_costs_nothing_else(tracked):
    here = tracked()
    odd, plain = here.trial(0), here.trial(1)
    for step in (1, 2, 3):
        odd.append(step, {"valid/ndcg@10": 0.5, "valid/ndcg_10": step / 4, "train/loss": 1 / step})
    here.report(plain, range(1, 4))
    for files in (odd, plain):
        here.end(files)
    ship(here, odd, plain)
    _, children = here.runs()
    assert here.history(0, "valid/ndcg_10") == [(step, step / 4) for step in (1, 2, 3)]
    assert here.history(0, "train/loss") == [(step, 1 / step) for step in (1, 2, 3)]
    assert here.history(1, "valid/ndcg_10") == [(step, 0.5) for step in (1, 2, 3)]
    assert children[0].data.metrics["trial/reports"] == 3
    assert children[0].data.tags["tracking.refused"] == "valid/ndcg@10"
    assert children[0].info.status == children[1].info.status == "FINISHED"
    (said,) = here.said
    assert said.startswith("MLflow refuses 'valid/ndcg@10' (Invalid value \"valid/ndcg@10\" for parameter")
    assert said.endswith(" of trial 0; the trial's journal keeps the reports")


def test_a_trial_that_cannot_be_shipped_keeps_neither_the_others_nor_the_end_waiting(tracked):
    here = tracked()
    odd, plain = here.trial(0), here.trial(1)
    for files in (odd, plain):
        here.report(files, range(1, 3))
        here.end(files)
    (odd.folder / "shipped.json").mkdir()
    shipper = here.started()
    assert not shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)
    (said,) = here.said
    assert said.startswith(f"MLflow at {here.uri} refuses (")
    assert said.endswith("); fix the cause, sweep.log has the details; the sweep goes on and ships later")
    parent, children = here.runs()
    assert (parent.info.status, children[1].info.status) == ("FINISHED", "FINISHED")
    assert here.history(1, "valid/ndcg_10") == [(1, 0.5), (2, 0.5)]
    (odd.folder / "shipped.json").rmdir()
    ship(here)
    assert here.history(0, "valid/ndcg_10") == [(1, 0.5), (2, 0.5)]


def test_artifacts_that_cannot_be_drawn_are_shipped_as_they_are(tracked):
    here = tracked()
    files = here.trial(0)
    here.report(files, range(1, 3))
    artifacts = files.folder / "artifacts"
    (artifacts / "weights.html" / "own").mkdir(parents=True)  # where the page of weights.csv would be
    (artifacts / "weights.csv").write_text("a,b\n1,2\n")
    (artifacts / "latin.csv").write_bytes("größe,b\n1,2\n".encode("latin-1"))
    here.end(files)
    ship(here)
    _, children = here.runs()
    assert children[0].info.status == "FINISHED"
    assert {"weights.csv", "latin.csv", "learning_curve.html"} <= here.artifacts(children[0])
    assert here.said == []


def test_a_parameter_that_changed_keeps_its_first_value_and_that_is_said(tracked):
    here = tracked()
    files = here.trial(0)
    ship(here, files)
    (files.folder / "trial.json").write_text('{"number": 0, "values": {"x": 0.75, "y": 1}, "started": 1e9}')
    here.report(files, range(1, 3))
    here.end(files)
    ship(here, files)
    _, children = here.runs()
    assert children[0].data.params == {"x": "0.5", "adapter.name": "none", "y": "1"}
    assert children[0].data.tags["tracking.changed"] == "x was 0.5 and is 0.75 now"
    assert here.said == ["MLflow keeps the first value of a parameter, but of trial 0 x was 0.5 and is 0.75 now"]
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2]


def test_a_running_trial_has_all_fields_as_soon_as_its_worker_wrote_them(tracked):
    here = tracked()
    files = here.trial(0, {"x": 0.5})
    shipper = here.started()
    (files.folder / "artifacts").mkdir()
    (files.folder / "artifacts" / "config.json").write_text('{"trainable": "own", "x": 0.5, "data.name": "toys"}')
    here.report(files, range(1, 2))
    shipper.changed(files)
    while not files.read("shipped.json"):
        time.sleep(0.05)
    run = here.runs()[1][0]
    assert run.info.status == "RUNNING"
    assert run.data.params == {"x": "0.5", "data.name": "toys"}
    assert run.data.tags["data.name"] == "toys"
    (files.folder / "tags.json").write_text('{"data.fingerprint": "f00"}')
    here.end(files)
    shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"))
    run = here.runs()[1][0]
    assert [(each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs] == [("toys", "f00")]


def test_text_of_any_length_is_taken(tracked):
    here = tracked()
    files = here.trial(0, {"text": "x" * 7000})
    here.end(files, "FAIL", "exception: " + "y" * 9000)
    ship(here, files)
    _, children = here.runs()
    assert children[0].data.params["text"].startswith("x" * 1000)
    assert children[0].data.tags["sweep.end"].startswith("exception: y")


def test_a_run_that_was_deleted_by_hand_stays_so_and_holds_nothing_up(tracked):
    from mlflow import MlflowClient

    here = tracked()
    gone, other = here.trial(0), here.trial(1)
    shipper = here.started()
    shipper.changed(gone)
    while not gone.read("shipped.json"):
        time.sleep(0.05)
    MlflowClient(here.uri).delete_run(here.runs()[1][0].info.run_id)
    for files in (gone, other):
        here.report(files, range(1, 3))
        here.end(files)
        shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"))
    assert here.said == []
    _, children = here.runs()
    assert list(children) == [1]
    assert [step for step, _ in here.history(1, "valid/ndcg_10")] == [1, 2]


def test_runs_that_were_made_twice_are_one_again(tracked):
    """A server may carry out a request after its client gave it up and asked again."""
    from mlflow import MlflowClient

    here = tracked()
    files = here.trial(0)
    here.report(files, range(1, 3))
    ship(here, files)
    client, (parent, children) = MlflowClient(here.uri), here.runs()
    for run in (parent, children[0]):
        client.create_run(run.info.experiment_id, tags=run.data.tags, run_name=run.info.run_name)
    here.report(files, range(3, 5))
    here.end(files)
    ship(here, files)
    again, now = here.runs()  # asserts that there is one each
    assert (again.info.run_id, now[0].info.run_id) == (parent.info.run_id, children[0].info.run_id)
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2, 3, 4]


def test_the_same_request_twice_is_one_point(tracked, monkeypatch):
    """As when the answer to the first was lost."""
    from mlflow import MlflowClient

    real = MlflowClient.log_batch
    lost: list[Any] = []

    def log_batch(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        if len(lost) < 2 and kwargs.get("metrics"):
            lost.append(kwargs)
            raise OSError("the answer was lost")

    here = tracked()
    files = here.trial(0)
    here.report(files, range(1, 4))
    here.end(files)
    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    shipper = here.started()
    end = ParentEnd(status="FINISHED", metrics={"best/valid/ndcg_10": 0.5}, time=1e9, step=1)
    assert shipper.finish(end, patience_s=60)
    assert len(lost) == 2
    parent, _ = here.runs()
    assert here.history(0, "valid/ndcg_10") == [(1, 0.5), (2, 0.5), (3, 0.5)]
    (point,) = MlflowClient(here.uri).get_metric_history(parent.info.run_id, "best/valid/ndcg_10")
    assert (point.step, point.value) == (1, 0.5)


@pytest.mark.slow
def test_a_locked_sqlite_file_is_waited_for(tracked, tmp_path, wait_for):
    here = tracked(f"sqlite:///{tmp_path}/own.db")
    shipper = here.started()
    files = here.trial(0)
    shipper.changed(files)
    wait_for(lambda: bool(files.read("shipped.json")), "the run being made")
    lock = sqlite3.connect(tmp_path / "own.db", isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    threading.Timer(15, lambda: lock.execute("ROLLBACK")).start()
    here.report(files, range(1, 6))
    shipper.changed(files)
    wait_for(lambda: files.read("shipped.json").get("reports") == 5, "the reports", 120)
    here.end(files)
    shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)
    lock.close()
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2, 3, 4, 5]
    assert len(here.said) in (0, 2)  # a lock that lasts is told, and that it is over


def test_no_secret_reaches_the_store(tracked, monkeypatch):
    from mlflow import MlflowClient

    secret = "hf_0123456789"
    monkeypatch.setenv("HUB_TOKEN", secret)
    here = tracked()
    (here.folder / "sweep.yaml").write_text("tracking: {uri: 'http://me:hunter22@host'}\n")
    files = here.trial(0, {"hub.api_key": "abc999", "hub.url": "https://me:hunter22@hub", "note": f"by {secret}"})
    here.report(files, range(1, 2))
    (files.folder / "tags.json").write_text('{"data.source": "s3://me:hunter22@bucket"}')
    here.end(files, "FAIL", f"exception: OSError: {secret} is not welcome at http://me:hunter22@host")
    ship(here, files, tags={"sweep.set": "tracking.uri=http://me:hunter22@host parameters.hub.api_key=abc999"})
    parent, children = here.runs()
    client = MlflowClient(here.uri)
    assert (
        Path(client.download_artifacts(parent.info.run_id, "sweep.yaml")).read_text()
        == "tracking: {uri: 'http://***@host'}\n"
    )
    assert children[0].data.params == {"hub.api_key": "***", "hub.url": "https://***@hub", "note": "by ***"}
    assert children[0].data.tags["sweep.end"] == "exception: OSError: *** is not welcome at http://***@host"
    for run in (parent, children[0]):
        told = f"{run.data.tags} {run.data.params}"
        assert not any(word in told for word in (secret, "hunter22", "abc999"))
