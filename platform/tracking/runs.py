"""The runs of one sweep in MLflow: a parent, one child per trial; each fact once, however often it is sent.

The one connection to MLflow is made here. A metric is sent with the time at which it was journalled, so that
the store recognises it. A run is found by its tags (`tags.py`).
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platform.pictures.trial import draw
from platform.storage.trial_end import State, TrialEnd
from platform.storage.trial_record import TrialRecord
from platform.tracking import pages
from platform.tracking import tags as run_tags
from platform.tracking.batches import requests_of
from platform.tracking.destination import Destination, make_database
from platform.tracking.errors import left_out_if_too_large
from platform.tracking.journal import TrialFiles, infinite_words
from platform.tracking.messages import ParentEnd
from platform.tracking.params import RunParams
from trainables.exceptions import first_line
from trainables.redaction import redact, redact_values
from trainables.storage import mirror

REFUSED_TAG = "tracking.refused"

_LARGE_BYTES = 64 * 2**20  # larger files are logged by reference
_STATUS = {
    State.COMPLETE: "FINISHED",
    State.PRUNED: "FINISHED",  # KILLED is drawn as a failure is
    State.FAIL: "FAILED",
    State.INTERRUPTED: "KILLED",
    State.CANCELLED: "KILLED",
}
_ACTIVE = "active"
_DATA, _DIGEST = "data.name", 36
"""The field that names the data set; characters of a digest that MLflow takes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    """A file of a trial, here or only in the bucket."""

    path: Path
    size: int


class _DeletedError(Exception):
    """The run is in MLflow's bin."""


class Runs:
    """One connection to MLflow: the experiment, the parent run and the children by trial number.

    Args:
        destination: the MLflow store.
        sweep: the sweep's name.
        sweep_id: tells it from others of its name.
        folder: the sweep's folder in the storage.
        tags: of the parent and of every trial.
        notify: called with one sentence when the store refuses something for good.
    """

    def __init__(
        self,
        destination: Destination,
        sweep: str,
        sweep_id: str,
        folder: Path,
        tags: Mapping[str, str],
        notify: Callable[[str], None],
    ) -> None:
        for name, value in (("MAX_RETRIES", "1"), ("BACKOFF_FACTOR", "1"), ("TIMEOUT", "10")):
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it may hold a password
        from mlflow import MlflowClient

        self._destination = destination
        self._sweep = sweep
        self._sweep_id = sweep_id
        self._tags = redact_values(tags)
        self._notify = notify
        make_database(destination.uri, lambda uri: MlflowClient(tracking_uri=uri).get_experiment("0"))
        self._client = MlflowClient(tracking_uri=destination.uri)
        self._experiment = self._find_experiment()
        self._opened: set[int] = set()
        self._runs: dict[int, str] = {}
        self._sent: dict[int, int] = {}
        self._params = RunParams(notify)
        self._names_refused: dict[int, set[str]] = {}
        parent = self.find()
        if not parent:
            run_tags.adopt(self._client, self._experiment, sweep, sweep_id, folder)
            parent = self.find()
        if parent:
            self._client.update_run(parent, status="RUNNING")
        else:
            run = self._client.create_run(self._experiment, tags=self._run_tags({}), run_name=sweep)
            parent = str(run.info.run_id)
        self._parent = parent
        self._client.log_text(self._parent, redact((folder / "sweep.yaml").read_text()), "sweep.yaml")
        ours = pages.Pages(to=str(destination), experiment=self._experiment, sweep_id=sweep_id)
        ours.open(self._client, self._tags, folder)

    def find(self) -> str | None:
        """Learn the sweep's runs from the store; of those made twice, all but the furthest are deleted.

        Returns:
            The id of the parent, None where there is none.
        """
        runs = run_tags.find(self._client, self._experiment, self._sweep_id)
        parent = runs.pop(None, None)
        for number, run in runs.items():
            run_id = str(run.info.run_id)
            if number is not None and self._runs.get(number) != run_id:
                self._runs[number], self._sent[number] = run_id, run_tags.reports(run)
                self._params.learn(number, run.data.params)
                self._opened.discard(number)
        return str(parent.info.run_id) if parent else None

    def ship(self, trial: TrialFiles) -> None:
        """Send the news of `trial`; when it has ended, its files and its end, too."""
        record = trial.record()
        if record is None or record.study not in (None, self._sweep_id):
            return
        end = trial.read_end()  # read before the lines: what was reported before the end is then complete
        run_id = self._open(trial.number, record)
        if end:
            trial.bring(_LARGE_BYTES)
            _draw(trial)
            mirror.push_changed(trial.folder / "artifacts")
        files = self._files(trial.folder) if end else {}
        params, changed = self._params.news(trial.number, record.values, trial.folder)
        tags = {**(self._end_tags(trial, end, files) if end else {}), **changed}
        if (_DATA in params or end) and (data := self._params.value(trial.number, _DATA)):
            tags[_DATA] = data
        lines, is_deleted = trial.lines(self._sent[trial.number]), False
        try:
            for count, request in requests_of(lines, params, tags, run_tags.REPORTS):
                self._send(trial.number, run_id, request)
                self._sent[trial.number] += count
        except _DeletedError:  # by hand, so on purpose
            logger.warning("tracking: run %s was deleted in MLflow; nothing more is sent to it", run_id)
            files, is_deleted = {}, True
        self._opened.add(trial.number)
        if end and not is_deleted:
            self._log_data(run_id, tags)
            self._log_files(run_id, files)
            self._forget(run_id, set(trial.read("shipped.json").get("files", ())) - files.keys())
            self._client.set_terminated(run_id, status=_STATUS[end.state], end_time=int(1000 * end.time))
        shipped = {"to": str(self._destination), "run_id": run_id, "reports": self._sent[trial.number]}
        trial.write_shipped({**shipped, "ended": end.time if end else None, "files": sorted(files)})

    def end_parent(self, end: ParentEnd) -> None:
        """Log the sweep's result, where it has changed, and end the parent run.

        Nothing of a former winner stays: its tags are deleted, and metrics that the winner lacks, which MLflow cannot
        delete, become NaN.
        """
        from mlflow.entities import Metric, RunTag

        data = self._client.get_run(self._parent).data
        former = {*data.metrics, *data.tags} - {*end.metrics, *end.tags} if end.metrics else set[str]()
        for name in [name for name in former if name.startswith("best.")]:
            self._client.delete_tag(self._parent, name)
        gone = {name: math.nan for name in former if name.startswith("best/")}
        changed = {n: v for n, v in {**gone, **end.metrics}.items() if str(data.metrics.get(n)) != str(v)}
        self._client.log_batch(
            self._parent,
            metrics=[Metric(name, value, int(1000 * end.time), end.step) for name, value in changed.items()],
            tags=[RunTag(name, value) for name, value in redact_values(end.tags).items()],
        )
        for path in end.files:
            with left_out_if_too_large(path, self._notify):
                self._client.log_artifact(self._parent, str(path))
        self._client.set_terminated(self._parent, status=end.status)

    def _open(self, number: int, record: TrialRecord) -> str:
        """Find or create the run of a trial."""
        if number in self._opened:
            return self._runs[number]
        if number in self._runs:  # left by an earlier driver, or before an outage
            self._client.update_run(self._runs[number], status="RUNNING")
        else:
            linked = {"retries": record.retries, "of": record.of}
            again = {name: str(number) for name, number in linked.items() if number is not None}
            run = self._client.create_run(
                self._experiment,
                start_time=int(1000 * record.started),
                tags=self._run_tags({run_tags.TRIAL: str(number), run_tags.PARENT: self._parent, **again}),
                run_name=f"{self._sweep}-{number}",
            )
            self._runs[number], self._sent[number] = str(run.info.run_id), 0
        return self._runs[number]

    def _send(self, number: int, run_id: str, request: dict[str, list[Any]]) -> None:
        """Send a batch; values that the store refuses for good are left out, reported and noted as a tag of the run.

        Raises:
            MlflowException: the store does not take anything now.
        """
        from mlflow.entities import RunTag

        known = self._names_refused.setdefault(number, set())
        request = {kind: [each for each in entities if each.key not in known] for kind, entities in request.items()}
        refusals = self._refusals(run_id, request)
        if refusals:
            known |= refusals.keys()
            self._client.log_batch(run_id, tags=[RunTag(REFUSED_TAG, ", ".join(sorted(known)))])
            shown = "; ".join(f"{name!r} ({text})" for name, text in sorted(refusals.items()))
            self._notify(f"MLflow refuses {shown} of trial {number}; the trial's journal keeps the reports")

    def _refusals(self, run_id: str, request: Mapping[str, list[Any]]) -> dict[str, str]:
        """Send a batch, in halves where the store refuses it; returns the names that it refuses alone, with reasons."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_batch(run_id, **request)
            return {}
        except MlflowException as error:
            if error.get_http_status_code() != 400:
                raise
            if self._client.get_run(run_id).info.lifecycle_stage != _ACTIVE:
                raise _DeletedError from error
            names = sorted({(kind, each.key) for kind, entities in request.items() for each in entities})
            if len(names) == 1:
                return {names[0][1]: first_line(error)}
        refusals: dict[str, str] = {}
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            part = {kind: [e for e in entities if (kind, e.key) in half] for kind, entities in request.items()}
            refusals |= self._refusals(run_id, part)
        return refusals

    def _end_tags(self, trial: TrialFiles, end: TrialEnd, files: Mapping[str, _File]) -> dict[str, str]:
        large = {f"file.{f.path.name}": mirror.uri_of(f.path) for f in files.values() if f.size > _LARGE_BYTES}
        tags = {"trial.state": end.state.lower(), "sweep.end": end.reason, **trial.read("tags.json"), **large}
        if words := infinite_words(trial.lines()):  # MLflow draws them as its largest number, so that it gets none
            tags["sweep.infinite"] = words[: pages.LONGEST_TAG]
        return redact_values({name: str(value) for name, value in tags.items()})

    def _log_data(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Name the data set where MLflow looks for one."""
        from mlflow.entities import Dataset, DatasetInput

        name, digest = tags.get(_DATA), tags.get("data.fingerprint", "")[:_DIGEST]
        if name and digest:
            source = json.dumps({"fingerprint": tags["data.fingerprint"]})
            self._client.log_inputs(run_id, [DatasetInput(Dataset(name, digest, "local", source))])

    def _log_files(self, run_id: str, files: Mapping[str, _File]) -> None:
        for name, file in files.items():
            if file.size > _LARGE_BYTES:
                continue
            if not file.path.exists():
                mirror.pull_file(file.path)
            folder = str(Path(name).parent) if "/" in name else None
            try:
                with left_out_if_too_large(file.path, self._notify):
                    self._client.log_artifact(run_id, str(file.path), folder)
            except FileNotFoundError:  # a checkpoint that was collected meanwhile
                logger.info("tracking: %s is gone and is not logged", file.path)

    def _forget(self, run_id: str, names: set[str]) -> None:
        """Delete logged files that are no longer kept on disk."""
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if not names:
            return
        run = self._client.get_run(run_id)
        for name in sorted(names):
            tag = f"file.{Path(name).name}"
            if tag in run.data.tags:
                self._client.delete_tag(run_id, tag)
                continue
            try:
                files = get_artifact_repository(run.info.artifact_uri, tracking_uri=self._destination.uri)
                files.delete_artifacts(name)
            except (MlflowException, NotImplementedError, FileNotFoundError) as error:
                logger.warning("tracking: %s of run %s is not deleted: %s", name, run_id, error)

    def _files(self, folder: Path) -> dict[str, _File]:
        """The files of a trial by the name that they have in the run."""
        artifacts, checkpoints = folder / "artifacts", folder / "checkpoints"
        sizes = sorted(mirror.sizes(artifacts).items())
        files = {str(path.relative_to(artifacts)): _File(path, size) for path, size in sizes}
        if self._destination.checkpoints != "best":
            files.pop(mirror.WEIGHTS, None)
        if self._destination.checkpoints == "last":
            kept = [each for each in mirror.sizes(checkpoints).items() if each[0].match(f"{checkpoints}/*.pt")]
            files |= {f"checkpoints/{path.name}": _File(path, size) for path, size in sorted(kept)[-1:]}
        return files

    def _run_tags(self, own: Mapping[str, str]) -> dict[str, str]:
        ours = {run_tags.SWEEP: self._sweep_id, run_tags.NAME: self._sweep, "mlflow.source.name": "platform.sweep"}
        return {**ours, **self._tags, **own}

    def _find_experiment(self) -> str:
        name = self._destination.experiment
        experiment = self._client.get_experiment_by_name(name)
        if experiment:
            return str(experiment.experiment_id)
        local = urlsplit(self._destination.uri).scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "")
        place = self._destination.artifacts / name
        location = mirror.uri_of(place) if mirror.remote_of(place) else place.resolve().as_uri()
        return str(self._client.create_experiment(name, artifact_location=location if local else None))


def _draw(trial: TrialFiles) -> None:
    """Add pictures to a trial's artifacts; the rest is shipped without those that fail."""
    try:
        draw(trial.lines(), trial.folder / "artifacts")
    except (OSError, ValueError) as error:
        logger.warning("tracking: trial %d lacks a picture: %s", trial.number, error)
