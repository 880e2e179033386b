"""The head of a cluster dies while a sweep runs there, and is started again: the same submit carries the sweep on."""

import json
import shutil
import time
from collections.abc import Iterator

import pytest

from tests.clusters import RayCluster

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    yield cluster
    cluster.end()


@pytest.mark.timeout(900)
def test_a_head_that_crashed_and_came_back_is_sent_the_sweep_again_and_each_trial_ends_once(
    submit, cluster, tmp_path, empty_store
):
    (tmp_path / "runs").mkdir()
    shutil.copyfile(empty_store, tmp_path / "runs" / "mlflow.db")
    trials = tmp_path / "runs" / "sent" / "trials"
    assert submit("--detach")[0] == 0
    deadline = time.monotonic() + 300
    while not [*trials.glob("*/end.json")]:  # one trial has ended, others run or have yet to
        assert time.monotonic() < deadline, submit("--status")
        time.sleep(0.1)
    cluster.crash_head()
    ended = {path.parent.name: path.read_text() for path in trials.glob("*/end.json")}
    begun = {path.parent.name: path.read_text() for path in trials.glob("*/trial.json")}
    assert len(ended) < 4, "the head outlived the sweep"

    cluster.start_head_again()
    assert submit("--status")[1] == "sent: the cluster knows no job of this sweep\n"
    code, out, err = submit()
    assert (code, err) == (0, ""), out
    assert "runs as sent-1" in out
    assert "sent: 4 complete" in out
    assert sorted(path.name for path in trials.iterdir()) == ["0", "1", "2", "3"]
    for path in trials.glob("*/end.json"):
        assert json.loads(path.read_text())["state"] == "COMPLETE"
        assert ended.get(path.parent.name, path.read_text()) == path.read_text()
    for name, text in begun.items():  # under the number and the values that it began with
        assert json.loads((trials / name / "trial.json").read_text())["values"] == json.loads(text)["values"]
    for journal in trials.glob("*/journal.jsonl"):
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        steps = [line["step"] for line in lines if "valid/ndcg_10" in line["metrics"]]
        assert steps == [1, 2, 3, 4, 5, 6]

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tests.trainables.curve")
    runs = client.search_runs([experiment.experiment_id])
    numbers = sorted(run.data.tags["sweep.trial"] for run in runs if "sweep.trial" in run.data.tags)
    assert (len(runs), numbers) == (5, ["0", "1", "2", "3"])
    assert {run.info.status for run in runs} == {"FINISHED"}
