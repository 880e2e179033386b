"""The MLflow side of a sweep: a parent run, a child run a trial, shipped from the trials' journals in the background.

What is on disk decides what is sent, so an outage or a crash is caught up by whoever ships next, and nothing is sent
twice: each batch carries the number of its last journal line as the metric `trial/reports`. Nothing here ever stops a
sweep.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platform import plots
from platform.journal import TrialFiles, all_trials

SHIPPED_REPORTS = "trial/reports"
SWEEP_TAG = "sweep.name"
TRIAL_TAG = "sweep.trial"

_BATCH_METRICS = 900  # MLflow takes 1000 a request
_LARGE_BYTES = 64 * 2**20  # larger files are logged by reference
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "INTERRUPTED": "KILLED"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Destination:
    """Where a sweep is tracked and under which name.

    `uri` and `experiment` are MLflow's; `artifacts` is where a local store keeps files; `checkpoints` is best, last or
    none.
    """

    uri: str
    experiment: str
    artifacts: Path
    checkpoints: str = "best"

    def __str__(self) -> str:
        """The URI without user and password."""
        parts = urlsplit(self.uri)
        return self.uri if not parts.password else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Tracker:
    """Ships one sweep's trials to MLflow from a thread of its own.

    Args:
        destination: the MLflow store.
        sweep: the sweep's name.
        folder: the sweep's folder in the storage.
        tags: of the parent and of every trial (git commit, package versions).
        tell: called with one sentence when tracking is lost and when it is back.
    """

    def __init__(
        self, destination: Destination, sweep: str, folder: Path, tags: Mapping[str, str], tell: Callable[[str], None]
    ) -> None:
        self.destination = destination
        self._sweep = sweep
        self._folder = folder
        self._tags = dict(tags)
        self._tell = tell
        self._wake = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._dirty: dict[int, TrialFiles] = {}
        self._parent_end: dict[str, Any] | None = None
        self._store: _Store | None = None
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin shipping; what an earlier driver left unsent comes first."""
        for trial in all_trials(self._folder):
            if not trial.read("shipped.json").get("ended"):
                self._dirty[trial.number] = trial
        self._thread.start()

    def changed(self, trial: TrialFiles) -> None:
        """A trial has something new on disk."""
        with self._lock:
            self._dirty[trial.number] = trial
        self._wake.set()

    def finish(self, end: Mapping[str, Any], patience_s: float = 30.0) -> bool:
        """Ship what is left and end the parent run; False if the store did not take all of it in `patience_s` seconds.

        Args:
            end: the parent's `status` (MLflow's word), `metrics`, `tags` and `files` (paths to log).
        """
        self._parent_end = dict(end)
        self._done.set()
        self._wake.set()
        self._thread.join(patience_s)
        return not self._thread.is_alive() and not self._lost

    def _run(self) -> None:
        pause = _PAUSE_S
        while True:
            self._wake.wait(_PAUSE_S if self._done.is_set() else _LONGEST_PAUSE_S)
            self._wake.clear()
            finishing = self._done.is_set()
            try:
                self._ship()
                if finishing and not self._dirty and self._store:
                    self._store.end_parent(self._parent_end or {})
            except Exception as error:  # whatever a store does, the sweep goes on
                logger.warning("tracking: %s", error, exc_info=True)
                if not self._lost:
                    self._tell(f"MLflow at {self.destination} does not answer; the sweep goes on and ships later")
                self._lost, self._store = True, None
                if finishing:
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._done.wait(pause)
                self._wake.set()
                continue
            if self._lost:
                self._tell(f"MLflow at {self.destination} answers again")
            self._lost, pause = False, _PAUSE_S
            if finishing and not self._dirty:
                return
            time.sleep(_PAUSE_S)  # reports that come meanwhile share a batch

    def _ship(self) -> None:
        if self._store is None:
            self._store = _Store(self.destination, self._sweep, self._folder, self._tags)
        while True:
            with self._lock:
                if not self._dirty:
                    return
                number, trial = next(iter(self._dirty.items()))
                del self._dirty[number]
            try:
                self._store.ship(trial)
            except Exception:
                with self._lock:
                    self._dirty.setdefault(number, trial)
                raise


class _Store:
    """One connection to MLflow: the experiment, the parent run and the children by trial number."""

    def __init__(self, destination: Destination, sweep: str, folder: Path, tags: Mapping[str, str]) -> None:
        for name, value in (("MAX_RETRIES", "1"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "10")):
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        from mlflow import MlflowClient
        from mlflow.entities import ViewType

        self._destination = destination
        self._sweep = sweep
        self._tags = dict(tags)
        self._client = MlflowClient(tracking_uri=destination.uri)
        self._experiment = self._find_experiment()
        runs = self._client.search_runs(
            [self._experiment],
            f"tags.`{SWEEP_TAG}` = '{sweep}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=50_000,
        )
        parents = [run for run in runs if TRIAL_TAG not in run.data.tags]
        self._runs = {int(run.data.tags[TRIAL_TAG]): run.info.run_id for run in runs if TRIAL_TAG in run.data.tags}
        self._sent = {
            int(run.data.tags[TRIAL_TAG]): int(run.data.metrics.get(SHIPPED_REPORTS, 0))
            for run in runs
            if TRIAL_TAG in run.data.tags
        }
        self._opened: set[int] = set()
        if parents:
            self._parent = parents[0].info.run_id
            self._client.update_run(self._parent, status="RUNNING")
        else:
            tags_ = self._run_tags({})
            self._parent = self._client.create_run(self._experiment, tags=tags_, run_name=sweep).info.run_id
            self._client.log_text(self._parent, (folder / "sweep.yaml").read_text(), "sweep.yaml")

    def ship(self, trial: TrialFiles) -> None:
        """Send what is new of `trial`; its files and its end when it has ended."""
        identity = trial.read("trial.json")
        if not identity:
            return
        end = trial.read("end.json")  # read before the lines: what was reported before the end is then complete
        run_id = self._run_of(trial.number, identity)
        lines = trial.lines(self._sent[trial.number])
        for batch in _batches(lines):
            self._client.log_batch(run_id, metrics=[m for line in batch for m in _metrics(line)])
            self._sent[trial.number] += len(batch)
        if end:
            self._end(trial, run_id, end)
        trial.write_shipped({"run_id": run_id, "reports": self._sent[trial.number], "ended": bool(end)})

    def end_parent(self, end: Mapping[str, Any]) -> None:
        """Log the sweep's result and end the parent run."""
        for name, value in end.get("metrics", {}).items():
            self._client.log_metric(self._parent, name, value)
        for name, value in end.get("tags", {}).items():
            self._client.set_tag(self._parent, name, value)
        for path in end.get("files", ()):
            self._client.log_artifact(self._parent, str(path))
        self._client.set_terminated(self._parent, status=end.get("status", "FINISHED"))

    def _run_of(self, number: int, identity: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        if number in self._runs:
            if number not in self._opened:  # left by an earlier driver
                self._client.update_run(self._runs[number], status="RUNNING")
                self._opened.add(number)
            return self._runs[number]
        run = self._client.create_run(
            self._experiment,
            start_time=int(1000 * identity["started"]),
            tags=self._run_tags({TRIAL_TAG: str(number), "mlflow.parentRunId": self._parent}),
            run_name=f"{self._sweep}-{number}",
        )
        params = [Param(name, str(value)) for name, value in identity["values"].items()]
        for start in range(0, len(params), 100):
            self._client.log_batch(run.info.run_id, params=params[start : start + 100])
        self._runs[number], self._sent[number] = run.info.run_id, 0
        self._opened.add(number)
        return str(run.info.run_id)

    def _end(self, trial: TrialFiles, run_id: str, end: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        artifacts = trial.folder / "artifacts"
        artifacts.mkdir(exist_ok=True)
        plots.learning_curve(trial.lines(), artifacts / "learning_curve.html")
        tags = {"sweep.state": end["state"], "sweep.end": end["reason"], **trial.read("tags.json")}
        for path in self._files(trial.folder, artifacts):
            if path.stat().st_size > _LARGE_BYTES:
                tags[f"file.{path.name}"] = str(path)
            else:
                inside = path.parent.relative_to(artifacts) if path.is_relative_to(artifacts) else Path("checkpoints")
                self._client.log_artifact(run_id, str(path), None if str(inside) == "." else str(inside))
        self._client.log_batch(run_id, tags=[RunTag(name, str(value)) for name, value in tags.items()])
        self._client.set_terminated(run_id, status=_STATUS[end["state"]], end_time=int(1000 * end["time"]))

    def _files(self, folder: Path, artifacts: Path) -> list[Path]:
        files = sorted(path for path in artifacts.rglob("*") if path.is_file())
        if self._destination.checkpoints != "best":
            files = [path for path in files if path.name != "best.safetensors"]
        if self._destination.checkpoints == "last":
            files += sorted((folder / "checkpoints").glob("*.pt"))[-1:]
        return files

    def _run_tags(self, own: Mapping[str, str]) -> dict[str, str]:
        return {SWEEP_TAG: self._sweep, "mlflow.source.name": "platform.sweep", **self._tags, **own}

    def _find_experiment(self) -> str:
        name = self._destination.experiment
        found = self._client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        local = urlsplit(self._destination.uri).scheme in ("sqlite", "postgresql", "mysql", "")
        location = (self._destination.artifacts / name).resolve().as_uri() if local else None
        return str(self._client.create_experiment(name, artifact_location=location))


def _metrics(line: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Metric

    at = int(1000 * line["time"])
    values = {**line["metrics"], SHIPPED_REPORTS: line["report"]}
    return [
        Metric(
            name,
            float("nan") if value is None else float(value),
            at,
            line["step"] if name != SHIPPED_REPORTS else line["report"],
        )
        for name, value in values.items()
    ]


def _batches(lines: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Whole lines, as many as fit one request."""
    batches: list[list[dict[str, Any]]] = []
    size = 0
    for line in lines:
        width = len(line["metrics"]) + 1
        if not batches or size + width > _BATCH_METRICS:
            batches.append([])
            size = 0
        batches[-1].append(line)
        size += width
    return batches
