"""No secret goes to the job server, which shows a job's command and variables to whoever has the token."""

from types import SimpleNamespace

import pytest

from platform import submit
from platform.cluster import jobs

HEAD = ["--address", "http://127.0.0.1:1"]
REMEDY = "; set it in the environment of the cluster's head, where the sweep can refer to it as ${NAME}\n"


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["--set", "parameters.hub.api_key=of-a-line-1"], "--set parameters.hub.api_key"),
        (["--set", "parameters={hub.api_key: {values: [of-a-line-1]}}"], "--set parameters.hub.api_key.values[0]"),
        (["--set", "tracking.uri=http://me:of-a-line-1@host"], "--set tracking.uri"),
        (["--set", "study=postgresql://me:of-a-line-1@db/x"], "--set study"),
        (["--env", "HUB_TOKEN=of-a-line-1"], "--env HUB_TOKEN"),
        (["--env", "PGPASSWORD"], "--env PGPASSWORD"),
        (["--env", "MLFLOW_TRACKING_URI=http://me:of-a-line-1@host"], "--env MLFLOW_TRACKING_URI"),
        (["--env", "INNOCENT"], "--env INNOCENT"),
    ],
)
def test_a_secret_on_the_command_line_is_refused_and_not_shown(curve_file, monkeypatch, capsys, words, where):
    monkeypatch.setenv("PGPASSWORD", "of-a-line-1")
    monkeypatch.setenv("INNOCENT", "holds of-a-line-1")
    code = submit.main([str(curve_file), *HEAD, *words])
    said = capsys.readouterr()
    assert code == 2
    rule = "must hold no secret, as the job server shows it to all who may ask, but does"
    assert said.err == f"{where}: {rule}{REMEDY}"
    assert "of-a-line-1" not in said.out


def test_what_names_a_variable_and_what_is_no_secret_may_be_sent(curve_file, monkeypatch, capsys):
    monkeypatch.setenv("HUB_KEY", "its-value-1")
    words = ["--set", "study=postgresql://me:${HUB_KEY}@db/x", "--env", "SWEEP_DATA=/shared/data", "--set", "seed=1"]
    assert submit.main([str(curve_file), *HEAD, *words]) == 2
    assert f"{curve_file}: must lie in the tree that is sent" in capsys.readouterr().err  # what is looked at next


def test_what_the_cluster_says_is_shown_without_secrets(curve_file, monkeypatch, capsys):
    job = SimpleNamespace(submission_id="curve-1", status=SimpleNamespace(value="RUNNING"))
    monkeypatch.setattr(jobs, "connect", lambda address: None)
    monkeypatch.setattr(jobs, "of_sweep", lambda client, name: [job])
    monkeypatch.setattr(jobs, "minutes", lambda job: 1.0)
    monkeypatch.setattr(jobs, "logs", lambda client, submission_id: ["carry on with: x --set hub.api_key=of-a-line-1"])
    assert submit.main([str(curve_file), *HEAD, "--status"]) == 0
    assert capsys.readouterr().out == "curve-1: RUNNING, 1 minutes\ncarry on with: x --set hub.api_key=***\n"
