"""Files in a folder that all nodes see, or in a bucket of which every node has copies.

All code works on paths. A path below ``<cache>/copies/`` is the copy of the object of the same name:
``<cache>/copies/<role>/<bucket>/<key>``. Files written there are *pushed*, files that others wrote are *pulled*.
Everywhere else a file is just a file: pushing and pulling do nothing, removing removes the file or folder itself. The
bucket is the truth: a copy that differs is replaced by the bucket's object, never the other way round. Each role (a
driver, the workers) keeps copies of its own, so that no role deletes the files of another on the same node.
"""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainables.storage.objects import SCHEME, Bucket, Found, StoreError, parse

CACHE = "SWEEP_CACHE"
"""The environment variable that names this node's folder for copies; by default ~/.cache/recsys-sweeps."""
DRIVER, READER, WORKER = "driver", "reader", "worker"
"""The roles: who runs a sweep, who only reads one, who trains."""
WEIGHTS = "best.safetensors"
"""The artifact of a trial in which its best weights lie."""

_AT_ONCE = 16
_DRAFT, _OWN = ".draft", "."  # how the names of files end or begin that are no copies

_known: dict[Path, tuple[str, int, int]] = {}
"""Copies that this process knows to equal an object: the object's tag, and time and size of the file then."""
_refreshed: dict[Path, float] = {}


def cache() -> Path:
    """This node's folder for copies."""
    named = os.environ.get(CACHE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "recsys-sweeps"
    return Path(named).expanduser().absolute()


def is_bucket(place: str) -> bool:
    """True if a place is in a bucket, and not a folder."""
    return place.startswith(SCHEME)


def local_path(place: str, role: str = WORKER) -> Path:
    """The folder on this node for a place: itself, or that of its copies."""
    if not is_bucket(place):
        return Path(place)
    bucket, prefix = parse(place)
    return copies(role) / bucket / prefix


def remote_of(path: Path) -> tuple[Bucket, str] | None:
    """The bucket and the key of which ``path`` is the copy; None where it is just a file."""
    parts = path.relative_to(_copies()).parts if path.is_relative_to(_copies()) else ()
    return (Bucket(parts[1]), "/".join(parts[2:])) if len(parts) > 1 else None


def require_remote(path: Path) -> tuple[Bucket, str]:
    """The bucket and the key of which ``path``, in a bucket's folder, is the copy."""
    found = remote_of(path)
    assert found is not None, f"{path} is no copy"
    return found


def uri_of(path: Path) -> str:
    """The URL by which other nodes find ``path``, or the path itself outside a bucket."""
    remote = remote_of(path)
    return f"{SCHEME}{remote[0].name}/{remote[1]}" if remote else str(path)


def push(*paths: Path) -> None:
    """Have these files in the bucket, one after another, when this returns."""
    for path in paths:
        if remote := remote_of(path):
            bucket, key = remote
            before = path.stat()
            _note(path, bucket.write(key, path), before)


def push_changed(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Push the files below ``folder`` that changed since this process pushed or pulled them.

    Args:
        folder: where to look.
        wanted: told each name below it.
    """
    if remote_of(folder):
        for path in _files_here(folder):
            if wanted(path.relative_to(folder).as_posix()) and not _is_known(path):
                push(path)


def pull(folder: Path, wanted: Callable[[str], bool] = lambda name: True, *, most_bytes: float = float("inf")) -> None:
    """Bring the copies below ``folder`` to what lies in the bucket; delete those that the bucket no longer has.

    Args:
        folder: where to look.
        wanted: told each name below it; the others are left as they are.
        most_bytes: larger objects stay where they are.
    """
    if not (remote := remote_of(folder)):
        return
    bucket, prefix = remote
    there = {folder / name: found for name, found in _named(bucket, prefix) if wanted(name)}
    small = {path: found for path, found in there.items() if found.size <= most_bytes}
    for path in list(_files_here(folder)):
        if path not in there and wanted(path.relative_to(folder).as_posix()):
            path.unlink(missing_ok=True)
            _known.pop(path, None)
    changed = [(path, found) for path, found in small.items() if not _is_known(path, found.tag)]
    with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(changed)))) as threads:
        list(threads.map(lambda each: _fetch(bucket, each[1].key, each[0]), changed))


def pull_file(path: Path) -> None:
    """Bring one copy to what lies in the bucket."""
    if remote := remote_of(path):
        bucket, key = remote
        _fetch(bucket, key, path)


def refresh_in_background(path: Path, every_s: float) -> None:
    """Have a copy brought up to date in the background, if that was not done for a while; for what may be a bit old."""
    if remote_of(path) is None or time.monotonic() - _refreshed.get(path, -every_s) < every_s:
        return
    _refreshed[path] = time.monotonic()

    def bring() -> None:
        with contextlib.suppress(StoreError):
            pull_file(path)

    threading.Thread(target=bring, name="mirror", daemon=True).start()


def sizes(folder: Path) -> dict[Path, int]:
    """The files below ``folder``, in the bucket or here, with their sizes in bytes."""
    if not (remote := remote_of(folder)):
        found: dict[Path, int] = {}
        for path in _files_here(folder):
            with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                found[path] = path.stat().st_size
        return found
    return {folder / name: found.size for name, found in _named(*remote)}


def remove(paths: Iterable[Path]) -> None:
    """Remove files, here and in the bucket; those that are not there are no matter."""
    remote: dict[str, list[str]] = {}
    for path in paths:
        path.unlink(missing_ok=True)
        _known.pop(path, None)
        if found := remote_of(path):
            remote.setdefault(found[0].name, []).append(found[1])
    for bucket, keys in remote.items():
        Bucket(bucket).delete(*keys)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that lies below it, here and in the bucket."""
    if remote := remote_of(folder):
        bucket, prefix = remote
        bucket.delete(*(found.key for _, found in _named(bucket, prefix)))
    delete_local(folder)


def delete_local(folder: Path) -> None:
    """Remove a folder here; what is in the bucket stays."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in [path for path in list(_known) if path.is_relative_to(folder)]:
        _known.pop(path, None)


def copies(role: str) -> Path:
    """Folder of the copies of a role."""
    return _copies() / role


def remote_tags(folder: Path) -> dict[str, str]:
    """Tags of the objects below a copy's folder in the bucket, by name."""
    remote = remote_of(folder)
    return {name: found.tag for name, found in _named(*remote)} if remote else {}


def _copies() -> Path:
    return cache() / "copies"


def _named(bucket: Bucket, prefix: str) -> Iterator[tuple[str, Found]]:
    """List the objects below a prefix, each with its name below it."""
    start = f"{prefix}/" if prefix else ""
    for found in bucket.list(start):
        yield found.key.removeprefix(start), found


def _files_here(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != _DRAFT and not path.name.startswith(_OWN):
            yield path


def _fetch(bucket: Bucket, key: str, path: Path) -> None:
    tag = bucket.fetch(key, path)
    if tag is None:  # removed meanwhile
        path.unlink(missing_ok=True)
        _known.pop(path, None)
    else:
        _note(path, tag, path.stat())


def _note(path: Path, tag: str, then: os.stat_result) -> None:
    _known[path] = (tag, then.st_mtime_ns, then.st_size)


def _is_known(path: Path, tag: str | None = None) -> bool:
    """True if the file is unchanged since it was the same as the object (with this tag)."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    known = _known.get(path)
    return known is not None and known[1:] == (now.st_mtime_ns, now.st_size) and tag in (None, known[0])
