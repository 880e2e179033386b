"""Trials go where the sweep says, on real nodes of this machine, and ask an autoscaler for no more than they may."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.clusters import RAY, RayCluster

pytestmark = pytest.mark.slow

TYPES = json.dumps({"slots": {"resources": {"CPU": 1, "slot": 1}, "labels": {"zone": "b"}, "max_workers": 5}})


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head that runs no trial; what can be added is told, and nothing is there yet."""
    cluster = RayCluster(cpus=0, SWEEP_NODE_TYPES=TYPES)
    yield cluster
    cluster.end()


@pytest.fixture
def start_there(cluster: RayCluster, start, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen[str]]:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "SWEEP_NODE_TYPES"):
        monkeypatch.setenv(name, cluster.environment[name])
    return lambda *arguments: start("--address", f"127.0.0.1:{cluster.port}", *arguments)


def pending(cluster: RayCluster) -> int:
    """Trials that wait for a node, as the autoscaler sees them."""
    command = [RAY, "status", "--address", f"127.0.0.1:{cluster.port}"]
    said = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False).stdout
    waiting = [line for line in said.splitlines() if "pending placement groups" in line]
    return sum(int(line.rpartition(":")[2].split("+")[0]) for line in waiting)


@pytest.mark.usefixtures("store_is_there")
def test_a_cluster_at_zero_is_asked_for_as_many_as_may_run_and_trials_go_where_the_label_says(
    cluster, start_there, ended
):
    plan = ended(start_there("--plan", "--set", "resources={gpu: auto, custom: {slot: 1}}"))
    assert plan.code == 0, plan.err
    assert re.search(r"at once +5\b", plan.out), plan.out
    assert "up to 5 more of slots (1 CPU, 1 slot): 1 trial each; nothing idle" in plan.out

    sets = ["resources={custom: {slot: 1}, label: {zone: b}}", "max_concurrent_trials=2", "parameters.sleep=0.1"]
    sweep = start_there(*(word for each in [*sets, "num_trials=4", "early_stopping=none"] for word in ("--set", each)))
    seen: list[int] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and seen.count(2) < 2:
        assert sweep.poll() is None, sweep.communicate()
        seen.append(pending(cluster))
    assert max(seen) == 2, seen
    for zone in ("a", "b"):
        cluster.add_node(f"--labels=zone={zone}", '--resources={"slot": 1}')
    done = ended(sweep)
    assert done.code == 0, done.err
    assert "curve: 4 complete" in done.out
    zones = {node["node_id"]: node["labels"].get("zone") for node in cluster.listed("nodes")}
    workers = [actor for actor in cluster.listed("actors") if actor["class_name"].endswith("ImplicitFunc")]
    assert {zones[actor["node_id"]] for actor in workers if actor["node_id"]} == {"b"}
