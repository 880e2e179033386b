"""`--retry`: failed trials run again once their cause is mended, and `--check` says what the run would refuse."""

import json

import pytest

MENDS = """
from pathlib import Path

def run(config, trial):
    if config.x > 0.3 and not Path({mended!r}).exists():
        raise KeyError("lr")
    trial.report(1, {{"valid/hr_10": config.x}})
    trial.report(1, {{"test/hr_10": config.x}})
"""
CONFIG = """
import dataclasses

METRICS = ("valid/hr_10", "test/hr_10")

@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    x: float = 0.5
"""
SWEEP = """
name: mends
trainable: own.mends
metric: {name: valid/hr_10, goal: maximize}
method: grid
num_trials: 9
limits: {max_failures_per_trial: 0}
parameters:
  x: {values: [0.1, 0.2, 0.4, 0.5]}
"""
INLINE = ("--address", "inline")


@pytest.fixture
def mends(tmp_path, monkeypatch):
    """A sweep of an own trainable of which two trials fail until a file is there; returns both files."""
    package = tmp_path / "own" / "mends"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "own" / "__init__.py").touch()
    (package / "config.py").write_text(CONFIG)
    (package / "run.py").write_text(MENDS.format(mended=str(tmp_path / "mended")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    file = tmp_path / "mends.yaml"
    file.write_text(SWEEP)
    return file, tmp_path / "mended"


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_failed_trials_run_again_under_new_numbers_once_their_cause_is_mended(start, ended, mends, tmp_path):
    file, mended = mends
    done = ended(start(*INLINE, file=file))
    assert done.code == 0
    again = f"python -m platform.sweep {file} --retry"
    assert done.out.splitlines()[-1] == f"2 of 4 trials failed; once the cause is mended: {again}"

    mended.touch()
    same = ended(start(*INLINE, file=file))
    assert "2 failed" in same.out  # the command alone starts none of them
    told = ended(start("--retry", file=file))
    assert (told.code, told.out) == (
        0,
        "mends: trials 2, 3 run again when the same command is given without --retry\n",
    )
    assert not (tmp_path / "runs" / "mends" / "trials" / "4").exists()
    after = ended(start(*INLINE, file=file))
    assert after.code == 0
    assert "mends: 4 complete, 2 retried (the grid is used up)" in after.out
    assert "--retry" not in after.out
    lines = (tmp_path / "runs" / "mends" / "results.csv").read_text().splitlines()
    assert lines[0] == "trial,state,reason,valid/hr_10,x,test/hr_10,seconds"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["5", "COMPLETE"],
        ["4", "COMPLETE"],
        ["1", "COMPLETE"],
        ["0", "COMPLETE"],
        ["2", "RETRIED"],
        ["3", "RETRIED"],
    ]
    tried = json.loads((tmp_path / "runs" / "mends" / "trials" / "4" / "trial.json").read_text())
    assert (tried["values"], tried["search"]["user"]["retries"]) == ({"x": 0.4}, 2)

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("own.mends").experiment_id], "tags.retries != ''")
    assert {run.data.tags["sweep.trial"]: run.data.tags["retries"] for run in runs} == {"4": "2", "5": "3"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--retry", "3,x"], "--retry: must be numbers of trials, such as 3,7, but got 'x'"),
        (["--retry", "3"], "--retry: must name failed trials that are not retried yet, but got 3; there are none"),
    ],
)
def test_a_retry_that_makes_no_sense_exits_2(start, ended, mends, words, told):
    done = ended(start(*words, file=mends[0]))
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_check_refuses_a_name_that_has_trials_of_another_space_as_the_run_does(start, ended, mends, tmp_path):
    file, _ = mends
    journal = tmp_path / "runs" / "mends" / "study.journal"
    assert ended(start("--check", file=file)).code == 0
    assert not journal.parent.exists()
    assert ended(start("--retry", file=file)).code == 0  # makes the study
    before = journal.read_bytes()
    assert ended(start("--check", file=file)).code == 0
    changed = ("--set", "parameters.x={values: [0.1, 0.2]}")
    checked = ended(start("--check", *changed, file=file))
    assert journal.read_bytes() == before
    refused = ended(start(*INLINE, *changed, file=file))
    assert (checked.code, refused.code) == (2, 2)
    assert checked.err == refused.err
    assert "a sweep must keep its space and search, but 'mends' has trials of another" in checked.err
