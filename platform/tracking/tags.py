"""Owner of a run in MLflow by its tags: the sweep, and the trial, which the parent run lacks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from platform.tracking.journal import all_trials

SWEEP = "sweep.id"
NAME = "sweep.name"
"""For people; another sweep may have the same."""
TRIAL = "sweep.trial"
PARENT = "mlflow.parentRunId"
REPORTS = "trial/reports"
"""The metric that counts the reports that a run has of its trial's journal."""

_MOST = 50_000

logger = logging.getLogger(__name__)


def find(client: Any, experiment: str, sweep_id: str) -> dict[int | None, Any]:
    """The runs of a sweep by trial number, its parent under None.

    A request may be carried out after its answer was given up, which makes a run twice. The run that has most reports
    is kept, the others are deleted.
    """
    furthest: dict[int | None, Any] = {}
    runs = _search(client, experiment, SWEEP, sweep_id)
    for run in sorted(runs, key=lambda run: (-reports(run), run.info.start_time, run.info.run_id)):
        number = int(run.data.tags[TRIAL]) if TRIAL in run.data.tags else None
        if number in furthest:
            logger.warning("tracking: run %s was made twice and is deleted", run.info.run_name)
            client.delete_run(run.info.run_id)
        else:
            furthest[number] = run
    return furthest


def adopt(client: Any, experiment: str, name: str, sweep_id: str, folder: Path) -> None:
    """Tag runs from the time when a sweep was known by its name alone with the id of the sweep in `folder`.

    A trial's run has this name and started in the millisecond that the trial's own file says.
    """
    records = [record for trial in all_trials(folder) if (record := trial.record())]
    if not records:
        return
    keys = {(str(record.number), int(1000 * record.started)) for record in records}
    runs = [r for r in _search(client, experiment, NAME, name) if r.data.tags.get(SWEEP, sweep_id) == sweep_id]
    ours = [run for run in runs if (run.data.tags.get(TRIAL), run.info.start_time) in keys]
    parents = {run.data.tags.get(PARENT) for run in ours}
    for run in [*ours, *(run for run in runs if run.info.run_id in parents)]:  # the parent's says that all have it
        if SWEEP not in run.data.tags:
            client.set_tag(run.info.run_id, SWEEP, sweep_id)


def reports(run: Any) -> int:
    """Number of its trial's reports that a run has."""
    return int(run.data.metrics.get(REPORTS, 0))


def _search(client: Any, experiment: str, tag: str, value: str) -> list[Any]:
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'", max_results=_MOST))
