"""Files of a working tree that are sent to a cluster."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from platform.cluster import packaging
from platform.errors import InvalidSweep


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout: tracked code, data and runs; a file that git does not know and one that it ignores."""
    root = tmp_path / "tree"
    files = {
        "platform/sweep.py": "code",
        "trainables/data/splits.py": "code of a package that is called data",
        "sweeps/x.yaml": "name: x",
        "data/office/office.inter": "rows",
        "runs/x/journal": "lines",
        "notes.txt": "mine",
        "build/out.o": "ignored",
        ".gitignore": "build/",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    tracked = [name for name in files if name not in ("notes.txt", "build/out.o")]
    for command in (["init", "-q"], ["add", *tracked]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def test_tracked_files_are_sent_without_data_and_runs_and_the_rest_is_named(checkout):
    tree = packaging.tree(checkout / "sweeps", [])
    sent = [str(path) for path in tree.files]
    assert sent == [".gitignore", "platform/sweep.py", "sweeps/x.yaml", "trainables/data/splits.py"]
    assert tree.untracked == ("notes.txt",)
    assert tree.size == sum((checkout / path).stat().st_size for path in sent)


def test_changes_that_are_not_committed_are_sent_and_deleted_files_are_not(checkout, tmp_path):
    (checkout / "platform" / "sweep.py").write_text("changed")
    (checkout / "sweeps" / "x.yaml").unlink()
    packaging.pack(packaging.tree(checkout, []), tmp_path / "tree.zip")
    with zipfile.ZipFile(tmp_path / "tree.zip") as archive:
        assert archive.read("platform/sweep.py") == b"changed"
        assert "sweeps/x.yaml" not in archive.namelist()


def test_a_sweep_file_that_git_does_not_know_yet_is_sent(checkout):
    (checkout / "sweeps" / "new.yaml").write_text("name: new")
    tree = packaging.tree(checkout, [checkout / "sweeps" / "new.yaml"])
    assert Path("sweeps/new.yaml") in tree.files
    assert tree.untracked == ("notes.txt",)


def test_a_module_that_stays_is_named_before_all_else_that_stays(checkout):
    for name in (*(f"a{number}.txt" for number in range(9)), "trainables/new.py"):
        (checkout / name).write_text("")
    assert packaging.listed(packaging.tree(checkout, []).untracked).startswith("trainables/new.py, a0.txt, ")


def test_the_same_content_makes_the_same_archive(checkout, tmp_path):
    for name in ("a.zip", "b.zip"):
        packaging.pack(packaging.tree(checkout, []), tmp_path / name)
        (checkout / "platform" / "sweep.py").touch()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_link_out_of_the_tree_is_not_followed(checkout, tmp_path):
    (tmp_path / "secret").write_text("outside")
    (checkout / "link").symlink_to(tmp_path / "secret")
    subprocess.run(["git", "add", "link"], cwd=checkout, check=True)
    assert Path("link") not in packaging.tree(checkout, []).files


def test_a_tree_over_the_limit_is_refused_with_what_is_big(checkout, monkeypatch):
    (checkout / "trainables" / "weights.bin").write_bytes(bytes(3 * 2**20))
    subprocess.run(["git", "add", "trainables"], cwd=checkout, check=True)
    monkeypatch.setattr(packaging, "LIMIT_BYTES", 2**20)
    with pytest.raises(InvalidSweep) as caught:
        packaging.tree(checkout, [])
    assert "must be at most 1.0 MiB, but are 3.0 MiB (trainables/ 3.0 MiB, trainables/weights.bin 3.0 MiB)" in str(
        caught.value
    )


def test_a_sweep_file_outside_and_a_folder_without_git_are_refused(checkout, tmp_path):
    (tmp_path / "other.yaml").write_text("name: other")
    with pytest.raises(InvalidSweep, match=r"must lie in the tree that is sent, but .*tree does not hold it; copy it"):
        packaging.tree(checkout, [tmp_path / "other.yaml"])
    with pytest.raises(InvalidSweep, match=r"must lie in a git checkout that holds platform/sweep\.py, but .* cd into"):
        packaging.tree(tmp_path, [])


@pytest.mark.parametrize(("count", "shown"), [(0, "0 KiB"), (1536, "2 KiB"), (3 * 2**20, "3.0 MiB")])
def test_sizes_are_readable(count, shown):
    assert packaging.shown_size(count) == shown


def test_many_names_are_cut():
    assert packaging.listed(["a", "b"]) == "a, b"
    assert packaging.listed([str(n) for n in range(9)]) == "0, 1, 2, 3, 4 and 4 more"
