"""Storage of a study: a journal file in the sweep's folder, or a database that its URL names."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from platform.errors import InvalidSweep, SweepError, short
from platform.storage.disk_space import retry_while_full
from platform.study.ownership import ADOPT
from trainables.disk import PRIVATE, write_all
from trainables.exceptions import first_line

JOURNAL = "study.journal"

PATIENCE_S = 45.0
"""Seconds for which a database may not answer while a sweep runs; the lease is lost only later."""

_LOCK_GRACE_S = 3
"""Seconds after which a lock that nobody touches has no owner any more; a write takes milliseconds."""

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
    path = folder / JOURNAL
    mend_journal(path)
    if private:
        path.touch(PRIVATE)
        path.chmod(PRIVATE)
    try:
        return JournalStorage(_Patient(path, notify))
    except (
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # no record that fits those before it
        raise damaged(path, error) from error


def unopened(error: Exception) -> SweepError:
    """The error of a study whose storage does not open."""
    return SweepError(
        f"study: must be a storage that opens, but got {error.__cause__ or error!r}; see `study:` and `storage:`"
    )


class _Patient(JournalFileBackend):
    """A journal file that waits for free disk space; each write is stored as a whole or not at all."""

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        super().__init__(str(path), lock_obj=JournalFileOpenLock(str(path)))
        self._path = path
        self._notify = notify

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read the records from one on; a line that is none is told as such."""
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise damaged(self._path, error) from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write ``logs``, once the disk has space for them."""
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        retry_while_full(lambda: self._append(lines), self._path.parent, self._notify)

    def _append(self, lines: bytes) -> None:
        with _locked(JournalFileOpenLock(str(self._path))), self._path.open("ab+", buffering=0) as stream:
            before = stream.seek(0, os.SEEK_END)
            try:
                write_all(stream, lines)
                os.fsync(stream.fileno())
            except OSError:
                stream.seek(before)
                if lines.startswith(stream.read()):  # else a program without the lock wrote behind it
                    stream.truncate(before)
                raise


@contextlib.contextmanager
def _locked(lock: JournalFileOpenLock) -> Iterator[None]:
    """Hold Optuna's own lock of a journal, which keeps a dashboard or a script from writing meanwhile."""
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


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
    """Cut a last line that a crash tore, under Optuna's own lock; a lock that its dead owner left is broken first.

    Call it only while holding the sweep's own lease: no other driver writes then.

    Raises:
        InvalidSweep: the last line is whole and no record, which Optuna would pass over until the next one is written.
    """
    for left in path.parent.glob(f"{path.name}.lock*.rename"):  # its owner died over the release
        left.unlink(missing_ok=True)
    if not path.exists():
        return
    with _locked(JournalFileOpenLock(str(path), _LOCK_GRACE_S)), path.open("r+b") as stream:
        content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            logger.warning("%s ended in a torn line of %d bytes; it was cut", path, len(content) - len(whole))
            stream.truncate(len(whole))
    if whole and not _is_record(whole[:-1].rpartition(b"\n")[2]):
        raise damaged(path)


def damaged(path: Path, error: Exception | None = None) -> InvalidSweep:
    """The refusal of a journal with its first line that is no record; `error` is Optuna's, where each line is one."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not _is_record(line):
            where, what = f"{path}:{number}", f"a line is {short(line.decode(errors='backslashreplace'))}"
            break
    else:
        where, what = str(path), f"one does not fit those before it ({error!r})"
    rule = f"{where}: must hold one record of the study per line, but {what}"
    return InvalidSweep([f"{rule}; restore it from a backup, or {ADOPT}"])


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and isinstance(record.get("op_code"), int)
