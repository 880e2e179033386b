"""Checkpoints that survive a kill: written aside, checked by a digest, renamed into place, the last two kept.

A checkpoint holds the best weights so far beside the newest ones, so that the newest whole file is all that a trial
needs. ``<number>.pt`` is a format name, a SHA-256 and what torch wrote. ``.draft`` is a checkpoint that is being
written, ``.damaged`` one that was found torn and waits for deletion. Where the folder mirrors a bucket, the bucket
decides: a checkpoint that is not in the bucket was not saved.
"""

import contextlib
import hashlib
import io
import logging
import os
import pickle
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainables.disk import write_all
from trainables.storage import mirror

_MAGIC = b"sweep-checkpoint-1\n"
_DIGEST_BYTES = 64  # SHA-256 in hexadecimal
_KEPT = 2

logger = logging.getLogger(__name__)


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` (nested dicts and lists of tensors and plain values) as the newest checkpoint of ``folder``.

    It is on the disk (and in the bucket), under its name, when this returns; the second last one is removed after that.

    Raises:
        OSError: the disk refuses it; the checkpoints before it stay readable.
    """
    _make(folder)
    kept = _numbers(path for path in mirror.sizes(folder) if path.parent == folder)  # below it lie those of phases
    path = _path(folder, kept[0] + 1 if kept else 0)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    for left in [*folder.glob("*.draft"), *folder.glob("*.damaged")]:  # first: a full disk may need their room
        left.unlink(missing_ok=True)
    try:
        _write(draft, state)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(folder)
    mirror.push(path)
    mirror.remove(_path(folder, number) for number in kept[_KEPT - 1 :])
    return path


def load(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint of ``folder`` that is whole, or None where there is none.

    A torn or foreign file is set aside with a warning in favour of the one before.
    """
    mirror.pull(folder, lambda name: "/" not in name and name.endswith(".pt"))
    for number in _numbers(folder.glob("*.pt")):
        path = _path(folder, number)
        try:
            return _read(path)
        except OSError as error:
            logger.warning("%s is skipped (%s); the checkpoint before it is used", path, error)
        except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            logger.warning("%s is skipped (%s); the checkpoint before it is used", path, error)
            with contextlib.suppress(OSError):  # it must not count as one of the last two
                path.rename(path.with_suffix(".damaged"))
                mirror.remove([path])
    return None


def sync_folder(folder: Path) -> None:
    """Have the names in ``folder`` on the disk, as fsync does for a file's content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Hashed:
    """Writes on to ``stream``, hashing; an error is kept for later, as torch would hide it behind one of its own."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.error: OSError | None = None
        self._stream = stream

    def write(self, data: bytes) -> int:
        size = memoryview(data).nbytes
        self.size += size
        if self.error is None:
            self.digest.update(data)
            try:
                write_all(self._stream, data)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing: the stream is flushed once, at the end."""


def _write(path: Path, state: dict[str, Any]) -> None:
    import torch

    with path.open("wb", buffering=0) as stream:
        hashed = _Hashed(stream)
        try:
            write_all(stream, _MAGIC + b"0" * _DIGEST_BYTES)
            torch.save(state, hashed)  # type: ignore[arg-type]
            if hashed.error:
                raise hashed.error
            stream.seek(len(_MAGIC))
            write_all(stream, hashed.digest.hexdigest().encode())
            os.fsync(stream.fileno())
        except OSError as error:
            raise OSError(
                error.errno,
                f"a checkpoint must fit on the disk, but one of {hashed.size / 2**20:.1f} MiB gave "
                f"{error.strerror!r}; the previous checkpoint is intact",
                str(path.parent),
            ) from error


def _read(path: Path) -> dict[str, Any]:
    import torch

    with path.open("rb") as stream:
        header = stream.read(len(_MAGIC) + _DIGEST_BYTES)
        if not header.startswith(_MAGIC):  # before the rest, which may have no end
            raise ValueError("a checkpoint must start with its format's name")
        payload = stream.read()
    if hashlib.sha256(payload).hexdigest().encode() != header[len(_MAGIC) :]:
        raise ValueError("its content does not match its digest")
    try:
        state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except (LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, struct.error) as error:
        raise ValueError(f"torch cannot read it ({type(error).__name__}: {error})") from error
    if not isinstance(state, dict):
        raise ValueError(f"a checkpoint must hold a dict, but got {type(state).__name__}")
    return state


def _make(folder: Path) -> None:
    """Make ``folder``, its name on the disk."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def _numbers(paths: Iterable[Path]) -> list[int]:
    """Numbers of the checkpoints among files of one folder, newest first."""
    return sorted((int(path.stem) for path in paths if path.suffix == ".pt" and path.stem.isdecimal()), reverse=True)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"
