"""The sweep's folder in the storage, and the lock that one driver at a time holds on it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from platform.errors import Busy, InvalidSweep
from platform.spec import SweepSpec


def folder_of(spec: SweepSpec) -> Path:
    """The absolute folder of the sweep, whether it is there or not.

    Raises:
        InvalidSweep: the storage is no folder.
    """
    if "://" in spec.storage:
        raise InvalidSweep(
            [
                f"{spec.at('storage')}: storage: must be a folder that driver and workers see, but got "
                f"{spec.storage!r}; name a folder"
            ]
        )
    return Path(spec.storage).expanduser().resolve() / spec.name


def open_folder(spec: SweepSpec) -> Path:
    """The absolute folder of the sweep, made if missing and shown to be writable.

    Raises:
        InvalidSweep: it cannot be written to, or is no folder.
    """
    folder = folder_of(spec)
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise InvalidSweep(
            [
                f"{spec.at('storage')}: storage: must be a folder that can be written, but {folder} gave "
                f"{error.strerror!r}; set `storage` or $SWEEP_STORAGE to one that can"
            ]
        ) from error
    return folder


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the sweep in `folder` for this process.

    Raises:
        Busy: another driver holds it.
    """
    owner = folder / "driver.json"
    lock = FileLock(folder / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Busy(
            f"a sweep must have one driver, but {folder.name!r} is held by {_describe(owner)}; wait for it, or end it"
        ) from error
    try:
        owner.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _describe(owner: Path) -> str:
    try:
        held = json.loads(owner.read_text())
    except (OSError, json.JSONDecodeError):
        return "another driver"
    minutes = (time.time() - held["since"]) / 60
    return f"process {held['pid']} on {held['host']} since {minutes:.0f} minutes"
