"""The table of a comparison as a value, and as a CSV file with every number in full."""

from __future__ import annotations

import csv
import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platform.analysis.effort import Effort
from platform.sweepfile.published import as_text
from platform.tracking.journal import TrialFiles

NAME = "comparison.csv"


@dataclass(frozen=True)
class Spread:
    """A value over seeds."""

    mean: float
    deviation: float | None
    """Standard deviation of the sample, in the value's unit; None for one seed."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Mean and standard deviation of at least one value."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    sweep: str
    by: Mapping[str, Any]
    """Parameter -> value; None where the cell's trials have no such parameter."""
    setting: Mapping[str, Any]
    """The other swept parameters, as far as the winner's trials share their values."""
    settings: int
    """Settings that competed."""
    fewer_seeds: int
    """Settings that did not compete, as they have fewer seeds."""
    objective: Spread
    metrics: Mapping[str, Spread]
    """`test/` and `trial/` metric -> value of the winner over its seeds."""
    published: Mapping[str, float]
    note: str
    """The column `note` of the published line."""
    trials: tuple[TrialFiles, ...]
    """The winner's trials, one per seed of the means."""
    choosing: float | None = None
    """The objective with the seed that chose the setting; None where it is in the mean."""
    effort: Effort = field(default_factory=Effort)
    """The effort of the whole cell."""


@dataclass(frozen=True)
class PrintedCell:
    """A line that a paper printed and for which the sweep has no trial."""

    sweep: str
    by: Mapping[str, Any]
    published: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """The table of one or more sweeps."""

    objective: str
    by: tuple[str, ...]
    metrics: tuple[str, ...]
    """Metrics shown of each cell: the published ones in their file's order, then the other `test/` metrics."""
    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    """Sentences that a reader of the table needs."""
    printed: tuple[PrintedCell, ...] = ()
    """Published lines without a trial, whose first parameter is as a cell's: those of its data set."""

    def label(self, cell: Cell) -> str:
        """A cell in a few words: the values in which the cells differ, as many as tell them all apart."""
        differ = [n for n in self.by if len({text for other in self.cells if (text := as_text(other.by.get(n)))}) > 1]
        for names in (differ, list(self.by)):
            labels = [_label(other, names) for other in self.cells]
            if len(set(labels)) == len(labels) and all(labels):
                return _label(cell, names)
        return f"{cell.sweep}: {_label(cell, self.by)}"


def write(comparison: Comparison, folder: Path) -> Path:
    """Write the table as `comparison.csv`."""
    return write_lines(lines(comparison), folder / NAME)


def lines(comparison: Comparison) -> list[list[Any]]:
    """The table with every number in full, and differences in percent of the published values; its head first."""
    published = bool(comparison.printed) or any(cell.published for cell in comparison.cells)
    parts = ["mean", "sd", *(["published", "difference_percent"] if published else [])]
    objective = (f"{comparison.objective} mean", f"{comparison.objective} sd")
    head = ["sweep", *comparison.by, "setting", "settings", "begun", "epochs", "seconds", "seeds", "trials", *objective]
    choosing = any(cell.choosing is not None for cell in comparison.cells)
    head += [f"{comparison.objective} with the choosing seed"] if choosing else []
    table: list[list[Any]] = [[*head, *(f"{name} {part}" for name in comparison.metrics for part in parts), "note"]]
    for cell in comparison.cells:
        line: list[Any] = [cell.sweep, *(as_text(cell.by.get(name)) for name in comparison.by)]
        spent = cell.effort
        line += [json.dumps(dict(cell.setting)), cell.settings, spent.settings, spent.epochs, round(spent.seconds, 1)]
        line += [len(cell.trials)]
        line += [" ".join(files.label for files in cell.trials), cell.objective.mean, cell.objective.deviation]
        line += [cell.choosing] if choosing else []
        for name in comparison.metrics:
            spread, printed = cell.metrics.get(name), cell.published.get(name)
            line += [spread.mean, spread.deviation] if spread else [None, None]
            line += [printed, difference(spread, printed)] if published else []
        table.append([*line, cell.note])
    for printed_cell in comparison.printed:
        named = [as_text(printed_cell.by.get(name)) for name in comparison.by]
        values = [value for n in comparison.metrics for value in (None, None, printed_cell.published.get(n), None)]
        none = [None] * (3 if choosing else 2)
        table.append([printed_cell.sweep, *named, "", *[0] * 5, "", *none, *values, "published only"])
    return table


def write_lines(lines: Iterable[Sequence[Any]], path: Path) -> Path:
    """Write a CSV file whole or not at all, in which no text is a formula to a spreadsheet."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    with draft.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([_no_formula(cell) for cell in line] for line in lines)
    draft.rename(path)
    return path


def difference(spread: Spread | None, published: float | None) -> float | None:
    """Difference of a mean to the published value, in percent of it."""
    return 100 * (spread.mean / published - 1) if spread and published else None


def _no_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _label(cell: Cell, names: Iterable[str]) -> str:
    return " / ".join(text for name in names if (text := as_text(cell.by.get(name))))
