"""Provenance of one run of a sweep: code, packages, machine."""

from __future__ import annotations

import getpass
import importlib.metadata
import itertools
import os
import socket
import subprocess
from pathlib import Path

from trainables.redaction import redact

_PACKAGES = ("ray", "optuna", "mlflow", "torch", "transformers", "peft", "deepspeed", "numpy")
_LONGEST = 2**20  # characters of a diff
_COMMIT, _STATE = "SWEEP_GIT_COMMIT", "SWEEP_GIT_STATE"


def tags(path: Path = Path(__file__)) -> dict[str, str]:
    """MLflow tags: git commit of the tree that `path` lies in, whether the tree differs, user, versions.

    A tree that was sent to a cluster has no git: the environment then carries the result of `commit`.
    """
    found = {f"version.{name}": version for name in _PACKAGES if (version := _version(name))}
    sent = {name: os.environ[name] for name in (_COMMIT, _STATE) if name in os.environ} or commit(path.parent)
    if sent:
        found["mlflow.source.git.commit"] = sent.get(_COMMIT, "unknown")
        found["git.state"] = sent.get(_STATE, "unknown")
    found["host"] = socket.gethostname()
    found["host.cpus"] = str(os.cpu_count())
    try:
        found["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        found["mlflow.user"] = "unknown"
    return found


def write(folder: Path, tree: Path = Path(__file__)) -> None:
    """Write what a run was made from: the changes to the git commit, without secrets, and every installed package.

    A run that differs from those before it has files of its own (`changes-2.diff`). Of Python files that git does not
    track, the names are there.

    Args:
        folder: the files go here.
        tree: a path in the working tree; one without git has no changes.
    """
    packages = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
    untracked = _git(tree.parent, "ls-files", "--others", "--exclude-standard", "--full-name", "--", ":/*.py")
    changes = [*(f"not tracked: {name}" for name in untracked.splitlines()), _git(tree.parent, "diff", "HEAD")]
    _keep(folder / "environment.txt", "\n".join(sorted(packages, key=str.lower)))
    _keep(folder / "changes.diff", redact("\n".join(changes))[:_LONGEST])


def written(folder: Path) -> list[Path]:
    """The files of all runs of the sweep in `folder`."""
    return sorted([*folder.glob("environment*.txt"), *folder.glob("changes*.diff")])


def _keep(path: Path, text: str) -> None:
    """Write `text`, unless a run before had the same, under the first free name."""
    for count in itertools.count(2):
        if not path.exists():
            path.write_text(text)
        if path.read_text() == text:
            return
        path = path.with_name(f"{path.stem.partition('-')[0]}-{count}{path.suffix}")


def commit(folder: Path) -> dict[str, str]:
    """Environment variables that name the git commit of a working tree and whether files differ; none without git."""
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {_COMMIT: head, _STATE: "changed" if changed else "clean"}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder.resolve(),
            capture_output=True,
            text=True,
            errors="replace",  # a file's lines may be in any encoding
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
