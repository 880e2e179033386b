"""Copies of a bucket's objects on a node: pushed, pulled, told from plain files; the bucket is the truth."""

from pathlib import Path

import pytest

from trainables import objects, places


@pytest.fixture
def node(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call with a name to be on that node from then on, for the folder of `<bucket>/runs/x` there."""

    def be_on(name: str) -> Path:
        monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / name))
        return places.local(f"{bucket}/runs/x")

    return be_on


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_is_itself_and_nothing_is_done_with_it(tmp_path: Path) -> None:
    assert places.local(str(tmp_path)) == tmp_path
    file = write(tmp_path / "a", "text")
    places.push(file)
    places.push_changed(tmp_path)
    places.pull(tmp_path)
    places.pull_file(file)
    assert places.place_of(file) == str(file)
    with pytest.raises(AssertionError, match=f"{file} is no copy"):
        places.object_behind(file)
    assert places.sizes(tmp_path) == {file: 4}
    places.remove([file, tmp_path / "none"])
    assert names(tmp_path) == []


def test_what_one_node_pushes_another_pulls(node, bucket: str) -> None:
    first = node("first")
    places.push(write(first / "a/b", "text"))
    assert places.place_of(first / "a/b") == f"{bucket}/runs/x/a/b"
    write(first / "unpushed", "")
    second = node("second")
    assert places.sizes(second) == {second / "a/b": 4}
    places.pull(second)
    assert names(second) == ["a/b"]
    assert (second / "a/b").read_text() == "text"


def test_the_bucket_is_the_truth(node) -> None:
    first = node("first")
    places.push(write(first / "kept", "old"), write(first / "gone", ""), write(first / "other/mine", ""))
    second = node("second")
    places.pull(second)
    places.remove([second / "gone"])
    places.push(write(second / "kept", "new"))
    first = node("first")
    write(first / "kept", "never pushed")
    write(first / "other/unpushed", "")
    places.pull(first, lambda name: not name.startswith("other/"))
    assert names(first) == ["kept", "other/mine", "other/unpushed"]
    assert (first / "kept").read_text() == "new"


def test_only_what_changed_travels(node, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = node("first")
    written: list[str] = []
    real = objects.Bucket.write

    def noted(self: objects.Bucket, key: str, data: bytes | Path) -> str:
        written.append(key.rpartition("/")[2])
        return real(self, key, data)

    monkeypatch.setattr(objects.Bucket, "write", noted)
    write(folder / "a", "1"), write(folder / "b", "1"), write(folder / "c.draft", "")
    places.push_changed(folder)
    places.push_changed(folder)
    write(folder / "b", "22")
    places.push_changed(folder, lambda name: name != "a")
    assert sorted(written[:2]) == ["a", "b"]
    assert written[2:] == ["b"]
    fetched: list[str] = []
    real_fetch = objects.Bucket.fetch
    monkeypatch.setattr(
        objects.Bucket, "fetch", lambda self, key, path: (fetched.append(path.name), real_fetch(self, key, path))[1]
    )
    places.pull(folder)
    assert fetched == []
    other = node("second")
    places.pull(other)
    places.pull(other)
    assert sorted(fetched) == ["a", "b"]


def test_a_folder_goes_here_and_in_the_bucket_or_only_here(node) -> None:
    folder = node("first")
    places.push(write(folder / "a/1", ""), write(folder / "a/2", ""), write(folder / "ab", ""))
    places.forget(folder)
    assert not folder.exists()
    places.pull(folder)
    assert names(folder) == ["a/1", "a/2", "ab"]
    places.remove_folder(folder / "a")
    assert list(places.sizes(folder)) == [folder / "ab"]
    assert names(folder) == ["ab"]


def test_driver_and_workers_of_one_node_have_copies_of_their_own(node, bucket: str) -> None:
    node("first")
    worker, driver = places.local(f"{bucket}/x"), places.local(f"{bucket}/x", places.DRIVER)
    assert worker != driver
    places.push(write(worker / "status", "busy"))
    places.pull_file(driver / "status")
    assert (driver / "status").read_text() == "busy"
    places.remove([worker / "status"])
    places.pull_file(driver / "status")
    assert not (driver / "status").exists()
