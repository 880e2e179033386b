"""Provenance tags of one run of a sweep."""

import importlib.metadata
import subprocess

from platform import provenance


def test_versions_and_user_are_there_without_a_repository(tmp_path):
    tags = provenance.tags(tmp_path / "sweep.yaml")
    assert tags["version.optuna"] == importlib.metadata.version("optuna")
    assert tags["version.torch"] == importlib.metadata.version("torch")
    assert tags["mlflow.user"]


def test_the_commit_and_whether_the_tree_differs(tmp_path):
    def git(*arguments: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", *name, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    path = tmp_path / "sweep.yaml"
    path.write_text("name: x")
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "own.py").write_text("")
    tags = provenance.tags(path)
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.state"] == "clean"
    path.write_bytes(b"name: y\nuri: http://user:word@host/ caf\xe9\n")
    assert provenance.tags(path)["git.state"] == "changed"
    provenance.write(tmp_path / "runs", path)
    changes = (tmp_path / "runs" / "changes.diff").read_text()
    assert "-name: x" in changes
    assert "+uri: http://***@host/ caf\N{REPLACEMENT CHARACTER}" in changes
    assert "not tracked: runs/own.py" in changes
    assert f"optuna=={importlib.metadata.version('optuna')}\n" in (tmp_path / "runs" / "environment.txt").read_text()
    for text in ("name: z", "name: z", "name: a"):
        path.write_text(text)
        provenance.write(tmp_path / "runs", path)
    names = [each.name for each in provenance.written(tmp_path / "runs")]
    assert names == ["changes-2.diff", "changes-3.diff", "changes.diff", "environment.txt"]
    assert (tmp_path / "runs" / "changes.diff").read_text() == changes
    assert "+name: a" in (tmp_path / "runs" / "changes-3.diff").read_text()


def test_a_tree_that_was_sent_without_git_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_GIT_COMMIT", "0123abc")
    monkeypatch.setenv("SWEEP_GIT_STATE", "changed")
    tags = provenance.tags(tmp_path / "sweep.yaml")
    assert (tags["mlflow.source.git.commit"], tags["git.state"]) == ("0123abc", "changed")
