"""Destination of tracking: MLflow's URI, the experiment, and the folder of a local store's files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from platform.sweepfile.spec import SweepSpec
from trainables.redaction import redact

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Destination:
    """The store and the name under which a sweep is tracked.

    `uri` and `experiment` are MLflow's. `artifacts` is the folder of a local store's files. `checkpoints` is best, last
    or none.
    """

    uri: str
    experiment: str
    artifacts: Path
    checkpoints: str = "best"

    def __str__(self) -> str:
        """The URI without user, password and other secrets."""
        parts = urlsplit(self.uri)
        host = parts.netloc.rpartition("@")[2]
        return redact(self.uri if host == parts.netloc else parts._replace(netloc=host).geturl())


def destination_of(spec: SweepSpec, folder: Path) -> Destination:
    """The store that a sweep file, or `$MLFLOW_TRACKING_URI`, names; by default one beside the sweep's `folder`."""
    storage = folder.parent
    named = spec.tracking.uri and spec.resolved("tracking.uri", spec.tracking.uri)
    uri = named or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage / 'mlflow.db'}"
    experiment = spec.tracking.experiment or spec.trainable
    return Destination(uri, experiment, storage / "artifacts", spec.tracking.checkpoints)


def make_database(uri: str, make: Callable[[str], object]) -> None:
    """Make the SQLite file of `uri` under another name and rename it into place, unless it exists.

    MLflow makes its tables in steps. It can never again open a file in which a crash cut these steps short.

    Args:
        uri: MLflow's.
        make: makes the tables in the database of the URI that it gets.
    """
    path = Path(uri.removeprefix(_SQLITE))
    if not uri.startswith(_SQLITE) or "?" in uri or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if path.exists():
            return
        for cut in path.parent.glob(f".{path.name}.*.draft*"):
            cut.unlink()
        draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
        make(f"{_SQLITE}{draft}")
        draft.rename(path)
