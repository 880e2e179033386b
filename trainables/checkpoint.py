"""Checkpoints that survive a kill: written aside, checked by a digest, renamed into place, the last two kept."""

import hashlib
import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

_MAGIC = b"sweep-checkpoint-1\n"
_DIGEST_BYTES = 64  # SHA-256 in hexadecimal
_KEPT = 2

logger = logging.getLogger(__name__)


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write ``state`` (nested dicts and lists of tensors and plain values) as the newest checkpoint of ``folder``.

    Raises:
        OSError: the disk refuses it; the checkpoints before it stay readable.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    kept = _numbers(folder)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    path = _path(folder, kept[0] + 1 if kept else 0)
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as stream:
            stream.write(_MAGIC + hashlib.sha256(payload).hexdigest().encode())
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    for number in kept[_KEPT - 1 :]:
        _path(folder, number).unlink(missing_ok=True)
    return path


def load(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint of ``folder`` that is whole, or None where there is none.

    A torn or foreign file is skipped with a warning in favour of the one before.
    """
    for number in _numbers(folder):
        path = _path(folder, number)
        try:
            return _read(path)
        except (ValueError, OSError, RuntimeError, pickle.UnpicklingError) as error:
            logger.warning("%s is skipped (%s); the checkpoint before it is used", path, error)
    return None


def _read(path: Path) -> dict[str, Any]:
    import torch

    content = path.read_bytes()
    header = len(_MAGIC) + _DIGEST_BYTES
    if not content.startswith(_MAGIC):
        raise ValueError("a checkpoint must start with its format's name")
    payload = content[header:]
    if hashlib.sha256(payload).hexdigest().encode() != content[len(_MAGIC) : header]:
        raise ValueError("its content does not match its digest")
    state = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    if not isinstance(state, dict):
        raise ValueError(f"a checkpoint must hold a dict, but got {type(state).__name__}")
    return state


def _numbers(folder: Path) -> list[int]:
    """Numbers of the checkpoints in ``folder``, newest first."""
    return sorted((int(path.stem) for path in folder.glob("*.pt") if path.stem.isdigit()), reverse=True)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"
