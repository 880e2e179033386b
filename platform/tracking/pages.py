"""MLflow's own pages on a sweep: their addresses, and the table that they show.

A table of runs opens with the columns, the filter and the order of a *shared view*: a tag of the experiment that
MLflow's page reads, and no call of its API (`tests/end_to_end/test_pages.py` opens it in a browser).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from platform.storage.trial_record import read_json
from platform.tracking import tags as run_tags
from platform.tracking.destination import Destination
from trainables.redaction import redact

SHARED_VIEW = "mlflow.sharedViewState."
"""The start of the tag of an experiment that holds a view; the rest is the view's key."""
METRIC, GOAL, SWEPT = "sweep.metric", "sweep.goal", "sweep.swept"
"""Tags of a run: what its sweep searches for, in which direction, and by which parameters."""
DESCRIPTION = "mlflow.note.content"
"""The tag of a run that MLflow shows as its description."""
_FILE = "mlflow.json"
_HERE = "http://127.0.0.1:5000"  # where `mlflow ui` listens
LONGEST_TAG = 5000
"""Characters of a tag, in the oldest of the stores."""
_ID = 8  # characters of a sweep's id that tell it from others of its name


@dataclass(frozen=True, kw_only=True)
class Pages:
    """The pages on one sweep."""

    to: str
    """The store, without secrets."""
    experiment: str
    """The id of the experiment."""
    sweep_id: str

    @property
    def view(self) -> str:
        """The key of the sweep's view."""
        return self.sweep_id[:_ID]

    @property
    def table(self) -> str:
        """The address of the table of the sweep's runs, short enough for a terminal."""
        return self._runs(viewStateShareKey=self.view)

    def trial(self, number: int) -> str:
        """The address of one trial's run; in an order by a metric it does not hide below its parent."""
        ours = f"tags.{run_tags.SWEEP} = '{self.sweep_id}' AND tags.{run_tags.TRIAL} = '{number}'"
        return self._runs(
            workflowType="machine_learning", searchFilter=ours, orderByKey=f"metrics.`{run_tags.REPORTS}`"
        )

    def open(self, client: Any, tags: Mapping[str, str], folder: Path) -> None:
        """Let the table show what the sweep is about, and keep the pages in the sweep's folder, for its driver.

        Args:
            client: of MLflow.
            tags: of the sweep's runs.
            folder: the sweep's.
        """
        shown = view(self.sweep_id, tags)
        if len(shown) <= LONGEST_TAG:
            client.set_experiment_tag(self.experiment, f"{SHARED_VIEW}{self.view}", shown)
        self.write(folder)

    def write(self, folder: Path) -> None:
        """Keep the pages in the sweep's folder."""
        draft = folder / f".{_FILE}.draft"
        draft.write_text(json.dumps(asdict(self)))
        draft.rename(folder / _FILE)

    def _runs(self, **query: str) -> str:
        server = self.to.rstrip("/") if self.to.startswith("http") else _HERE
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        return f"{server}/#/experiments/{self.experiment}/runs?{asked}"


def read(folder: Path, destination: Destination, sweep_id: str | None = None) -> Pages | None:
    """The pages on the sweep in `folder`; None while the store has not answered yet.

    Args:
        folder: the sweep's.
        destination: the store to which the sweep goes now.
        sweep_id: None takes the pages of whatever sweep was here last.
    """
    found = read_json(folder / _FILE)
    pages = Pages(**found) if isinstance(found, dict) and found.keys() == Pages.__annotations__.keys() else None
    fits = pages and pages.to == str(destination) and sweep_id in (None, pages.sweep_id)
    return pages if fits else None


def view(sweep_id: str, tags: Mapping[str, str]) -> str:
    """The view of a sweep's runs: objective, test values and swept parameters as columns, the best run first.

    Args:
        sweep_id: the sweep's.
        tags: of its runs.
    """
    metrics, swept = _names(tags.get(METRIC, "")), _names(tags.get(SWEPT, ""))
    tested = [f"test/{name.partition('/')[2]}" for name in metrics]
    columns = [f"metrics.`{name}`" for name in (*metrics, *tested)] + [f"params.`{name}`" for name in swept]
    shown: dict[str, object] = {"searchFilter": f"tags.{run_tags.SWEEP} = '{sweep_id}'"}
    if metrics:
        shown |= {"orderByKey": f"metrics.`{metrics[0]}`", "orderByAsc": tags.get(GOAL, "").startswith("min")}
    return json.dumps({**shown, "selectedColumns": [*columns, "tags.`trial.state`"]})


def description(trial: str, metrics: Mapping[str, float], swept: Mapping[str, Any], pages: Pages | None) -> str:
    """The description of a sweep's parent run, in Markdown: its best trial, and where the rest is.

    Args:
        trial: the label of the best trial.
        metrics: that trial's.
        swept: its setting.
        pages: where the sweep's runs are; None leaves the link out.
    """
    values = "\n".join(f"- `{name}`: {value:.4f}" for name, value in metrics.items())
    setting = "\n".join(f"- `{name}`: `{value}`" for name, value in swept.items())
    table = f"[All trials as a table]({pages.table[pages.table.index('#') :]}). " if pages else ""
    rest = f"{table}The artifact `report.html` has every picture and test."
    return redact(f"Best: trial {trial}\n\n{values}\n\nSetting:\n\n{setting}\n\n{rest}")[:LONGEST_TAG]


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name for name in listed.split(", ") if name)
