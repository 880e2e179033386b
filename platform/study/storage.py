"""Storage of a study: a journal file in the sweep's folder, or a database that its URL names."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from platform.errors import SweepError
from platform.storage.disk_space import retry_while_full
from trainables.disk import PRIVATE
from trainables.exceptions import first_line

PATIENCE_S = 45.0
"""Seconds for which a database may not answer while a sweep runs; the lease is lost only later."""

logger = logging.getLogger(__name__)


def open_storage(
    study: str | None, folder: Path, notify: Callable[[str], None] = logger.warning, *, private: bool = False
) -> BaseStorage:
    """Open the storage of a study; the file is locked by creating a file, which works over NFS too.

    Args:
        study: of the sweep file: a database URL, or None for a journal in `folder`.
        folder: the sweep's.
        notify: called with a sentence for the user where a journal waits for free disk space.
        private: whether a journal may be read by its owner alone.
    """
    if study:
        return _patient(RDBStorage(study, engine_kwargs={"pool_pre_ping": True}))
    path = folder / "study.journal"
    mend_journal(path)
    if private:
        path.touch(PRIVATE)
        path.chmod(PRIVATE)
    return JournalStorage(_Patient(path, notify))


class _Patient(JournalFileBackend):
    """A journal file that waits for free disk space; each write is stored as a whole or not at all."""

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        super().__init__(str(path), lock_obj=JournalFileOpenLock(str(path)))
        self._path = path
        self._notify = notify

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write ``logs``, once the disk has space for them."""
        retry_while_full(lambda: self._append(logs), self._path.parent, self._notify)

    def _append(self, logs: list[dict[str, Any]]) -> None:
        before = self._path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            os.truncate(self._path, before)  # nobody else writes while this driver holds the sweep's lease
            raise


def _patient(storage: RDBStorage) -> RDBStorage:
    """Retry every operation, each a transaction, for a while where the database does not answer.

    One that then still fails raises SweepError.
    """
    names = {name for name in dir(RDBStorage) if name.split("_")[0] in ("create", "set", "get")} | {"_get_trials"}
    for name in names:
        operation = getattr(storage, name)
        if callable(operation):
            setattr(storage, name, functools.wraps(operation)(functools.partial(_repeated, operation)))
    return storage


def _repeated(operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    deadline, pause = time.monotonic() + PATIENCE_S, 0.5
    while True:
        try:
            return operation(*arguments, **named)
        except StorageInternalError as error:
            if time.monotonic() + pause > deadline:
                raise SweepError(
                    f"study: must answer while a sweep runs, but its database did not for {PATIENCE_S:.0f} seconds: "
                    f"{first_line(error.__cause__ or error)}; run the same command when it answers again"
                ) from error
            logger.warning("the study's database does not answer, tried again in %.1f s: %s", pause, error.__cause__)
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def mend_journal(path: Path) -> None:
    """Cut a last line that a crash tore, and drop the lock files that its writer left.

    Call it only while holding the sweep's own lease: nobody else writes then.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        logger.warning("%s ended in a torn line of %d bytes; it was cut", path, len(content) - len(whole))
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
