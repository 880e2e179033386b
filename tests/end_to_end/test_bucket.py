"""A whole sweep in a bucket of a real S3 server: killed, and carried on where none of its files, nor its study, are."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from tests.processes import killed_at_the_end
from tests.servers import Line
from trainables.storage.objects import Bucket

ROOT = Path(__file__).parents[2]
SWEEP = """\
name: bucket
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: 3
max_concurrent_trials: 2
deterministic: true
storage: {bucket}/runs
study: sqlite:///{folder}/study.db
tracking: {{uri: sqlite:///{folder}/mlflow.db}}
parameters:
  x: {{min: 0.0, max: 1.0}}
  steps: 6
  sleep: 0.3
  witness: true
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def start(tmp_path: Path, bucket: str, empty_store: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Call with a machine's name and the command's arguments to start the command there; it ends with the test."""
    (tmp_path / "bucket.yaml").write_text(SWEEP.format(bucket=bucket, folder=tmp_path))
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")

    with killed_at_the_end() as begin:

        def start(machine: str, *arguments: str) -> subprocess.Popen[str]:
            environment = {**os.environ, "SWEEP_CACHE": str(tmp_path / machine), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "platform.sweep", str(tmp_path / "bucket.yaml"), *arguments]
            return begin(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        yield start


def journals(store: Bucket) -> dict[int, list[dict]]:
    """The lines of each trial's journal, as they lie in the bucket."""
    lines: dict[int, list[dict]] = {}
    for found in store.list("runs/bucket/trials/"):
        number, _, part = found.key.removeprefix("runs/bucket/trials/").partition("/")
        if part.startswith("journal/"):
            content = store.read(found.key)
            assert content is not None
            lines.setdefault(int(number), []).extend(map(json.loads, content.data.splitlines()))
    return lines


@pytest.mark.parametrize("where", [["--address", "inline"], []], ids=["inline", "ray"])
def test_a_killed_sweep_is_carried_on_elsewhere_and_nothing_is_lost_or_double(start, bucket, tmp_path, where):
    store = Bucket(bucket.removeprefix("s3://"))
    driver = start("first", *where)
    _wait_for(driver, store, 4)
    driver.kill()
    driver.communicate()
    shutil.rmtree(tmp_path / "first")
    before = journals(store)
    if where:  # one of the two loses its study, too
        optuna.delete_study(study_name="bucket", storage=f"sqlite:///{tmp_path}/study.db")
        out, err = (driver := start("third", "--adopt")).communicate(timeout=300)
        assert driver.returncode == 0, (out, err)
        assert "the study is rebuilt from its trials' files, 0 have ended, 2 go on" in out
    out, err = (driver := start("second", *where)).communicate(timeout=300)
    assert driver.returncode == 0, (out, err)

    lines = journals(store)
    assert all(lines[number][: len(found)] == found for number, found in before.items())
    assert [found[-1]["report"] for _, found in sorted(lines.items())] == [len(lines[number]) for number in range(3)]
    study = optuna.load_study(study_name="bucket", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert {len(trial.intermediate_values) for trial in study.trials} == {6}
    _expect_runs(tmp_path, lines)
    names = {found.key.removeprefix("runs/bucket/"): found.size for found in store.list("runs/bucket/")}
    assert names["lease"] == 0
    assert {"results.csv", "sweep.yaml", "sweep.log", "trials/0/artifacts/config.json"} <= names.keys()
    for side in ("driver/*/*/*", "worker/*/*/*/trials/*"):
        assert not list((tmp_path / "second" / "copies").glob(side))


def test_a_store_that_is_away_for_some_seconds_is_waited_for(start, bucket, tmp_path, monkeypatch):
    store = Bucket(bucket.removeprefix("s3://"))
    line = Line(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    line.mend()
    with monkeypatch.context() as through:
        through.setenv("AWS_ENDPOINT_URL", line.uri)
        driver = start("first", "--address", "inline")
    _wait_for(driver, store, 3)
    line.cut()
    before = sum(map(len, journals(store).values()))
    time.sleep(8)
    assert sum(map(len, journals(store).values())) == before
    assert driver.poll() is None
    line.mend()
    out, err = driver.communicate(timeout=300)
    line.cut()
    assert driver.returncode == 0, (out, err)
    _expect_runs(tmp_path, journals(store))


def _wait_for(driver: subprocess.Popen[str], store: Bucket, reports: int) -> None:
    deadline = time.monotonic() + 240
    while sum(map(len, journals(store).values())) < reports:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, "no reports"
        time.sleep(0.1)


def _expect_runs(folder: Path, lines: dict[int, list[dict]]) -> None:
    """Check that MLflow has one ended run per trial, with each reported step once, and the artifacts."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("tests.trainables.curve")
    runs = client.search_runs([experiment.experiment_id])
    children = {int(run.data.tags["sweep.trial"]): run for run in runs if "sweep.trial" in run.data.tags}
    assert sorted(children) == [0, 1, 2]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for number, run in children.items():
        sent = Counter(point.step for point in client.get_metric_history(run.info.run_id, "valid/ndcg_10"))
        assert sent == Counter(line["step"] for line in lines[number] if "valid/ndcg_10" in line["metrics"])
        assert set(sent.values()) == {1}
        assert "config.json" in [file.path for file in client.list_artifacts(run.info.run_id)]
