"""The sweep's folder in the storage: a folder that all see, or the copy of one in a bucket."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from platform.errors import InvalidSweep
from platform.sweepfile.spec import SweepSpec
from trainables.storage import mirror
from trainables.storage.objects import Bucket, StoreError, parse

_PATIENCE_S = 5.0  # of who is asked whether it is there at all
_OF_WORKERS = ("artifacts", "checkpoints", "ranks", "status")
_OF_TABLES = ("trial.json", "end.json", "tags.json", "ranks.npy", "provenance.json", "sweep.yaml")


def folder_of(spec: SweepSpec, role: str = mirror.READER) -> Path:
    """The absolute folder of the sweep on this machine, whether it is there or not.

    Args:
        spec: the sweep.
        role: whose copies, where the storage is a bucket.

    Raises:
        InvalidSweep: the storage is neither a folder nor in a bucket.
    """
    if not mirror.is_bucket(spec.storage) and "://" not in spec.storage:
        return Path(spec.storage).expanduser().resolve() / spec.name
    try:
        parse(spec.storage)
    except ValueError as error:
        raise InvalidSweep([spec.problem("storage", f"a storage that is no folder {error}; correct it")]) from error
    return mirror.local_path(spec.storage, role) / spec.name


def open_folder(spec: SweepSpec) -> Path:
    """The absolute folder of the sweep for its driver, made if missing and shown to be writable.

    Raises:
        InvalidSweep: it cannot be written to, or is no folder.
    """
    folder = folder_of(spec, mirror.DRIVER)
    try_bucket(spec)
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


def try_folder(spec: SweepSpec) -> Path:
    """The same without a trace: folders that were made for it are removed again."""
    folder = folder_of(spec, mirror.DRIVER)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    open_folder(spec)
    for each in missing:
        with contextlib.suppress(OSError):  # another process is using it
            each.rmdir()
    return folder


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Download the files of earlier drivers from a bucket, and in the end upload those of this driver.

    Call it only while holding the sweep's lease. Trials' files are in the bucket as soon as they are written. In the
    end, no copy stays on this machine.
    """
    mirror.pull(folder, lambda name: not set(name.split("/")) & {*_OF_WORKERS, "lease"})
    try:
        yield
    finally:
        mirror.push_changed(folder, lambda name: "/" not in name or name.startswith("pictures/"))
        if mirror.remote_of(folder):
            mirror.delete_local(folder)


def bring_tables(folder: Path) -> None:
    """Download the files that tables need: ends and reports of trials, ranks of their test rows."""
    mirror.pull(folder, lambda name: name.rpartition("/")[2] in _OF_TABLES or "/journal/" in name)


def try_bucket(spec: SweepSpec) -> None:
    """Write to the storage under a condition, where it is a bucket.

    Raises:
        InvalidSweep: that does not do.
    """
    if not mirror.is_bucket(spec.storage):
        return
    name, prefix = parse(spec.storage)
    bucket, key = Bucket(name, _PATIENCE_S), f"{prefix}/.probe-{uuid.uuid4().hex}".lstrip("/")
    try:
        bucket.create(key, b"first")
        held = bucket.create(key, b"second") is None
        bucket.delete(key)
    except ImportError as error:
        rule = f"must have boto3 where it is {spec.storage}, but got {error}; pip install boto3"
        raise InvalidSweep([spec.problem("storage", rule)]) from error
    except StoreError as error:
        raise InvalidSweep([spec.problem("storage", str(error))]) from error
    if not held:
        rule = f"must know conditional writes (If-None-Match), but the store of {spec.storage} does not; use another"
        raise InvalidSweep([spec.problem("storage", rule)])
