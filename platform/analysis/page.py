"""One page on one or more sweeps: the question, the answer, pictures, failures, and the commands that go on."""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from platform.analysis import charts, compare
from platform.analysis.comparison import Comparison
from platform.analysis.pairs import PairedTests
from platform.analysis.tables import paper_table, spread_text
from platform.pictures import interactive, printed
from platform.pictures import trial as trial_pictures
from platform.pictures.chart import Chart
from platform.pictures.search import charts as search_charts
from platform.pictures.trials import STATES, Search
from platform.space.space import Space
from platform.sweepfile.parameters import Constant
from platform.sweepfile.published import as_text
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import TrialFiles
from trainables.redaction import redact, redact_values

NAME = "report.html"
PICTURES = "pictures"
"""Folder of a sweep's pictures, below its own."""
PROVENANCE = "provenance.json"
"""File in which a driver leaves the commit and the versions of its packages."""

_MOST_PAIRS = 60
_MOST_FAILURES = 50
_FLOORS = "floors"
_PAUSE_S = 60.0
_STATES = ("complete", "pruned", "failed", "cancelled", "unfinished")
_EFFORT = ("trial/parameters", "trial/seconds", "trial/inference_seconds")

logger = logging.getLogger(__name__)


def write(
    sweeps: Sequence[tuple[SweepSpec, Path]],
    path: Path | None,
    pictures: Path,
    compared: Comparison | None = None,
    tests: PairedTests | None = None,
    *,
    prints: bool = False,
) -> list[Path]:
    """Write the page and pictures; returns the files, the page first.

    Args:
        sweeps: each with its folder.
        path: of the page; None writes none.
        pictures: folder of the pictures: those of the table and, of one sweep alone, those of its search.
        compared: the sweeps' table, where they have one.
        tests: its paired tests.
        prints: also write the pictures as SVG and PDF, which takes a second or two.
    """
    compared, tests = _redacted(compared, tests)
    table = charts.comparison(compared, tests) if compared and tests else []
    needed = sweeps if path or len(sweeps) == 1 else []
    found = [(spec, folder, charts.search(spec, folder)) for spec, folder in needed]
    drawn = [search_charts(search) for _, _, search in found]
    files = []
    if path:
        sections = [
            _section(*sweep, _figures(made, str(index)))
            for index, (sweep, made) in enumerate(zip(found, drawn, strict=True))
        ]
        context = _context(sweeps, compared, tests, _figures(table, "table"))
        files.append(interactive.report(path, {**context, "sweeps": sections}))
    own = drawn[0] if len(sweeps) == 1 else []
    files += interactive.write_pages([*own, *table], pictures)
    if prints:
        of_best = _of_best(found[0][1], found[0][2]) if len(sweeps) == 1 else []
        files += printed.print_charts([*own, *table, *of_best], pictures)
    return files


def _redacted(compared: Comparison | None, tests: PairedTests | None) -> tuple[Comparison | None, PairedTests | None]:
    """Both without secrets in the names of their cells."""
    if compared:
        compared = replace(compared, cells=tuple(replace(cell, by=redact_values(cell.by)) for cell in compared.cells))
    if tests:
        pairs = (replace(pair, first=redact(pair.first), second=redact(pair.second)) for pair in tests.pairs)
        tests = replace(tests, pairs=tuple(pairs), left_out=tuple(map(redact, tests.left_out)))
    return compared, tests


def _context(
    sweeps: Sequence[tuple[SweepSpec, Path]],
    compared: Comparison | None,
    tests: PairedTests | None,
    figures: list[dict[str, Any]],
) -> dict[str, Any]:
    """The page's values but for those of each sweep."""
    context: dict[str, Any] = {
        "title": ", ".join(spec.name for spec, _ in sweeps),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "most_pairs": _MOST_PAIRS,
    }
    if compared and tests and compared.cells:
        context |= {"table": paper_table(compared, tests), "tests": tests, "figures": figures}
        context |= {"floors": _floors(sweeps), "effort": _effort(compared)}
    return context


def try_write(spec: SweepSpec, folder: Path, compared: Comparison | None, tests: PairedTests | None) -> list[Path]:
    """Write the page of a sweep; returns it, or nothing where that fails: a picture never costs a sweep its end."""
    try:
        return write([(spec, folder)], folder / NAME, folder / PICTURES, compared, tests)[:1]
    except Exception:
        logger.exception("%s is not written", folder / NAME)
        return []


class Refresh:
    """Writes the page of a sweep while it runs, at most one part in a hundred of the time."""

    def __init__(self, spec: SweepSpec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder
        self._due = time.monotonic() + _PAUSE_S

    def if_due(self) -> None:
        """Write the page if the last time is long enough ago."""
        started = time.monotonic()
        if started >= self._due:
            try_write(self._spec, self._folder, None, None)
            took = time.monotonic() - started
            self._due = time.monotonic() + max(_PAUSE_S, 99 * took)


def _figures(drawn: Sequence[Chart], prefix: str) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}-{chart.name}", **interactive.figure(chart)} for chart in drawn]


def _of_best(folder: Path, search: Search) -> list[Chart]:
    """Charts of the best trial itself: its learning curve, and its tables of numbers."""
    best = search.best()
    if best is None:
        return []
    files = TrialFiles(folder, best.number)
    tables = (trial_pictures.table(path) for path in sorted((files.folder / "artifacts").rglob("*.csv")))
    return [trial_pictures.learning_curve(files.lines()), *(chart for chart in tables if chart)]


def _section(spec: SweepSpec, folder: Path, search: Search, figures: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(trial.state for trial in search.trials)
    every = [*search.trials, *search.further]
    spent = timedelta(seconds=round(sum((t.ended or t.started) - t.started for t in every)))
    further = f", and {len(search.further)} runs with further seeds" if search.further else ""
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    counted = f"{len(search.trials)} of {spec.num_trials} trials: {states or 'none'}{further}"
    failed = [(t.number, t.reason.partition("\n")[0]) for t in every if t.state == "failed"]
    return {
        "name": spec.name,
        "summary": f"{counted}. They ran {spent} together.",
        "asked": [(name, redact(text)) for name, text in _asked(spec, folder, search) if text],
        "best": [(name, redact(text)) for name, text in _best(spec, folder)],
        "figures": figures,
        "failures": failed[:_MOST_FAILURES],
        "commands": [redact(line) for line in _commands(spec)],
    }


def _asked(spec: SweepSpec, folder: Path, search: Search) -> list[tuple[str, str]]:
    goals = ", ".join(f"{metric.name} ({metric.goal})" for metric in spec.metrics)
    constants = {name: as_text(value) for name, value in _constants(spec) if name.startswith("data.")}
    tags = TrialFiles(folder, search.trials[0].number).read("tags.json") if search.trials else {}
    data = {**constants, **{name: str(value) for name, value in tags.items() if name.startswith("data.")}}
    try:
        provenance = json.loads((folder / PROVENANCE).read_text())
    except (OSError, json.JSONDecodeError):
        provenance = {}
    commit = " ".join(str(provenance[n]) for n in ("mlflow.source.git.commit", "git.state") if n in provenance)
    versions = ", ".join(f"{n.removeprefix('version.')} {v}" for n, v in provenance.items() if n.startswith("version."))
    return [
        ("file", " ".join([str(spec.path), *(f"--set {override}" for override in spec.overrides)])),
        ("trainable", spec.trainable),
        ("objective", goals),
        ("search", f"{spec.method}, early stopping {spec.early_stopping.type}, seed {spec.seed}"),
        ("searched", ", ".join(search.swept)),
        ("data", ", ".join(f"{name} {value}" for name, value in data.items())),
        ("protocol", "Settings are chosen on validation. The test split is ranked once, over all items, by complete "
                     "trials at their best validation step."),
        ("commit", commit),
        ("versions", versions),
    ]  # fmt: skip


def _constants(spec: SweepSpec) -> list[tuple[str, Any]]:
    return [(here.name, here.parameter.value) for here in Space.of(spec).places if isinstance(here.parameter, Constant)]


def _best(spec: SweepSpec, folder: Path) -> list[tuple[str, str]]:
    cell = compare.winner(spec, folder)
    if cell is None or len(spec.metrics) > 1:
        return []
    numbers = ", ".join(files.label for files in cell.trials)
    seeds = "" if len(cell.trials) == 1 else f" (mean ± deviation over {len(cell.trials)} seeds)"
    lines = [(f"trial{'s' * (len(cell.trials) > 1)}", numbers + seeds)]
    lines += [(name, as_text(value)) for name, value in cell.setting.items()]
    lines.append((spec.metrics[0].name, spread_text(cell.objective)))
    shown = {name: spread for name, spread in cell.metrics.items() if name.startswith("test/") or name in _EFFORT}
    return lines + [(name, spread_text(spread)) for name, spread in shown.items()]


def _floors(sweeps: Sequence[tuple[SweepSpec, Path]]) -> str:
    if floors := [spec.name for spec, _ in sweeps if spec.trainable == _FLOORS]:
        return f"Training-free floors: {', '.join(floors)}."
    return "No training-free floor stands in this table. sweeps/floors.yaml, named beside the sweep, adds two."


def _effort(compared: Comparison) -> dict[str, Any]:
    names = [
        n
        for n in ("trial/parameters", "trial/seconds", "trial/inference_seconds")
        if any(n in c.metrics for c in compared.cells)
    ]
    lines = [
        [compared.label(cell), str(cell.settings), str(len(cell.trials)),
         *(spread_text(cell.metrics[name]) if name in cell.metrics else "" for name in names)]
        for cell in compared.cells
    ]  # fmt: skip
    return {"head": ["cell", "settings compared", "seeds", *names], "lines": lines}


def _commands(spec: SweepSpec) -> list[str]:
    overrides = [word for override in spec.overrides for word in ("--set", override)]
    run = shlex.join(["python", "-m", "platform.sweep", str(spec.path), *overrides])
    results = shlex.join(["python", "-m", "platform.results", str(spec.path), *overrides])
    return [
        f"{run}    # carry on where it stopped",
        f"{run} --set num_trials={2 * spec.num_trials}    # more trials",
        f"{results}    # this page, with pictures as SVG and PDF",
    ]
