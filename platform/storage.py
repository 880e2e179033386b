"""The sweep's folder in the storage."""

from __future__ import annotations

import os
from pathlib import Path

from platform.errors import InvalidSweep
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
