"""`--adopt` as a user meets it: a study is lost, the command refuses, `--adopt` rebuilds it, the command carries on."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DETERMINISTIC = ("deterministic=true", "max_concurrent_trials=2", "parameters.sleep=0.01")


def table(folder: Path) -> list[list[str]]:
    """The final table, without seconds."""
    with (folder / "results.csv").open(newline="") as stream:
        return [line[:-1] for line in csv.reader(stream)]


@pytest.mark.usefixtures("store_is_there")
@pytest.mark.parametrize("where", ["journal", "postgres"])
def test_a_sweep_whose_study_is_lost_ends_as_the_undisturbed_one(start, ended, tmp_path, where, request):
    study = "null" if where == "journal" else request.getfixturevalue("postgres").database()

    def run(*arguments: str, trials: int = 6, name: str = "curve", study: str = study) -> Any:
        settings = (*DETERMINISTIC, f"num_trials={trials}", f"name={name}", f"study={study}")
        words = [word for setting in settings for word in ("--set", setting)]
        return ended(start(*words, *(arguments or ("--address", "inline"))))

    assert run(trials=3).code == 0
    folder = tmp_path / "runs" / "curve"
    if where == "journal":
        (folder / "study.journal").unlink()
    else:
        optuna.delete_study(study_name="curve", storage=study)
    lost = run()
    assert (lost.code, lost.out) == (2, "")
    assert "it does not know 3 of them (trial 0, " in lost.err
    assert lost.err.count("\n") == 1
    adopted = run("--adopt")
    assert adopted.code == 0
    assert adopted.out == (
        "curve: the study is rebuilt from its trials' files, 3 have ended, 0 go on; carry on with the same command "
        "without --adopt\n"
    )
    assert run().code == 0
    assert run(name="undisturbed", study="null").code == 0
    assert table(folder) == table(tmp_path / "runs" / "undisturbed")

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tests.trainables.curve")
    assert experiment
    runs = client.search_runs([experiment.experiment_id], "tags.`sweep.name` = 'curve'")
    numbers = [line[0] for line in table(folder)[1:]]
    assert Counter(run.data.tags.get("sweep.trial") for run in runs) == Counter([None, *numbers])
    assert "RUNNING" not in {run.info.status for run in runs}
