"""Where a study lies: a journal file in the sweep's folder, or a database that its URL names."""

from __future__ import annotations

import logging
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

logger = logging.getLogger(__name__)


def is_database(study: str | None) -> bool:
    """Whether `study` of a sweep file is the URL of a database."""
    return "://" in (study or "")


def open_storage(study: str | None, folder: Path) -> BaseStorage:
    """Open the storage of a study; the file is locked by creating a file, which works over NFS too.

    Args:
        study: of the sweep file: a database URL, a path, or None for a journal in `folder`.
        folder: the sweep's.
    """
    if study and is_database(study):
        return RDBStorage(study, engine_kwargs={"pool_pre_ping": True})  # a server may have been restarted meanwhile
    path = Path(study or folder / "study.journal")
    path.parent.mkdir(parents=True, exist_ok=True)
    mend_journal(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


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
