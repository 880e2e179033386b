"""The effort that each cell of a comparison took. A comparison at unequal effort says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from platform.storage.trial_end import State
from platform.sweepfile.published import as_text
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import all_trials

Key: TypeAlias = tuple[str, ...]
"""A cell: the values of `compare.by` as text."""

_SETTINGS, _EPOCHS = 1.1, 1.5
"""The most that the largest effort may be of the smallest before a note says so."""


@dataclass
class Effort:
    """Trials of one cell, whatever became of them, runs with further seeds included."""

    settings: int = 0
    """Settings that were begun with the search's own seed."""
    epochs: int = 0
    """Reports that hold the objective."""
    seconds: float = 0.0
    """From the first start of each ended trial to its end."""
    ends: Counter[State] = field(default_factory=Counter)
    """Ends of these settings; failed trials that are retried are left out."""


def efforts(spec: SweepSpec, folder: Path) -> dict[Key, Effort]:
    """The effort of each cell of which a trial was begun, in the order of the trials."""
    assert spec.compare is not None, "a sweep without compare has no cells"
    trials = [(files, record) for files in all_trials(folder) if (record := files.record())]
    retried = {record.retries for _, record in trials}
    found: dict[Key, Effort] = {}
    for files, record in trials:
        effort = found.setdefault(tuple(as_text(record.values.get(name)) for name in spec.compare.by), Effort())
        is_setting = record.of is None and files.number not in retried
        effort.settings += is_setting
        effort.epochs += sum(spec.metrics[0].name in line["metrics"] for line in files.lines())
        if end := files.read_end():
            effort.seconds += end.time - record.started
            effort.ends.update([end.state] if is_setting else ())
    return found


def notes(found: Mapping[Key, Effort]) -> list[str]:
    """Sentences on cells of unequal effort and on cells without a complete trial, each with its reason."""
    told: list[str] = []
    settings = ("settings begun", [each.settings for each in found.values()], _SETTINGS)
    for name, values, most in (settings, ("epochs", [each.epochs for each in found.values()], _EPOCHS)):
        if values and max(values) > most * min(values):
            told.append(f"cells differ in {name}: from {min(values)} to {max(values)}")
    for key, effort in found.items():
        if not effort.ends[State.COMPLETE]:
            ends = ", ".join(f"{count} {state.lower()}" for state, count in effort.ends.items()) or "none has ended"
            told.append(f"{' / '.join(filter(None, key))}: no trial is complete ({ends})")
    return told
