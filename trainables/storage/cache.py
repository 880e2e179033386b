"""A node's cache of a bucket, bounded in size: results of stages, data sets, base weights, trials.

A kept folder has a *marker*, a file that is written last. Its time says when the folder was last asked for. A process
that uses a folder pins it by a shared lock on the marker, which ends with the process however it dies. Folders without
a lock are evicted, the longest unused first, until the rest fits ``SWEEP_CACHE_SIZE``. A pinned folder is never
evicted, so that a trial that needs more than the limit still runs.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from filelock import FileLock

from trainables.storage import mirror
from trainables.storage.mirror import WORKER
from trainables.storage.stage_copies import MANIFEST

SIZE = "SWEEP_CACHE_SIZE"
"""The environment variable that bounds this node's cache, such as 200GiB; by default 50 GiB."""

_FETCHED, _PINNED = ".brought.json", ".occupied"
_DEFAULT = 50 * 2**30
_UNITS = {"": 1, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_held: dict[Path, IO[bytes] | Path] = {}
"""Folders that this process pins until it ends: nobody says when a data set or a model is closed."""


def limit() -> int:
    """Bytes that the cache may hold.

    Raises:
        ValueError: the variable holds no size.
    """
    said = os.environ.get(SIZE, "")
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([MGT]iB|)", said)
    if said and not found:
        raise ValueError(f"{SIZE} must be a size such as 200GiB or 512MiB, but got {said!r}; correct it")
    return int(float(found[1]) * _UNITS[found[2]]) if found else _DEFAULT


def pin(marker: Path) -> IO[bytes] | Path | None:
    """Pin the folder of ``marker`` while what is returned lives; None where there is no such folder (any more).

    A folder that is no copy stays anyway.
    """
    if mirror.remote_of(marker) is None:
        return marker if marker.exists() else None
    with contextlib.suppress(FileNotFoundError):
        stream = marker.open("rb")
        fcntl.flock(stream, fcntl.LOCK_SH)
        if os.fstat(stream.fileno()).st_ino == marker.stat().st_ino:
            os.utime(marker)
            return stream
        stream.close()  # it went while the lock was waited for
    return None


def pin_writable(folder: Path) -> IO[bytes] | Path | None:
    """Have a folder that is written to be one that a node keeps, so that it goes in time where its process is killed.

    It stays while what is returned lives.
    """
    if mirror.remote_of(folder) is None:
        return folder
    (folder / _PINNED).touch()
    return pin(folder / _PINNED)


def evict() -> None:
    """Remove the longest unused folders that nobody holds until the rest fits."""
    left = sorted(_markers(), key=lambda marker: _time(marker))
    sizes = {marker: _size(marker.parent) for marker in left}
    total, most = sum(sizes.values()), limit()
    for marker in left:
        if total <= most:
            return
        if _remove(marker):
            total -= sizes[marker]


def fetch(place: str) -> Path:
    """The folder of a place; one in a bucket is brought to this node once, and again where it has changed there.

    It stays to the end of this process.

    Raises:
        StoreError: the bucket does not give it.
    """
    folder = mirror.local_path(place)
    if not mirror.is_bucket(place):
        return folder
    there = mirror.remote_tags(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    marker = folder / _FETCHED
    with FileLock(f"{folder}.lock"):
        held = pin(marker)
        if held is None or json.loads(marker.read_text()) != there:
            marker.unlink(missing_ok=True)
            mirror.pull(folder)
            folder.mkdir(exist_ok=True)
            draft = folder / f"{_FETCHED}.draft"
            draft.write_text(json.dumps(there))
            draft.rename(marker)
            held = pin(marker)
    if held is not None:
        _held[folder] = held
    evict()
    return folder


def content(place: str) -> str | None:
    """Identity of the content of a model's place, for the key of a stage: its files' names, sizes and times.

    In a bucket: names and tags. None where the place is no folder, such as a name on a hub.

    Raises:
        StoreError: the bucket does not give it.
    """
    folder = fetch(place)
    if mirror.is_bucket(place):
        return json.dumps(json.loads((folder / _FETCHED).read_text()), sort_keys=True)
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(str(path.relative_to(folder)), path.stat()) for path in files]
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def _markers() -> Iterator[Path]:
    copies = mirror.copies(WORKER)
    for name in (MANIFEST, _FETCHED, _PINNED):
        yield from copies.rglob(name)


def _time(marker: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return marker.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _remove(marker: Path) -> bool:
    """Remove a folder unless somebody holds it; the marker first, so that a kill leaves nothing that seems whole."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), marker.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        marker.unlink()
        shutil.rmtree(marker.parent, ignore_errors=True)
        return True
    return False
