"""Finished trials as a paper's table: for each cell the best setting by validation, and its test values over seeds.

A cell holds the trials that share the values of `compare.by`. Its settings are all other parameters but `seed`. Where
`seeds` says nothing else, the settings with the most seeds compete by the mean of the objective over seeds. Test values
are the winner's alone. The seed that chose it among others makes it look better than it is, and is left out of means.

Only the trials' own files are read: no lock is taken, no study opened. A running sweep can therefore be read too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from platform.analysis import effort
from platform.analysis.comparison import Cell, Comparison, PrintedCell, Spread
from platform.space.check import due_of
from platform.space.space import Space
from platform.storage import earlier
from platform.storage.trial_end import State
from platform.study.ownership import study_of
from platform.study.seeds import competing, shown
from platform.sweepfile.parameters import Choice, Constant, occurrences
from platform.sweepfile.published import Published, as_text
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import TrialFiles, all_trials, last_values

SEED = "seed"


@dataclass(frozen=True)
class Finished:
    """A complete trial: its flat values, the objective at its best report, and its `test/` and `trial/` metrics."""

    files: TrialFiles
    values: Mapping[str, Any]
    objective: float
    metrics: Mapping[str, float]


def compare(sweeps: Iterable[tuple[SweepSpec, Path]]) -> Comparison:
    """The table of sweeps that have `compare`, each with its folder; a cell is named by its own sweep's `by`."""
    sweeps = list(sweeps)
    cells: list[Cell] = []
    notes: list[str] = []
    lonely: dict[frozenset[tuple[str, str]], PrintedCell] = {}
    metrics: dict[str, None] = {}
    for spec, folder in sweeps:
        printed = spec.published()
        metrics |= dict.fromkeys(printed.metrics if printed else ())
        lost: list[str] = []
        spent = effort.efforts(spec, folder)
        its_cells = _cells(spec, finished(spec, folder, lost), printed, spent)
        cells += its_cells
        for line in _printed(spec, its_cells, printed) if printed else ():
            lonely.setdefault(_named(line.by), line)  # sweeps of one table name the same file
        notes += [*_notes(spec, folder, its_cells, spent), *(f"{spec.name}: {text}, with its trial" for text in lost)]
        notes += [f"{spec.name}: {text}" for text in effort.notes(spent)]
        if spec.metrics[0] != sweeps[0][0].metrics[0]:
            notes.append(f"{spec.name}: settings were chosen by {spec.metrics[0].name} ({spec.metrics[0].goal})")
    notes += dict.fromkeys(fact for cell in cells if (fact := cell.trials[0].read("tags.json").get("data.facts")))
    ours = {_named(cell.by) for cell in cells}
    metrics |= dict.fromkeys(sorted(name for cell in cells for name in cell.metrics if name.startswith("test/")))
    return Comparison(
        objective=sweeps[0][0].metrics[0].name,
        by=tuple(dict.fromkeys(name for spec, _ in sweeps for name in _by(spec))),
        metrics=tuple(name for name in metrics if any(name in cell.metrics for cell in cells)),
        cells=tuple(cells),
        notes=tuple(notes),
        printed=tuple(line for named, line in lonely.items() if named not in ours),
    )


def winner(spec: SweepSpec, folder: Path) -> Cell | None:
    """The best setting of the whole sweep over its seeds; None where no trial is complete."""
    return _cell(spec, (), (), trials, None) if (trials := finished(spec, folder, [])) else None


def finished(spec: SweepSpec, folder: Path, lost: list[str]) -> list[Finished]:
    """The complete trials of the sweep in `folder`, by number, then those that it knows of earlier sweeps.

    Those that lost a report are left out, told in `lost`.

    Raises:
        InvalidSweep: the trials are of several studies.
    """
    found = _finished(spec, folder, lost)
    return found + [trial for path in earlier.folders(folder) for trial in _finished(spec, path, lost, path.name)]


def _finished(spec: SweepSpec, folder: Path, lost: list[str], name: str = "") -> list[Finished]:
    """The complete trials in one folder, which is of the earlier sweep `name`."""
    objective, sign = spec.metrics[0].name, spec.metrics[0].sign
    trials: list[Finished] = []
    records = {files.number: record for files in all_trials(folder) if (record := files.record())}
    study_of(folder, records)
    for files in all_trials(folder):
        end = files.read_end()
        if end is None or end.state is not State.COMPLETE or files.number not in records:
            continue
        before = len(lost)
        files = TrialFiles(folder, files.number, lost.append, earlier=name)
        lines = files.lines()
        values = [value for line in lines if (value := line["metrics"].get(objective)) is not None]
        if values and len(lost) == before:
            best = sign * max(sign * value for value in values)
            metrics = last_values(lines, "test/", "trial/")
            trials.append(Finished(files, records[files.number].values, best, metrics))
    return trials


def _named(by: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset((name, as_text(value)) for name, value in by.items())


def _cells(
    spec: SweepSpec, trials: Sequence[Finished], printed: Published | None, spent: Mapping[effort.Key, effort.Effort]
) -> list[Cell]:
    by = _by(spec)
    groups: dict[tuple[str, ...], list[Finished]] = {}
    for trial in trials:
        groups.setdefault(tuple(as_text(trial.values.get(name)) for name in by), []).append(trial)
    order = _order(spec)
    keys = sorted(groups, key=lambda key: [_place(order[name], text) for name, text in zip(by, key, strict=True)])
    found = [_cell(spec, by, key, groups[key], printed) for key in keys]
    return [replace(cell, effort=spent.get(key, cell.effort)) for cell, key in zip(found, keys, strict=True)]


def _cell(
    spec: SweepSpec, by: tuple[str, ...], key: tuple[str, ...], trials: Sequence[Finished], printed: Published | None
) -> Cell:
    sign = spec.metrics[0].sign
    settings: dict[str, dict[int, Finished]] = {}
    for trial in trials:
        others = {name: value for name, value in trial.values.items() if name not in by and name != SEED}
        seeds = settings.setdefault(json.dumps(others, sort_keys=True), {})
        seeds.setdefault(trial.values.get(SEED, 0), trial)  # the same point again would count twice
    groups = {key: {seed: trial.objective for seed, trial in runs.items()} for key, runs in settings.items()}
    compete = competing(spec.seeds, groups, sign)
    best = settings[compete[0]]
    means = shown(spec.seeds, groups[compete[0]])
    winner = [best[seed] for seed in means]
    fewer = 0 if spec.seeds and spec.seeds.best else len(settings) - len(compete)
    swept = Space.of(spec).swept
    shared = winner[0].values
    names = set.intersection(*(set(trial.metrics) for trial in winner))
    return Cell(
        sweep=spec.name,
        by={name: shared.get(name) for name in by},
        setting={n: shared[n] for n in swept if n in shared and n not in by and n != SEED},
        settings=len(settings) - fewer,
        fewer_seeds=fewer,
        objective=Spread.of([trial.objective for trial in winner]),
        metrics={name: Spread.of([trial.metrics[name] for trial in winner]) for name in sorted(names)},
        published=printed.values.get(key, {}) if printed else {},
        note=printed.notes.get(key, "") if printed else "",
        trials=tuple(trial.files for trial in winner),
        choosing=next((trial.objective for seed, trial in best.items() if seed not in means), None),
    )


def _printed(spec: SweepSpec, cells: Sequence[Cell], printed: Published) -> list[PrintedCell]:
    """The published lines beside cells of the same first parameter, in the file's order."""
    by = _by(spec)
    beside = {as_text(cell.by.get(by[0])) for cell in cells}
    return [
        PrintedCell(spec.name, dict(zip(by, key, strict=True)), values)
        for key, values in printed.values.items()
        if values and key[0] in beside
    ]


def _notes(
    spec: SweepSpec, folder: Path, cells: Sequence[Cell], spent: Mapping[effort.Key, effort.Effort]
) -> list[str]:
    ends = sum((each.ends for each in spent.values()), Counter[State]())
    ended = sum(count for state, count in ends.items() if state.is_final)
    notes: list[str] = []
    due = due_of(spec, earlier.count(folder))
    if ended < due or ends[State.FAIL]:
        failed = f", {ends[State.FAIL]} of them failed" if ends[State.FAIL] else ""
        notes.append(f"{ended} of {due} trials have ended{failed}")
    if not cells:
        notes.append("no trial is complete")
    if known := [path.name for path in earlier.folders(folder)]:
        chosen = [files.label for cell in cells for files in cell.trials if "/" in files.label]
        stand = f", of which {', '.join(chosen)} stand for a cell" if chosen else ""
        notes.append(f"trials of {', '.join(known)} compete{stand}")
    if fewer := sum(cell.fewer_seeds for cell in cells):
        notes.append(f"{fewer} settings with fewer seeds than others of their cell did not compete")
    if spec.seeds and spec.seeds.best and (alone := sum(cell.choosing is None for cell in cells)):
        notes.append(
            f"{alone} cells show the seed that chose their setting, as no other is complete: they look too good"
        )
    if len(seeds := sorted({len(cell.trials) for cell in cells})) > 1:
        notes.append(f"cells have between {seeds[0]} and {seeds[-1]} seeds")
    return [f"{spec.name}: {text}" for text in notes]


def _by(spec: SweepSpec) -> tuple[str, ...]:
    assert spec.compare is not None, "a sweep without compare has no cells"
    return spec.compare.by


def _order(spec: SweepSpec) -> dict[str, list[str]]:
    """Parameter of a cell -> its values in the order of the file."""
    order: dict[str, list[str]] = {name: [] for name in _by(spec)}
    for here in occurrences(spec.parameters):
        if here.name in order and isinstance(here.parameter, Choice | Constant):
            values = here.parameter.values if isinstance(here.parameter, Choice) else (here.parameter.value,)
            order[here.name] += [as_text(value) for value in values]
    return order


def _place(known: Sequence[str], text: str) -> tuple[int, float, str]:
    """Sort key of a value: absent ones first, then those of the file, then numbers by size, then the rest."""
    if not text or text in known:
        return (known.index(text) if text else -1), 0.0, text
    try:
        return len(known), float(text), text
    except ValueError:
        return len(known) + 1, 0.0, text
