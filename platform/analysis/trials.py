"""A sweep's trials as one table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from platform.analysis.comparison import write_lines
from platform.storage import earlier
from platform.storage.trial_end import State, TrialEnd
from platform.study.ends import end_of
from platform.study.settings import FROM
from platform.study.study import Study
from platform.tracking.journal import TrialFiles, last_values
from trainables.redaction import redact_values

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One trial: its swept values, how it ended, its objective values and its test metrics (complete trials only)."""

    number: int
    state: State
    reason: str
    objective: tuple[float, ...] | None
    swept: dict[str, Any]
    test: dict[str, float]
    seconds: float | None
    best: bool = False
    """True if no other trial beats it: the best one, or on the Pareto front of several metrics."""
    earlier: str = ""
    """The name of the earlier sweep that ran it, where `number` is its number; "" for a trial of this sweep."""

    @property
    def label(self) -> str:
        """The trial as people name it."""
        return f"{self.earlier}/{self.number}" if self.earlier else str(self.number)


def rows(study: Study, folder: Path, notify: Callable[[str], None] = logger.warning) -> list[Row]:
    """Every trial of the sweep in `folder` and those that it knows of earlier sweeps, the best first.

    Complete ones come by objective, then the others by number.

    Args:
        study: of the sweep.
        folder: the sweep's.
        notify: called with a sentence for each report that a complete trial lost.
    """
    sign = study.spec.metrics[0].sign
    best = {trial.number for trial in study.best()}
    ends = {trial.number: trial.end for trial in study.ended()}
    table = [
        replace(
            _row(study, TrialFiles(folder, trial.number, notify), trial, ends.get(trial.number)),
            best=trial.number in best,
        )
        for trial in study.trials(retried=True)
    ]
    table += [
        replace(_earlier_row(study, folder, trial, notify), best=trial.number in best) for trial in study.earlier()
    ]
    return sorted(
        table,
        key=lambda row: (
            row.state is not State.COMPLETE,
            bool(study.spec.seeds) and not row.best,
            -sign * row.objective[0] if row.state is State.COMPLETE and row.objective else 0.0,
            row.earlier,
            row.number,
        ),
    )


def write_csv(table: Sequence[Row], objective: Sequence[str], path: Path) -> Path:
    """Write the table with one column per swept parameter, objective and test metric."""
    swept = sorted({name for row in table for name in row.swept})
    test = sorted({name for row in table for name in row.test})
    lines: list[list[Any]] = [["trial", "state", "reason", *objective, *swept, *test, "seconds"]]
    for row in table:
        values = row.objective or (None,) * len(objective)
        cells = [*(row.swept.get(name) for name in swept), *(row.test.get(name) for name in test)]
        lines.append([row.label if row.earlier else row.number, row.state, row.reason, *values, *cells, row.seconds])
    return write_lines(lines, path)


def _earlier_row(study: Study, folder: Path, trial: Any, notify: Callable[[str], None]) -> Row:
    name, _, number = trial.user_attrs[FROM].rpartition("/")
    files = TrialFiles(earlier.folder_of(folder, name), int(number), notify, earlier=name)
    return replace(_row(study, files, trial, end_of(trial)), number=int(number), earlier=name)


def _row(study: Study, files: TrialFiles, trial: Any, end: TrialEnd | None) -> Row:
    values = study.values(trial)
    state = end.state if end else State.RUNNING
    complete = state is State.COMPLETE
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else None
    objective = tuple(trial.values) if complete else (last,) if last is not None else None
    record = files.record()
    names = [*study.space.swept, *(["seed"] if study.spec.seeds else [])]
    return Row(
        number=trial.number,
        state=state,
        reason=end.reason if end else "",
        objective=objective,
        swept=redact_values({name: values[name] for name in names if name in values}),
        test=last_values(files.lines(), "test/") if complete else {},
        seconds=end.time - record.started if end and record else None,
    )
