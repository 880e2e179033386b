"""`python -m platform.submit` against a real cluster of this machine: sent, watched, stopped, carried on, refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform.cluster import jobs, preflight
from platform.sweepfile.spec import load
from tests.clusters import RayCluster
from tests.pages import commands
from trainables.storage.objects import Bucket

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    yield cluster
    cluster.end()


def reports(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / "trials").glob("*/journal.jsonl"))


def test_a_sweep_is_sent_watched_stopped_and_carried_on(submit, tmp_path, cluster, checkout, empty_store):
    (tmp_path / "runs").mkdir()
    shutil.copyfile(empty_store, tmp_path / "runs" / "mlflow.db")
    folder = tmp_path / "runs" / "sent"
    command = [sys.executable, "-m", "platform.submit", "sweeps/sent.yaml", "--address", cluster.address]
    command += ["--set", f"storage={tmp_path}/runs", "--env", "SWEEP_TEST_MARK=1"]
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        said = ""
        for line in watcher.stdout:
            said += line
            if "Running entrypoint" in line:
                watcher.send_signal(signal.SIGINT)
                break
        rest = watcher.stdout.read()
    assert watcher.returncode == 130
    assert "1 node with Ray and Python as here" in said
    assert "and of the environment SWEEP_TEST_MARK" in said
    assert "runs as sent-1; it needs this machine no longer" in said
    assert "sent-1 goes on and is no longer watched; see: python -m platform.submit sweeps/sent.yaml" in rest

    code, _, err = submit()
    assert code == 3
    assert "a sweep must have one driver, but 'sent' is " in err
    assert "as sent-1 since 0 minutes; see --status, or end it with --stop" in err

    deadline = time.monotonic() + 90
    while not folder.is_dir() or reports(folder) < 5:
        assert time.monotonic() < deadline, submit("--status")
        time.sleep(0.1)
    assert submit("--status")[1].startswith("sent-1: RUNNING, ")
    code, out, _ = submit("--stop")
    assert code == 0
    assert "sent-1: STOPPED; " in out
    assert "(SIGTERM; carry on with: python -m platform.submit sweeps/sent.yaml --address http://127.0.0.1:" in out
    assert submit("--stop")[1] == "sent: nothing of this sweep runs on the cluster\n"

    code, out, err = submit()
    assert (code, err) == (0, "")
    assert "runs as sent-2" in out
    assert "sent: 4 complete" in out
    assert [line.partition(",")[0] for line in submit("--status")[1].splitlines()[:2]] == [
        "sent-1: STOPPED",
        "sent-2: SUCCEEDED",
    ]
    journals = sorted((folder / "trials").glob("*/journal.jsonl"))
    assert len(journals) == 4
    for journal in journals:  # no step twice, though some trials were cut
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        steps = [line["step"] for line in lines if "valid/ndcg_10" in line["metrics"]]
        assert steps == [1, 2, 3, 4, 5, 6]

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tests.trainables.curve")
    runs = client.search_runs([experiment.experiment_id], "tags.`git.state` = 'clean'")
    (parent,) = (run for run in runs if "sweep.trial" not in run.data.tags)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    assert parent.data.tags["mlflow.source.git.commit"] == head.stdout.strip()


def test_a_running_sweep_is_steered_by_a_job_that_is_no_second_sweep(submit, tmp_path, empty_store):
    (tmp_path / "runs").mkdir()
    shutil.copyfile(empty_store, tmp_path / "runs" / "mlflow.db")
    held = ("--set", "name=held", "--set", "num_trials=90")
    assert submit(*held, "--detach")[0] == 0
    deadline = time.monotonic() + 90
    while not reports(tmp_path / "runs" / "held"):
        assert time.monotonic() < deadline, submit(*held, "--status")
        time.sleep(0.1)
    code, out, _ = submit(*held, "--enqueue", "x=0.125")
    assert (code, len(re.findall(r"held: trial \d+ is enqueued\n", out))) == (0, 1), out
    assert submit(*held, "--stop")[1].startswith("held-1: STOPPED; ")
    refused, out, _ = submit(*held, "--end", "400")
    assert (refused, "--end: must name trials that run, but got 400 (it has not started)" in out) == (2, True), out


def test_what_only_the_cluster_can_know_is_said_there_and_gives_the_exit_code(submit):
    """Data is looked for where the driver runs, not here."""
    sets = "name=absent", "trainable=spectran", "metric.name=valid/ndcg_20", "parameters={data.name: no-such-data}"
    code, out, _ = submit(*(word for each in sets for word in ("--set", each)))
    assert code == 2
    assert "runs as absent-1" in out
    assert "or point data.root or $SWEEP_DATA to the folder that holds it" in out.partition("Running entrypoint")[2]


def test_the_commands_of_the_pages_run(submit, tmp_path):
    """All but the address and the storage as written; --detach, so that the line comes back."""
    lines = [line for line in commands() if "python -m platform.submit" in line]
    ends = {line.rpartition(" ")[2]: line.split() for line in lines}
    assert {"--status", "--stop"} < set(ends)
    for words in ends.values():
        assert words[:3] == ["python", "-m", "platform.submit"]
        options = words[words.index("--address") + 2 :]
        more = [] if options else ["--detach"]
        code, out, err = submit(*options, *more, file=words[3])
        assert (code, err) == (0, "")
        assert "spectran-taylor" in out


def test_nothing_is_sent_of_what_cannot_work(submit, cluster, tmp_path, monkeypatch):
    assert submit("--set", "num_trials=0")[0] == 2
    code, _, err = submit(storage=None)
    assert code == 2
    assert "the sweep names none and $SWEEP_STORAGE of the cluster is None; write --set storage=/shared/runs" in err
    code, _, err = submit("--set", "tracking.uri=http://127.0.0.1:1")
    assert code == 2
    assert "tracking.uri: must be a server that the cluster reaches, but its head gets '[Errno 111] Conn" in err
    (tmp_path / "file").write_text("")
    code, _, err = submit(storage=tmp_path / "file" / "runs")
    assert code == 2
    assert f"of {tmp_path}/file/runs the head cannot write to it (Not a directory); mount it everywhere" in err
    (tmp_path / "wrong").write_text("wrong")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "wrong"))
    code, _, err = submit("--status")
    assert code == 2
    assert f"it refuses the one of {tmp_path}/wrong; `ray get-auth-token` on the head prints the right one" in err
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = submit()
    assert code == 2
    assert f"{cluster.address} must be given its token, but $RAY_AUTH_TOKEN, " in err
    assert not list(tmp_path.glob("runs*"))


@pytest.mark.parametrize("path", ["/api/version", "/api/jobs/", "/api/packages/gcs/_ray_pkg_0.zip", "/api/v0/nodes"])
def test_the_job_server_refuses_who_has_no_token(cluster, path):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{cluster.address}{path}", timeout=10)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mount namespaces need root")
def test_a_storage_that_a_worker_does_not_see_is_refused(cluster, submit, tmp_path):
    """The worker's own mount hides the folder."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    cluster.add_node(through=("unshare", "-m", "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh"))
    code, out, err = submit("--set", "name=unseen", storage=hidden / "runs")
    assert code == 2, out
    assert "does not see it (No such file or directory); mount it everywhere, or name another" in err


def test_a_bucket_is_tried_from_head_and_nodes_and_left_as_it_was(submit, bucket, tmp_path, cluster, checkout):
    where = ["--set", f"storage={bucket}/runs", "--set", f"study=sqlite:///{tmp_path}/study.db"]
    code, _, err = submit(*where, storage=None)  # the cluster has no credentials
    assert code == 2
    assert f"must be a bucket that every node sees, but of {bucket}/runs the head cannot write to it" in err
    assert "give every node boto3, AWS_ENDPOINT_URL and credentials, or name another" in err
    spec = load("sweeps/sent.yaml", [word for word in where if word != "--set"])
    environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    answer = preflight.ask(jobs.connect(cluster.address), spec, environment)
    alive = [node for node in cluster.listed("nodes") if node["state"] == "ALIVE"]
    assert (answer["storage"], answer["storage_problem"], answer["nodes"]) == (f"{bucket}/runs", None, len(alive))
    assert list(Bucket(bucket.removeprefix("s3://")).list("")) == []
