"""A sweep whose environment, settings and tracking URI hold secrets: none of them is found again afterwards."""

import sqlite3
from pathlib import Path

import pytest

SWEEP = """\
name: secretive
trainable: tests.trainables.secretive
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 2
method: grid
parameters:
  hub.api_key: {values: [key-of-file-1]}
  text: {values: ["", "no entry for https://me:in-the-url@hub.example"]}
limits: {max_failures_per_trial: 0}
"""
SECRETS = ("hf_in_the_environment", "in-the-tracking-uri", "in-the-url", "key-of-file-1", "set-by-hand-1")
OWN = {"sweep.yaml", "trial.json", "study.journal"}
"""Files in a sweep's own folder that resuming needs: the user's file and the parameters."""


@pytest.mark.slow
def test_secrets_are_in_no_log_no_artifact_no_run_and_not_on_the_screen(tmp_path, monkeypatch, start, ended):
    file = tmp_path / "secretive.yaml"
    file.write_text(SWEEP)
    monkeypatch.setenv("HUB_TOKEN", SECRETS[0])
    outputs = []
    for more in (["--set", "tracking.uri=http://me:in-the-tracking-uri@127.0.0.1:9"], []):
        command = ["--address", "inline", "--set", "parameters.seed=0", *more]
        outputs.append(ended(start(*command, file=file)))
    assert [each.code for each in outputs] == [0, 0]
    assert "127.0.0.1:9 does not answer" in outputs[0].out
    wrong = start("--set", "study=postgresql://me:in-the-url@127.0.0.1:9/x", "--set", "name=other", file=file)
    outputs.append(ended(wrong))
    mistyped = start("--set", "parameters.hub.api_key=set-by-hand-1", "--set", "nmae=x", file=file)
    outputs.append(ended(mistyped))
    assert [each.code for each in outputs[2:]] == [1, 2]
    for each in outputs:
        assert not [word for word in SECRETS if word in each.out + each.err]

    runs = tmp_path / "runs"
    looked_at = 0
    for path in runs.rglob("*"):
        if path.is_file() and not (path.name in OWN and path.is_relative_to(runs / "secretive")):
            content = path.read_bytes()
            looked_at += 1
            assert not [word for word in SECRETS if word.encode() in content], path
    assert looked_at > 8
    assert "OSError: no entry for https://***@hub.example: *** ***" in _tags(runs / "mlflow.db")["sweep.end"]


def _tags(database: Path) -> dict[str, str]:
    with sqlite3.connect(database) as connection:
        return dict(connection.execute("select key, value from tags where value like '%exception%'").fetchall())
