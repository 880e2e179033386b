"""Four hosts with addresses of their own: a head, two workers, and this one that submits; one worker's link is cut.

The hosts are network namespaces on one bridge, which has a namespace too. They share a folder, which is this machine's;
or a bucket, with the study on PostgreSQL and an MLflow server, all three on this machine.
Three raylets on two busy cores may take longer than Ray gives them, so this is run by hand: python -m pytest -m by_hand
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from platform.submit import main
from tests.clusters import RayCluster
from tests.hosts import NET, Hosts
from tests.servers import Line, MlflowServer
from tests.worker.small import SMALL_HATLLM
from trainables.storage.objects import Bucket, parse

pytestmark = [
    pytest.mark.by_hand,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2"),
]

SWEEP = """\
name: hosts
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 12
parameters:
  x: {min: 0.0, max: 1.0}
  sleep: 1.0
"""
OVER = json.dumps(
    {
        "name": "over",
        "trainable": "hatllm",
        "metric": {"name": "valid/ndcg_10", "goal": "maximize"},
        "num_trials": 1,
        "method": "grid",
        "early_stopping": "none",
        "resources": {"cpu": 0.5, "gpu": 0, "workers": 2},
        "parameters": {
            **SMALL_HATLLM, "llm.name": "tiny", "engine.name": "deepspeed",
            "fit.steps": 4, "fit.evaluate_every": 1, "fit.patience": 9,
        },
    }
)  # fmt: skip
KEEP_UP = ("sh", "-c", 'while :; do "$@"; sleep 1; done', "sh")
"""As a service manager does: a raylet that was given up ends itself and is started again."""
QUICK = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_raylet_start_wait_time_s": "180",
}
"""A silent node is given up after about twenty seconds instead of a minute; one that starts has time."""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    hosts = Hosts()
    yield hosts
    hosts.end()


class Folder:
    """A storage that is a folder of all hosts, and what the command has to be told of it."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self.settings = [f"storage={folder}"]

    def texts(self, pattern: str) -> list[str]:
        """The files of that pattern in it."""
        return [path.read_text() for path in sorted(Path(self.where).glob(pattern))]


class InBucket:
    """A storage in a bucket, beside it a database for studies and an MLflow server."""

    def __init__(self, where: str, study: str, tracking: str) -> None:
        self.where = where
        self.settings = [f"storage={where}", f"study={study}", f"tracking.uri={tracking}"]

    def texts(self, pattern: str) -> list[str]:
        name, prefix = parse(self.where)
        bucket = Bucket(name)
        keys = [found.key for found in bucket.list(f"{prefix}/") if fnmatch(found.key, f"{prefix}/{pattern}")]
        contents = {key: bucket.read(key) for key in sorted(keys)}
        assert None not in contents.values()
        return [content.data.decode() for content in contents.values() if content]


@pytest.fixture(params=["folder", "bucket"])
def storage(
    request: pytest.FixtureRequest, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Folder | InBucket]:
    if request.param == "folder":
        folder = tmp_path / "runs"
        folder.mkdir()
        shutil.copyfile(request.getfixturevalue("empty_store"), folder / "mlflow.db")
        yield Folder(folder)
        return
    bucket, postgres = request.getfixturevalue("bucket"), request.getfixturevalue("postgres")
    mlflow = MlflowServer(postgres.database(), tmp_path)
    objects = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
    lines = [Line(port, f"{NET}.4") for port in (objects, postgres.port, mlflow.port)]
    try:
        mlflow.begin()
        for line in lines:
            line.mend()
        monkeypatch.setenv("AWS_ENDPOINT_URL", lines[0].uri)
        study = postgres.database().replace(f"127.0.0.1:{postgres.port}", f"{NET}.4:{lines[1].port}")
        yield InBucket(f"{bucket}/runs", study, lines[2].uri)
    finally:
        for line in lines:
            line.cut()
        mlflow.kill()


@pytest.fixture
def cluster(hosts: Hosts, storage: Folder | InBucket, tmp_path: Path) -> Iterator[RayCluster]:
    """With the environment that the storage needs, and a cache of its own on each host."""
    caches = {name: f"SWEEP_CACHE={tmp_path / name}" for name in hosts.names}
    cluster = RayCluster(cpus=0, host=f"{NET}.1", through=(*hosts.on("head"), "env", caches["head"]), **QUICK)
    try:
        for number, name in ((2, "one"), (3, "two")):
            own = f"--temp-dir={cluster.folder}/{name}"  # a node that starts clears it
            through = (*hosts.on(name), "env", caches[name], *KEEP_UP)
            cluster.add_node(f"--node-ip-address={NET}.{number}", own, through=through)
        yield cluster
    finally:
        cluster.end()


@pytest.fixture
def sent(
    cluster: RayCluster, checkout: Path, storage: Folder | InBucket, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], list[str]]:
    """Call with a name and the text of a sweep file for the arguments that send it."""
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token))

    def sent(name: str, text: str) -> list[str]:
        (checkout / "sweeps" / f"{name}.yaml").write_text(text)
        subprocess.run(["git", "add", "sweeps"], cwd=checkout, check=True)
        settings = [word for setting in storage.settings for word in ("--set", setting)]
        return [f"sweeps/{name}.yaml", "--address", cluster.address, *settings]

    return sent


def wait(condition: Callable[[], object], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)


def test_a_worker_that_is_cut_off_loses_no_trial_and_is_used_again(hosts, cluster, storage, sent, capsys):
    line = sent("hosts", SWEEP)
    assert main([*line, "--detach"]) == 0
    assert f"3 nodes with Ray and Python as here and {storage.where} in common" in capsys.readouterr().out

    def ends() -> list[str]:
        return storage.texts("hosts/trials/*/end.json")

    def placed() -> set[str]:
        """The addresses, and for a node that came back `address again`, on which trials' actors were."""
        nodes = {node["node_id"]: node for node in cluster.listed("nodes")}
        dead = {node["node_ip"] for node in nodes.values() if node["state"] == "DEAD"}
        found = set()
        for actor in cluster.listed("actors"):
            node = nodes.get(actor["node_id"] or "")
            if actor["class_name"].endswith("ImplicitFunc") and node:
                again = node["node_ip"] in dead and node["state"] == "ALIVE"
                found.add(node["node_ip"] + (" again" if again else ""))
        return found

    wait(lambda: len(ends()) >= 2 and len(placed()) == 2, "trials on both workers", 150)
    assert placed() == {f"{NET}.2", f"{NET}.3"}
    hosts.link("one", "down")
    wait(lambda: any(node["state"] == "DEAD" for node in cluster.listed("nodes")), "the head to give it up", 90)
    hosts.link("one", "up")

    def is_over() -> bool:
        main([*line, "--status"])
        return "RUNNING" not in capsys.readouterr().out

    wait(is_over, "the sweep's end", 300)
    main([*line, "--status"])
    assert "hosts-1: SUCCEEDED" in capsys.readouterr().out
    assert ['"COMPLETE"' in end for end in ends()] == [True] * 12, ends()
    (log,) = storage.texts("hosts/sweep.log")
    assert re.search(r"trial \d+ is started again: worker lost", log)

    cluster.wait_for_nodes(3, 240)
    assert main([*line, "--set", "num_trials=16"]) == 0
    assert "hosts: 16 complete" in capsys.readouterr().out
    assert {f"{NET}.2 again", f"{NET}.3"} <= placed()


def test_a_language_model_under_deepspeed_has_the_same_losses_on_two_hosts_as_on_one(cluster, storage, sent, capsys):
    line = sent("over", OVER)
    losses = []
    for nodes in (1, 2):
        name = f"over-{nodes}"
        assert main([*line, "--set", f"name={name}", "--set", f"resources.nodes={nodes}"]) == 0, capsys.readouterr()
        journal = "".join(storage.texts(f"{name}/trials/0/journal*"))
        metrics = [json.loads(entry)["metrics"] for entry in journal.splitlines()]
        losses.append([each["train/loss"] for each in metrics if "train/loss" in each])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    hosts = {node["node_id"]: node["node_ip"] for node in cluster.listed("nodes")}
    actors = [(each["class_name"], hosts.get(each["node_id"])) for each in cluster.listed("actors")]
    (agent,) = (host for name, host in actors if name == "NodeAgent")
    assert {agent, *(host for name, host in actors if name.endswith("ImplicitFunc"))} == {f"{NET}.2", f"{NET}.3"}
    assert main([*line, "--set", "resources.nodes=3", "--set", "resources.workers=3", "--set", "name=wide"]) == 1
    assert "on each of 3 nodes and of the cluster's 3 nodes" in capsys.readouterr().err
