"""A node's cache of a bucket: each file fetched once, bounded, never evicted while in use."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from trainables.data import atomic
from trainables.storage import cache, mirror
from trainables.storage.objects import Bucket
from trainables.storage.stages import Stages, stage
from trainables.trial import LocalTrial


@stage(version=1)
def numbers(seed: int) -> dict[str, np.ndarray]:
    """A mebibyte."""
    return {"x": np.full(2**20, seed, np.uint8)}


@pytest.fixture
def store(bucket: str) -> Bucket:
    return Bucket(bucket.removeprefix("s3://"))


def kept(stages: Stages) -> list[Path]:
    return sorted(path.parent for path in stages.folder.glob("*/manifest.json"))


def test_the_longest_unused_results_go_when_the_cache_is_full(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE_SIZE", "2.5MiB")
    stages = Stages(mirror.local_path(f"{bucket}/stages"))
    folders = []
    for seed in range(3):
        folders.append(stages.get(numbers, {"seed": seed}).folder)
        os.utime(folders[-1] / "manifest.json", (seed, seed))
        gc.collect()
    assert kept(stages) == sorted(folders[1:])
    again = stages.get(numbers, {"seed": 0})  # from the bucket
    assert again["x"][0] == 0
    assert kept(stages) == sorted([folders[0], folders[2]])


def test_what_is_used_stays_though_the_cache_is_full(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE_SIZE", "1MiB")
    stages = Stages(mirror.local_path(f"{bucket}/stages"))
    held = [stages.get(numbers, {"seed": seed}) for seed in range(3)]
    assert len(kept(stages)) == 3
    assert [result["x"][-1] for result in held] == [0, 1, 2]
    held.clear()
    gc.collect()
    cache.evict()
    assert kept(stages) == []


def test_copies_of_a_trial_that_a_killed_worker_left_go_when_room_is_needed(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_CACHE_SIZE", "1MiB")
    left, running = (LocalTrial(mirror.local_path(f"{bucket}/runs/curve/trials/{number}")) for number in range(2))
    for trial in (left, running):
        trial.artifact("large.bin").write_bytes(bytes(2**20))
    folder = left.folder
    del left, trial  # as a process that ends lets go
    running.upload_artifacts()
    gc.collect()
    cache.evict()
    assert not folder.exists()
    assert (running.folder / "artifacts" / "large.bin").exists()
    assert [path.name for path in mirror.sizes(running.folder)] == ["large.bin"]


@pytest.mark.parametrize(("said", "size"), [("", 50 * 2**30), ("1.5GiB", 3 * 2**29), ("512 MiB", 2**29), ("7", 7)])
def test_a_size_is_read(monkeypatch: pytest.MonkeyPatch, said: str, size: int) -> None:
    monkeypatch.setenv("SWEEP_CACHE_SIZE", said)
    assert cache.limit() == size


def test_a_size_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_CACHE_SIZE", "much")
    with pytest.raises(ValueError, match="SWEEP_CACHE_SIZE must be a size such as 200GiB or 512MiB, but got 'much'"):
        cache.limit()


def test_a_data_set_reaches_a_node_once_and_again_when_it_changed(
    bucket: str, store: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("tiny.inter", "tiny.item"):
        store.write(f"data/tiny/{file}", file.encode())
    fetched: list[str] = []
    real = Bucket.fetch

    def noted(self: Bucket, key: str, path: Path) -> str | None:
        fetched.append(path.name)
        return real(self, key, path)

    monkeypatch.setattr(Bucket, "fetch", noted)
    monkeypatch.setenv("SWEEP_DATA", f"{bucket}/data")
    for _ in range(3):
        folder = atomic.locate("tiny", None)
    assert sorted(fetched) == ["tiny.inter", "tiny.item"]
    assert (folder / "tiny.inter").read_text() == "tiny.inter"
    store.write("data/tiny/tiny.item", b"more")
    assert (atomic.locate("tiny", None) / "tiny.item").read_text() == "more"
    assert fetched[2:] == ["tiny.item"]


def test_a_data_set_that_is_not_in_the_bucket_is_said(bucket: str) -> None:
    with pytest.raises(atomic.DataError, match=r"data.name: a data set is a folder none with none.inter"):
        atomic.locate("none", f"{bucket}/data")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert cache.fetch(str(tmp_path)) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_the_content_of_a_folder_is_another_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    file = tmp_path / "inner" / "weights"
    file.write_text("one")
    os.utime(file, ns=(0, 5))
    first = cache.content(str(tmp_path))
    assert first == "[('inner/weights', 3, 5)]"
    file.write_text("two")
    os.utime(file, ns=(0, 6))
    assert cache.content(str(tmp_path)) == "[('inner/weights', 3, 6)]"
    assert cache.content("an-owner/a-model") is None


def test_the_content_of_a_bucket_is_what_lies_there_whenever_it_was_brought(bucket: str, store: Bucket) -> None:
    store.write("models/one/weights", b"first")
    found = cache.content(f"{bucket}/models/one")
    assert found is not None
    assert "weights" in found
    os.utime(cache.fetch(f"{bucket}/models/one") / "weights", (1, 1))
    assert cache.content(f"{bucket}/models/one") == found
    store.write("models/one/weights", b"other")
    assert cache.content(f"{bucket}/models/one") != found
