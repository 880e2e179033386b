"""Copies of a bucket's objects on a node: pushed, pulled, told from plain files; the bucket is the truth."""

from pathlib import Path

import pytest

from trainables.storage import mirror, objects


@pytest.fixture
def node(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call with a name to be on that node from then on, for the folder of `<bucket>/runs/x` there."""

    def be_on(name: str) -> Path:
        monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / name))
        return mirror.local_path(f"{bucket}/runs/x")

    return be_on


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_is_itself_and_nothing_is_done_with_it(tmp_path: Path) -> None:
    assert mirror.local_path(str(tmp_path)) == tmp_path
    file = write(tmp_path / "a", "text")
    mirror.push(file)
    mirror.push_changed(tmp_path)
    mirror.pull(tmp_path)
    mirror.pull_file(file)
    assert mirror.uri_of(file) == str(file)
    with pytest.raises(AssertionError, match=f"{file} is no copy"):
        mirror.require_remote(file)
    assert mirror.sizes(tmp_path) == {file: 4}
    mirror.remove([file, tmp_path / "none"])
    assert names(tmp_path) == []


def test_what_one_node_pushes_another_pulls(node, bucket: str) -> None:
    first = node("first")
    mirror.push(write(first / "a/b", "text"))
    assert mirror.uri_of(first / "a/b") == f"{bucket}/runs/x/a/b"
    write(first / "unpushed", "")
    second = node("second")
    assert mirror.sizes(second) == {second / "a/b": 4}
    mirror.pull(second)
    assert names(second) == ["a/b"]
    assert (second / "a/b").read_text() == "text"


def test_the_bucket_is_the_truth(node) -> None:
    first = node("first")
    mirror.push(write(first / "kept", "old"), write(first / "gone", ""), write(first / "other/mine", ""))
    second = node("second")
    mirror.pull(second)
    mirror.remove([second / "gone"])
    mirror.push(write(second / "kept", "new"))
    first = node("first")
    write(first / "kept", "never pushed")
    write(first / "other/unpushed", "")
    mirror.pull(first, lambda name: not name.startswith("other/"))
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
    mirror.push_changed(folder)
    mirror.push_changed(folder)
    write(folder / "b", "22")
    mirror.push_changed(folder, lambda name: name != "a")
    assert sorted(written[:2]) == ["a", "b"]
    assert written[2:] == ["b"]
    fetched: list[str] = []
    real_fetch = objects.Bucket.fetch

    def fetch(self, key, path):
        fetched.append(path.name)
        return real_fetch(self, key, path)

    monkeypatch.setattr(objects.Bucket, "fetch", fetch)
    mirror.pull(folder)
    assert fetched == []
    other = node("second")
    mirror.pull(other)
    mirror.pull(other)
    assert sorted(fetched) == ["a", "b"]


def test_a_folder_goes_here_and_in_the_bucket_or_only_here(node) -> None:
    folder = node("first")
    mirror.push(write(folder / "a/1", ""), write(folder / "a/2", ""), write(folder / "ab", ""))
    mirror.delete_local(folder)
    assert not folder.exists()
    mirror.pull(folder)
    assert names(folder) == ["a/1", "a/2", "ab"]
    mirror.remove_folder(folder / "a")
    assert list(mirror.sizes(folder)) == [folder / "ab"]
    assert names(folder) == ["ab"]


def test_driver_and_workers_of_one_node_have_copies_of_their_own(node, bucket: str) -> None:
    node("first")
    worker, driver = mirror.local_path(f"{bucket}/x"), mirror.local_path(f"{bucket}/x", mirror.DRIVER)
    assert worker != driver
    mirror.push(write(worker / "status", "busy"))
    mirror.pull_file(driver / "status")
    assert (driver / "status").read_text() == "busy"
    mirror.remove([worker / "status"])
    mirror.pull_file(driver / "status")
    assert not (driver / "status").exists()
