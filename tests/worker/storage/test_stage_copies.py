"""Nodes that share results through a bucket: one computes, the others wait, copy it once, take over from the dead."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from trainables.storage import checkpoint, mirror, object_lease, stage_copies
from trainables.storage.object_lease import ObjectLease
from trainables.storage.objects import Bucket, StoreError
from trainables.storage.stages import Stages, stage, stage_key

fork = multiprocessing.get_context("fork")


@stage(version=1)
def slow(total: int, place: Path, go: str) -> dict[str, np.ndarray]:
    """Numbers, once the file `go` is there; each computation leaves a file."""
    (place / f"started-{os.getpid()}-{threading.get_ident()}").touch()
    until((place / go).exists, 60)
    return {"numbers": np.arange(total), "who": np.full(1, os.getpid())}


KEY = stage_key(slow, {"total": 4})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_copies, "_POLL_S", 0.05)


@pytest.fixture
def on_node(bucket: str, tmp_path: Path):
    """Call with a node's name and the file that its computation waits for, for a process that asks there."""

    def ask(name: str, go: str, said: Path) -> None:
        os.environ["SWEEP_CACHE"] = str(tmp_path / name)
        stages = Stages(mirror.local_path(f"{bucket}/stages"), owner=f"node {name}")

        def status(text: str) -> None:
            with said.open("a") as stream:
                stream.write(f"{text}\n")

        result = stages.get(slow, {"total": 4}, context={"place": tmp_path, "go": go}, notify=status)
        assert result["numbers"].tolist() == [0, 1, 2, 3]

    started = []

    def start(name: str, go: str = ""):
        process = fork.Process(target=ask, args=(name, go, tmp_path / f"said-{name}"))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def computed(place: Path) -> int:
    return len(list(place.glob("started-*")))


def said(place: Path, start: str) -> list[str]:
    """Messages to node `second` that begin with `start`."""
    path = place / "said-second"
    return [line for line in path.read_text().splitlines() if line.startswith(start)] if path.exists() else []


def objects(bucket: str) -> list[str]:
    return [found.key for found in Bucket(bucket.removeprefix("s3://")).list("")]


def test_two_nodes_compute_once_and_both_have_it(on_node, tmp_path: Path, bucket: str) -> None:
    first = on_node("first", "go")
    until(lambda: computed(tmp_path))
    second, third = on_node("second"), on_node("second")
    until(lambda: said(tmp_path, "waits for slow, computed by node first (process "))
    (tmp_path / "go").touch()
    for process in (first, second, third):
        process.join(20)
        assert process.exitcode == 0
    assert computed(tmp_path) == 1
    assert said(tmp_path, "")[-1] == ""
    for node in ("first", "second"):
        copy = tmp_path / node / "copies" / "worker" / bucket.removeprefix("s3://") / "stages"
        assert sorted(path.name for path in copy.iterdir()) == [KEY, f"{KEY}.lock"]
        assert sorted(path.name for path in (copy / KEY).iterdir()) == ["manifest.json", "numbers.npy", "who.npy"]
    assert len(objects(bucket)) == 4  # two arrays, the manifest, an empty lease


@pytest.mark.slow
def test_a_dead_node_is_taken_over_once_its_lease_is_stale(
    on_node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_copies, "STALE_S", 3.0)
    dying = on_node("first", "never")
    until(lambda: computed(tmp_path))
    second = on_node("second")
    until(lambda: said(tmp_path, "waits for slow, computed by node first (process "))
    assert computed(tmp_path) == 1
    dying.kill()
    dying.join()
    second.join(20)
    assert second.exitcode == 0
    assert computed(tmp_path) == 2
    assert said(tmp_path, "takes over slow from node first (process ")


@stage(version=1)
def stepwise(total: int, place: Path, folder: Path) -> dict[str, np.ndarray]:
    """Steps, each saved; the first to come to the third dies there."""
    state = checkpoint.load(folder) or {"step": 0}
    for step in range(state["step"] + 1, total + 1):
        if step == 3 and not (place / "died").exists():
            (place / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (place / "steps").open("a") as stream:
            stream.write(f"{step}\n")
        checkpoint.save(folder, {"step": step})
    return {"numbers": np.arange(total)}


@pytest.mark.slow
def test_partial_work_of_a_dead_node_is_carried_on_by_another(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_copies, "STALE_S", 0.5)

    def ask(name: str) -> None:
        os.environ["SWEEP_CACHE"] = str(tmp_path / name)
        stages = Stages(mirror.local_path(f"{bucket}/stages"))
        stages.get(stepwise, {"total": 5}, context={"place": tmp_path}, scratch=True)

    for name, code in (("first", -signal.SIGKILL), ("second", 0)):
        process = fork.Process(target=ask, args=(name,))
        process.start()
        process.join(60)
        assert process.exitcode == code
    assert (tmp_path / "steps").read_text().split() == ["1", "2", "3", "4", "5"]
    assert not any(".scratch/" in key for key in objects(bucket))


@pytest.mark.slow
def test_a_slow_node_that_gives_signs_of_life_is_not_taken_over(
    on_node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_copies, "STALE_S", 2.0)
    monkeypatch.setattr(object_lease, "BEAT_S", 0.3)
    first = on_node("first", "go")
    until(lambda: computed(tmp_path))
    second = on_node("second")
    until(lambda: said(tmp_path, "waits for slow, computed by node first (process "))
    time.sleep(4.0)
    (tmp_path / "go").touch()
    second.join(30)
    first.join(10)
    assert (first.exitcode, second.exitcode, computed(tmp_path)) == (0, 0, 1)


@pytest.mark.slow
def test_a_kill_before_the_manifest_leaves_no_result(on_node, tmp_path: Path, bucket: str, monkeypatch) -> None:
    monkeypatch.setattr(stage_copies, "STALE_S", 0.5)

    def dies(self, key, data):
        if key.endswith("manifest.json"):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, key, data)

    real = Bucket.create
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "create", dies)
        dying = on_node("first")
        dying.join(20)
    assert dying.exitcode == -signal.SIGKILL
    assert not any(key.endswith("manifest.json") for key in objects(bucket))
    assert any(key.endswith("numbers.npy") for key in objects(bucket))
    for node in ("second", "first"):
        process = on_node(node)
        process.join(20)
        assert process.exitcode == 0
    assert computed(tmp_path) == 2  # the dead one and the second; the first node copies


def test_the_first_of_two_results_stays_whole(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for node, value in (("first", 1), ("second", 2)):
        monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / node))
        folder = mirror.local_path(f"{bucket}/stages") / KEY
        draft = folder.with_name("draft")
        draft.mkdir(parents=True)
        np.save(draft / "x.npy", np.full(3, value))
        stage_copies.publish(draft, folder)
        assert np.load(folder / "x.npy").tolist() == [1, 1, 1]
    assert len(objects(bucket)) == 2


def test_a_damaged_array_is_refused(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Stages(mirror.local_path(f"{bucket}/stages"))
    stages.get(slow, {"total": 4}, context={"place": tmp_path, "go": ""})
    [key] = [key for key in objects(bucket) if key.endswith("numbers.npy")]
    store = Bucket(bucket.removeprefix("s3://"))
    data = store.read(key).data
    store.write(key, data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "other"))
    with pytest.raises(StoreError, match=r"numbers\.npy: must be what its manifest says, but is damaged; remove"):
        Stages(mirror.local_path(f"{bucket}/stages")).get(slow, {"total": 4}, context={"place": tmp_path, "go": ""})


def test_a_lease_is_one_s_until_it_is_given_back_or_taken_over(bucket: str) -> None:
    store = Bucket(bucket.removeprefix("s3://"))
    one, two = ObjectLease(store, "lease"), ObjectLease(store, "lease")
    assert one.newest() is None
    assert one.take(b"one", None)
    assert not two.take(b"two", None)
    assert one.renew()
    found = two.newest()
    assert found.data == b"one"
    assert two.take(b"two", found.tag)
    assert not one.renew()
    one.release()
    assert two.renew()
    two.release()
    assert one.newest() is None
    assert one.take(b"one", None)


def test_manifest_names_every_array_with_its_digest(bucket: str, tmp_path: Path) -> None:
    result = Stages(mirror.local_path(f"{bucket}/stages")).get(
        slow, {"total": 4}, context={"place": tmp_path, "go": ""}
    )
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert sorted(manifest["arrays"]) == sorted(manifest["digests"]) == ["numbers", "who"]
