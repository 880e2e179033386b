"""The MLflow side of a sweep: a parent run, a child run a trial, shipped from the trials' journals in the background.

What is on disk decides what is sent, so an outage or a crash is caught up by whoever ships next, and nothing is sent
twice: each batch carries the number of its last journal line as the metric `trial/reports`. Nothing here ever stops a
sweep.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platform import plots
from platform.destination import Destination, make_database
from platform.journal import TrialFiles, all_trials

SHIPPED_REPORTS = "trial/reports"
SWEEP_TAG = "sweep.name"
TRIAL_TAG = "sweep.trial"

_BATCH_METRICS = 800  # MLflow takes 1000 of all kinds a request, 100 parameters among them
_BATCH_PARAMS = 100
_LARGE_BYTES = 64 * 2**20  # larger files are logged by reference
_PAUSE_S = 1.0
_SWITCH_S = 0.0005  # the driver's loop waits this long for its turn, not 5 ms at each of a trial's events
_LONGEST_PAUSE_S = 15.0
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "INTERRUPTED": "KILLED"}

logger = logging.getLogger(__name__)


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
            shipped = trial.read("shipped.json")
            if shipped.get("to") != str(self.destination) or shipped.get("ended") != trial.read("end.json").get("time"):
                self._dirty[trial.number] = trial
        sys.setswitchinterval(_SWITCH_S)
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
        if self._thread.ident is None:  # never started
            return False
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
            self._done.wait(_PAUSE_S)  # reports that come meanwhile share a batch

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
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import ViewType

        self._destination = destination
        self._sweep = sweep
        self._tags = dict(tags)
        make_database(destination.uri, lambda uri: MlflowClient(tracking_uri=uri).get_experiment("0"))
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
        run_id, params = self._open(trial.number, identity)
        if end:
            plots.learning_curve(trial.lines(), trial.folder / "artifacts" / "learning_curve.html")
            plots.tables(trial.folder / "artifacts")
        tags = self._end_tags(trial, end) if end else []
        for count, request in _requests(trial.lines(self._sent[trial.number]), params, tags):
            self._client.log_batch(run_id, **request)
            self._sent[trial.number] += count
        self._opened.add(trial.number)
        if end:
            self._log_files(trial.folder, run_id)
            self._client.set_terminated(run_id, status=_STATUS[end["state"]], end_time=int(1000 * end["time"]))
        shipped = {"to": str(self._destination), "run_id": run_id, "reports": self._sent[trial.number]}
        trial.write_shipped({**shipped, "ended": end.get("time")})

    def end_parent(self, end: Mapping[str, Any]) -> None:
        """Log the sweep's result, where it has changed, and end the parent run."""
        known = self._client.get_run(self._parent).data.metrics
        for name, value in end.get("metrics", {}).items():
            if known.get(name) != value:
                self._client.log_metric(self._parent, name, value)
        for name, value in end.get("tags", {}).items():
            self._client.set_tag(self._parent, name, value)
        for path in end.get("files", ()):
            self._client.log_artifact(self._parent, str(path))
        self._client.set_terminated(self._parent, status=end.get("status", "FINISHED"))

    def _open(self, number: int, identity: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """The run of a trial, and the parameters that it still needs: those of a run that was left, too."""
        from mlflow.entities import Param

        if number in self._opened:
            return self._runs[number], []
        if number in self._runs:  # left by an earlier driver, or before an outage
            self._client.update_run(self._runs[number], status="RUNNING")
        else:
            run = self._client.create_run(
                self._experiment,
                start_time=int(1000 * identity["started"]),
                tags=self._run_tags({TRIAL_TAG: str(number), "mlflow.parentRunId": self._parent}),
                run_name=f"{self._sweep}-{number}",
            )
            self._runs[number], self._sent[number] = str(run.info.run_id), 0
        return self._runs[number], [Param(name, str(value)) for name, value in identity["values"].items()]

    def _end_tags(self, trial: TrialFiles, end: Mapping[str, Any]) -> list[Any]:
        from mlflow.entities import RunTag

        large = {f"file.{path.name}": str(path) for path in self._files(trial.folder) if _is_large(path)}
        tags = {"sweep.state": end["state"], "sweep.end": end["reason"], **trial.read("tags.json"), **large}
        return [RunTag(name, str(value)) for name, value in tags.items()]

    def _log_files(self, folder: Path, run_id: str) -> None:
        artifacts = folder / "artifacts"
        for path in self._files(folder):
            if not _is_large(path):
                inside = path.parent.relative_to(artifacts) if path.is_relative_to(artifacts) else Path("checkpoints")
                self._client.log_artifact(run_id, str(path), None if str(inside) == "." else str(inside))

    def _files(self, folder: Path) -> list[Path]:
        files = sorted(path for path in (folder / "artifacts").rglob("*") if path.is_file())
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


def _is_large(path: Path) -> bool:
    return path.stat().st_size > _LARGE_BYTES


def _requests(lines: list[dict[str, Any]], params: list[Any], tags: list[Any]) -> list[tuple[int, dict[str, Any]]]:
    """As few `log_batch` requests as hold it all: (whole lines inside, arguments); parameters first, tags last."""
    requests: list[tuple[int, dict[str, Any]]] = []
    for start in range(_BATCH_PARAMS, len(params), _BATCH_PARAMS):
        requests.append((0, {"params": params[start : start + _BATCH_PARAMS]}))
    request, count = {"params": params[:_BATCH_PARAMS], "metrics": []}, 0
    for line in lines:
        metrics = _metrics(line)
        if len(request["metrics"]) + len(metrics) > _BATCH_METRICS and count:
            requests.append((count, request))
            request, count = {"metrics": []}, 0
        request["metrics"] += metrics
        count += 1
    if count or tags or request.get("params"):
        requests.append((count, {**request, "tags": tags}))
    return requests
