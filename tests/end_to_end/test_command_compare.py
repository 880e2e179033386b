"""A sweep with `compare` ends with its table, and the command that it names shows the paired tests."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPARE = ("--set", "compare.by=[part.name]", "--set", "early_stopping=none", "--set", "num_trials=4")


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_a_finished_sweep_shows_its_cells_and_keeps_both_tables_with_the_parent_run(start, ended, tmp_path):
    from mlflow import MlflowClient

    done = ended(start("--address", "inline", *COMPARE))
    assert (done.code, done.err) == (0, "")
    assert "test values of each cell's best setting on validation" in done.out
    assert "paired differences" not in done.out
    folder = tmp_path / "runs" / "curve"
    head = "sweep,part.name,setting,settings,begun,epochs,seconds,seeds,trials,"
    assert (folder / "comparison.csv").read_text().startswith(head)
    assert (folder / "pairs.csv").read_text().startswith("first,second,metric,")

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tests.trainables.curve")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`best.trial` != ''")
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"comparison.csv", "pairs.csv", "report.html", "results.csv"} <= files

    *_, last = done.out.splitlines()
    told, command = last.split(": ", 1)
    assert told == "paired tests of these cells"
    assert command.startswith("python -m platform.results ")
    again = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert "is in no pair: trial" in again.stdout
