"""Segments of a trial's journal: one file in a folder, several objects in a bucket, as no object can be appended to.

journal.jsonl                 in a folder
journal/000000.jsonl, ...     in a bucket, where each line rewrites the newest object until it is full
"""

from pathlib import Path

from trainables.storage import mirror

JOURNAL = "journal.jsonl"
LINES = 100
"""Lines of a segment."""

_SEGMENTS = "journal"


def parts(folder: Path) -> list[Path]:
    """The files that hold the journal of the trial in ``folder``, in order."""
    if mirror.remote_of(folder):
        return sorted((folder / _SEGMENTS).glob("*.jsonl"))
    return [folder / JOURNAL] if (folder / JOURNAL).exists() else []


def part_of(folder: Path, line: int) -> Path:
    """The file that line number ``line`` (from 0) belongs to."""
    return folder / _SEGMENTS / f"{line // LINES:06d}.jsonl" if mirror.remote_of(folder) else folder / JOURNAL
