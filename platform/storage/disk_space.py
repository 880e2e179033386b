"""Waits for free disk space, and for a file system that answers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from trainables.disk import is_full
from trainables.storage import mirror

_PAUSE_S = 1.0
_LEAST = 2**20

logger = logging.getLogger(__name__)


class DiskSpace:
    """Free space for trials on the disk of their sweep.

    Args:
        folder: of the sweep.
        notify: called with a sentence for the user.
    """

    def __init__(self, folder: Path, notify: Callable[[str], None]) -> None:
        self._folder = folder
        self._notify = notify
        self._lacking = 0
        self._asked = 0.0

    def note_full(self) -> None:
        """Note a trial that found the disk full: wait until twice the largest checkpoint fits, at least a mebibyte."""
        sizes = mirror.sizes(self._folder / "trials")
        largest = max((size for path, size in sizes.items() if path.suffix == ".pt"), default=0)
        self._lacking = max(2 * largest, _LEAST)
        self._notify(f"{self._folder} has no room for {self._lacking / 2**20:.1f} MiB; free some, the sweep waits")

    @property
    def is_full(self) -> bool:
        """True while there is no room; it looks once a second."""
        if self._lacking and time.monotonic() > self._asked + _PAUSE_S:
            self._asked = time.monotonic()
            if _has_room(self._folder, self._lacking):
                self._lacking = 0
                self._notify(f"{self._folder} has room again; the sweep goes on")
        return bool(self._lacking)


def retry_while_full(write: Callable[[], None], folder: Path, notify: Callable[[str], None] = logger.warning) -> None:
    """Retry `write` while the disk of `folder` is full, for files that must be written before anything else.

    Args:
        write: writes, or raises OSError.
        folder: of the file to write.
        notify: called with a sentence for the user.

    Raises:
        OSError: another error than a full disk.
    """
    told = False
    while True:
        try:
            write()
            break
        except OSError as error:
            if not is_full(error):
                raise
            if not told:
                notify(f"{folder} has no room: {error.strerror}; free some, the sweep waits")
            told = True
            time.sleep(_PAUSE_S)
    if told:
        notify(f"{folder} has room again; the sweep goes on")


def _has_room(folder: Path, size: int) -> bool:
    """True if `size` bytes may be written to `folder` now; they are set aside for a moment to find out."""
    probe = folder / f".room-{os.getpid()}"
    try:
        with probe.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        if not is_full(error):
            raise
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True
