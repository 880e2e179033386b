"""The lines that say where a sweep's results are, and how to look at them in MLflow and in Optuna Dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from platform.study.ownership import place_of
from platform.sweepfile.spec import SweepSpec
from platform.tracking import pages
from platform.tracking.destination import Destination
from trainables.redaction import redact
from trainables.storage import mirror


def of_files(folder: Path, files: Sequence[Path]) -> str:
    """The line that names the tables and the page among the `files` of the sweep in `folder`."""
    shown = [path for path in files if path.parent == folder and path.suffix in (".csv", ".html")]
    return f"results: {', '.join(_from_here(mirror.uri_of(path)) for path in shown)}"


def of_runs(destination: Destination, folder: Path) -> list[str]:
    """The lines that open the sweep's runs in MLflow."""
    path, found = str(destination), pages.read(folder, destination)
    if path.startswith("http"):
        return [f"compare trials: {found.table if found else path}"]
    here = f"mlflow ui --backend-store-uri {_from_here(path, 'sqlite:///')}"
    return [f"compare trials: {here}", *([f"and open {found.table}"] if found else [])]


def of_study(spec: SweepSpec, folder: Path) -> str:
    """The line that opens the sweep's study in Optuna Dashboard, also while it runs."""
    study = _from_here(redact(place_of(spec, folder)))
    return f"see the search: optuna-dashboard {study} (it listens on this machine alone; it can delete the study)"


def _from_here(path: str, scheme: str = "") -> str:
    """A path, after its scheme, as it is written in this folder."""
    local = Path(path.removeprefix(scheme))
    near = path.startswith(scheme) and "://" not in str(local) and local.is_relative_to(Path.cwd())
    return f"{scheme}{local.relative_to(Path.cwd())}" if near else path
