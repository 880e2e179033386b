"""Results that trials share: computed once, content-addressed, memory-mapped by every other trial.

A *stage* is a pure module-level function of named inputs that returns arrays. Its key hashes the function's name and
version and exactly the inputs it receives, so that a parameter which the stage does not read can never change the key.

Beside a result ``<key>/`` lie, while it is computed, ``<key>.lock`` (an advisory lock of the operating system, which
ends with its holder however that dies), ``<key>.owner`` (who holds it, for people only: nothing is decided by it) and
``<key>.scratch/`` (partial work). The folder may be on NFS where its locks are real ones (v4, or v3 with its lock
daemon; not ``nolock``, not ``local_lock``): a dead node's lock then ends with its lease, a minute or two later. Where a
lock is lost while its holder lives, a result may be computed twice, but the first one stays and is whole. Where the
folder mirrors a bucket (``mirror.py``), nodes compete for a result as ``stage_copies.py`` says; one process per node
asks the bucket, and the others wait for it as above.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from trainables.references import as_written
from trainables.storage import cache, mirror, stage_copies
from trainables.storage.arrays import open_array
from trainables.storage.stage_copies import MANIFEST, WAITING, waiting

__all__ = ["MANIFEST", "WAITING", "Arrays", "File", "StageResult", "Stages", "stage", "stage_key"]

Arrays = dict[str, np.ndarray]
Notify = Callable[[str], None]

_POLL_S = 0.2

_computing: ContextVar[frozenset[Path]] = ContextVar("computing", default=frozenset())
"""Folders of the results that this thread is computing now."""


@dataclass(frozen=True)
class File:
    """A file as a stage's input: hashed by its content, handed to the stage as a path."""

    path: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content, in hexadecimal; a process reads it again only once size or time of change differ."""
        stat = self.path.stat()
        return _content(self.path.absolute(), stat.st_size, stat.st_mtime_ns)


class StageResult(Mapping[str, np.ndarray]):
    """Arrays of one stage, by name, memory-mapped and read-only; itself a legal input of another stage."""

    def __init__(self, folder: Path, fingerprint: str, held: object = None) -> None:
        self.folder = folder
        self._held = held  # it stays on this node while this object lives
        self.fingerprint = fingerprint
        self._names: list[str] = json.loads((folder / MANIFEST).read_text())["arrays"]
        self._opened: Arrays = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._opened:
            try:
                self._opened[name] = open_array(self.folder / f"{name}.npy")
            except ValueError as error:
                rule = f"{self.folder}: a shared result must be whole, but of {name}.npy {error}"
                raise ValueError(f"{rule}; remove the folder, and it is computed again") from error
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def stage(version: int) -> Callable[[Callable[..., Arrays]], Callable[..., Arrays]]:
    """Mark a module-level function as a stage; raise ``version`` whenever what it computes changes."""

    def mark(compute: Callable[..., Arrays]) -> Callable[..., Arrays]:
        compute.version = version  # type: ignore[attr-defined]
        return compute

    return mark


class Stages:
    """The stages kept under one folder, shared by every trial that sees it.

    Args:
        folder: where results live, one sub-folder a key; made when first needed.
        owner: who computes what is computed through this object, as those who wait for it are told (``trial 3``).
        say: told in a few words what is computed now, and "" once it is there.
    """

    def __init__(self, folder: Path, owner: str = "", say: Notify | None = None) -> None:
        self.folder = folder
        self.owner = owner
        self._say = say or _say_nothing

    def get(
        self,
        compute: Callable[..., Arrays],
        inputs: Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        notify: Notify | None = None,
        scratch: bool = False,
    ) -> StageResult:
        """Return ``compute(**inputs, **context)``, from disk where any trial has computed it before.

        Of those who ask at once, in whatever thread, process or node, one computes and the others wait. Where it dies,
        fails or is stopped without a result, one of those who wait takes over.

        Args:
            compute: a function marked with :func:`stage`.
            inputs: plain JSON values, :class:`File` or :class:`StageResult`, by argument name. A file reaches
                ``compute`` as its path, a result as the mapping itself.
            context: further arguments that can not change the result and so are no part of the key, such as the trial
                to report to. Only who computes uses its own.
            notify: told in a few words whom this call waits for, again each time it looks, and whose work it takes
                over; told "" at the end. What it raises ends the waiting.
            scratch: hand ``compute`` a ``folder`` for partial work, such as checkpoints. It outlives whoever computes,
                so that the next one carries on from there, and is removed once there is a result. What lies in it must
                be written so that a kill leaves it readable, as :mod:`trainables.storage.checkpoint` does.

        Raises:
            TypeError: ``compute`` is not marked, an input has no stable fingerprint, or an argument is given twice.
            RuntimeError: ``compute`` asks for the very result that it computes.
        """
        key = stage_key(compute, inputs)
        folder, partial = self.folder.absolute() / key, self.folder.absolute() / f"{key}.scratch"
        arguments = _arguments(compute, inputs, context or {}, {"folder": partial} if scratch else {})
        was_here = True
        while (held := cache.pin(folder / MANIFEST)) is None:
            was_here = False
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._claim(folder, compute.__name__, notify or _say_nothing) as ours:
                if ours:
                    if scratch:
                        partial.mkdir(exist_ok=True)
                    self._say(f"computes {compute.__name__.strip('_').replace('_', ' ')}")
                    _publish(folder, compute, arguments)
                    self._say("")
            if scratch:
                mirror.remove_folder(partial)
        if not was_here and mirror.remote_of(folder):
            cache.evict()  # for others; this one is held
        if scratch:
            shutil.rmtree(partial, ignore_errors=True)  # there is a result, so nobody works there any more
        return StageResult(folder, key, held)

    @contextlib.contextmanager
    def _claim(self, folder: Path, name: str, notify: Notify) -> Iterator[bool]:
        """Wait until ``folder`` is there or is this caller's to compute; gives whether it is the latter."""
        if folder in _computing.get():
            raise RuntimeError(
                f"a stage must not need its own result, but {name} asks for {folder.name} while it computes it; "
                "give the inner call other inputs"
            )
        lock, note = FileLock(f"{folder}.lock"), Path(f"{folder}.owner")
        token = _computing.set(_computing.get() | {folder})
        waited, owner, ours = False, "", False
        try:
            while not _is_published(folder) and not _try_lock(lock):
                waited, owner = True, _read(note) or owner
                notify(waiting(name, owner))
                time.sleep(_POLL_S)
            with os.scandir(folder.parent):  # over NFS this drops what the node remembers of a folder
                ours = lock.is_locked and not _is_published(folder)
            if ours:
                owner = _read(note) or owner  # a note that is still there was left by whoever died
                if waited := waited or bool(owner):
                    notify(f"takes over {name} from {owner}" if owner else "")
                note.write_text(self._me())
                with stage_copies.claim(folder, name, self._me(), notify, note) as among_nodes:
                    yield among_nodes
            else:
                yield False
            if waited:
                notify("")
        finally:
            _computing.reset(token)
            if ours:
                with contextlib.suppress(OSError):
                    note.unlink()
            lock.release()

    def _me(self) -> str:
        process = f"process {os.getpid()} on {socket.gethostname()}"
        return f"{self.owner} ({process})" if self.owner else process


def stage_key(compute: Callable[..., Arrays], inputs: Mapping[str, Any]) -> str:
    """The content address of ``compute`` on ``inputs``: function name, version and inputs, nothing else."""
    version = getattr(compute, "version", None)
    if version is None:
        raise TypeError(f"a stage must be marked with @stage(version=...), but {compute.__qualname__} is not")
    identity = {
        "function": f"{compute.__module__}.{compute.__qualname__}",
        "version": version,
        "inputs": {name: _identity(name, value) for name, value in inputs.items()},
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    return f"{compute.__name__}-{digest}"


@functools.lru_cache(maxsize=64)
def _content(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _identity(name: str, value: Any) -> Any:
    if isinstance(value, File | StageResult):
        return {"fingerprint": value.fingerprint}
    try:
        json.dumps(value)
    except TypeError as error:
        raise TypeError(
            f"a stage's input must be a plain value, a File or a StageResult, but {name} is {type(value).__name__}"
        ) from error
    return as_written(value)


def _arguments(
    compute: Callable[..., Arrays], inputs: Mapping[str, Any], context: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of ``compute``, each name from one place only."""
    for name in [*context, *own]:
        if name in inputs or (name in context and name in own):
            raise TypeError(
                f"an argument of a stage must come from its inputs, its context or its scratch folder, but {name} of "
                f"{compute.__qualname__} comes from two of them; rename one"
            )
    plain = {name: value.path if isinstance(value, File) else value for name, value in inputs.items()}
    return {**plain, **context, **own}


def _say_nothing(text: str) -> None:
    """The status of who gives none."""


def _is_published(folder: Path) -> bool:
    return (folder / MANIFEST).exists()


def _try_lock(lock: FileLock) -> bool:
    """Take ``lock`` if nobody holds it."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _read(note: Path) -> str:
    """Read who computes, in words. Empty where nobody does, or between two owners."""
    try:
        return note.read_text()
    except OSError:
        return ""


def _publish(folder: Path, compute: Callable[..., Arrays], arguments: Mapping[str, Any]) -> None:
    """Compute into a folder of its own and rename it into place, the manifest written last; into a bucket before."""
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a crash of whoever held the lock before
        shutil.rmtree(left, ignore_errors=True)
    arrays = compute(**arguments)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    for name, array in arrays.items():
        with (draft / f"{name}.npy").open("wb") as stream:
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
    if mirror.remote_of(folder):
        stage_copies.publish(draft, folder)
        shutil.rmtree(draft, ignore_errors=True)
        return
    with (draft / MANIFEST).open("w") as manifest:
        json.dump({"arrays": list(arrays)}, manifest)
        manifest.flush()
        os.fsync(manifest.fileno())
    if _is_published(folder):  # by a second holder of a lock that was lost: its readers have it open
        shutil.rmtree(draft)
        return
    if folder.exists():  # left by a crash before its manifest
        shutil.rmtree(folder)
    draft.rename(folder)
