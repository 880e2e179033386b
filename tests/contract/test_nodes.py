"""Trials over several nodes, each a raylet of this machine: they train as on one node, and end together."""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from platform.runners import placement, tune
from platform.runners.ledger import Ledger
from platform.space.check import space_of
from platform.storage.folder import open_folder
from platform.study.study import Study
from platform.sweepfile.spec import load
from tests.worker.small import SMALL_HATLLM

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RANKED = """\
name: ranked
trainable: tests.trainables.ranked
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 1
method: grid
early_stopping: none
resources: {gpu: 0, custom: {slot: 1}}
parameters: {steps: 5}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without slots and two nodes with two; `cluster.slots` are those that take trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # for the workers
        for name, value in tune.ENVIRONMENT.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(2):
                add_node(cluster)
            tune.connect(cluster.address)
            yield cluster
        finally:
            tune.disconnect()
            cluster.shutdown()


def add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=2, resources={"slot": 2}, object_store_memory=80 * 2**20)


@pytest.fixture
def play(cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., SimpleNamespace]:
    """Run a sweep of one trial on so many nodes, two ranks in all; its reports, its end and the log."""

    def play(text: str, *overrides: str, nodes: int) -> SimpleNamespace:
        (tmp_path / "sweep.yaml").write_text(text)
        own = [f"storage={tmp_path}", f"name=over-{nodes}", "resources.workers=2", f"resources.nodes={nodes}"]
        spec = load(tmp_path / "sweep.yaml", [*own, *overrides])
        folder = open_folder(spec)
        study = Study(spec, space_of(spec), folder)
        ledger = Ledger(spec, study, folder, folder.parent / "stages")
        with caplog.at_level(logging.WARNING, "platform.runners.ledger"):
            tune.run(ledger, placement.capacity(spec.resources, None))
        trial = folder / "trials" / "0"
        lines = [json.loads(line) for line in (trial / "journal.jsonl").read_text().splitlines()]
        losses = [(line["step"], line["metrics"]["train/loss"]) for line in lines if "train/loss" in line["metrics"]]
        end = json.loads((trial / "end.json").read_text())
        return SimpleNamespace(folder=trial, lines=lines, losses=losses, end=end, log=caplog.text)

    return play


def ranks(folder: Path) -> dict[int, psutil.Process]:
    """The ranks of the trial in `folder` that run, by number: each writes into its own output."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if "trainables.runtime.rank" in (process.info["cmdline"] or []):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                outputs = [Path(file.path) for file in process.open_files()]
                found.update({int(each.stem): process for each in outputs if each.parent == folder / "ranks"})
    return found


def node_of(cluster: Any, process: psutil.Process) -> Any:
    """The node whose raylet started the worker that started `process`."""
    above = {each.pid for each in process.parents()}
    (node,) = (each for each in cluster.list_all_nodes() if above & {raylet_pid(each)})
    return node


def raylet_pid(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def test_two_nodes_train_as_two_ranks_on_one_do(play):
    one, two = play(RANKED, nodes=1), play(RANKED, nodes=2)
    assert two.end["state"] == "COMPLETE", two.end
    assert [step for step, _ in two.losses] == [1, 2, 3, 4, 5]
    assert [loss for _, loss in two.losses] == pytest.approx([loss for _, loss in one.losses], abs=1e-5)
    assert not ranks(two.folder)


def test_a_language_model_under_deepspeed_has_the_same_losses_on_two_nodes_as_on_one(play):
    values = {
        **SMALL_HATLLM,
        "llm.name": "tiny",
        "engine.name": "deepspeed",
        "fit.steps": 4,
        "fit.evaluate_every": 1,
        "fit.patience": 9,
    }
    whole = ["trainable=hatllm", f"parameters={json.dumps({**values, 'data.eval_rows': 8})}"]
    one, two = (play(RANKED, *whole, nodes=nodes) for nodes in (1, 2))
    assert two.end["state"] == "COMPLETE", two.end
    assert [step for step, _ in two.losses] == [1, 2, 3, 4]
    assert [loss for _, loss in two.losses] == pytest.approx([loss for _, loss in one.losses], abs=1e-4)
    assert not ranks(two.folder)


@pytest.mark.parametrize("lost", [1, 0])
def test_a_node_lost_mid_step_ends_every_rank_and_the_retry_carries_on_elsewhere(cluster, play, tmp_path, lost):
    """The node of the last rank, or that of the trial's own worker."""
    folder = tmp_path / "over-2" / "trials" / "0"
    left: list[psutil.Process] = []

    def lose() -> None:
        output = folder / "ranks" / "1.log"
        while not (output.exists() and "this rank hangs" in output.read_text()):
            time.sleep(0.2)
        running = ranks(folder)
        cluster.remove_node(node_of(cluster, running[lost]), allow_graceful=False)
        _, alive = psutil.wait_procs([*running.values()], timeout=120)
        left.extend(alive)

    add_node(cluster)  # one to spare; a thread cannot start it
    loser = Thread(target=lose, daemon=True)
    loser.start()
    two = play(RANKED, "parameters.wrong=hang_once", nodes=2)
    loser.join(130)  # it gives the ranks 120
    assert not loser.is_alive()
    assert not left
    assert two.end["state"] == "COMPLETE", two.end
    assert [step for step, _ in two.losses] == [1, 2, 3, 4, 5]
    assert two.log.count("is started again") == 1
    if lost:
        assert "is started again: worker lost: RankFailed: node " in two.log
        assert "; its last words: this rank hangs" in two.log
    else:
        assert "is started again: worker lost: " in two.log
    assert not ranks(folder)
