"""Trials of earlier sweeps that a sweep knows, kept below its own folder: ``<sweep>/earlier/<name>/trials/<number>/``.

A copy has what tables need: the values in the terms of the sweep that keeps it, reports, end, tags and ranks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from platform.storage import trial_record
from platform.storage.trial_record import TrialRecord
from trainables.storage import mirror, segments

FOLDER = "earlier"
_FILES = (trial_record.END, "tags.json", "artifacts/ranks.npy")


def folder_of(sweep_folder: Path, name: str) -> Path:
    """The folder with the copies of trials of the sweep `name`."""
    return sweep_folder / FOLDER / name


def folders(sweep_folder: Path) -> list[Path]:
    """The folders of all earlier sweeps that a sweep keeps trials of, by name."""
    return sorted(path for path in (sweep_folder / FOLDER).glob("*") if path.is_dir())


def count(sweep_folder: Path) -> int:
    """The number of trials of earlier sweeps that a sweep knows."""
    return sum(len(trial_record.numbers(path)) for path in folders(sweep_folder))


def keep(source: Path, target: Path, record: TrialRecord) -> None:
    """Copy what tables need of the trial in folder `source`; its record comes last and says that the copy is whole.

    Args:
        source: folder of the trial, whose files are here.
        target: folder of the copy.
        record: of the trial, in the terms of the sweep that keeps it.
    """
    for name, path in _files(source, target):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / name)
        mirror.push(target / name)
    draft = target / f".{trial_record.NAME}.draft"
    shutil.copy(source / trial_record.NAME, draft)  # with its mode, as values may be private
    draft.write_text(json.dumps(record.to_json()))
    draft.rename(target / trial_record.NAME)
    mirror.push(target / trial_record.NAME)


def _files(source: Path, target: Path) -> Iterator[tuple[str, Path]]:
    """The files to copy, each with its name in the copy."""
    target.mkdir(parents=True, exist_ok=True)
    for part in segments.parts(source):
        yield str(part.relative_to(source)), part
    for name in _FILES:
        if (source / name).exists():
            yield name, source / name
