"""What tells one run of a sweep from another: code, packages, machine."""

from __future__ import annotations

import getpass
import importlib.metadata
import subprocess
from pathlib import Path

_PACKAGES = ("ray", "optuna", "mlflow", "torch", "transformers", "peft", "deepspeed", "numpy")


def tags(path: Path = Path(__file__)) -> dict[str, str]:
    """MLflow tags: git commit of the tree that `path` lies in, whether the tree differs, user, versions."""
    found = {f"version.{name}": version for name in _PACKAGES if (version := _version(name))}
    commit = _git(path, "rev-parse", "HEAD")
    if commit:
        changed = _git(path, "status", "--porcelain", "--untracked-files=no")
        found["mlflow.source.git.commit"] = commit
        found["git.state"] = "changed" if changed else "clean"
    try:
        found["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        found["mlflow.user"] = "unknown"
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(path: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=path.resolve().parent, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
