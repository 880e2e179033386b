"""Results that trials share: computed once, content-addressed, memory-mapped by every other trial.

A *stage* is a pure module-level function of named inputs that returns arrays. Its key hashes the function's name and
version and exactly the inputs it receives, so that a parameter which the stage does not read can never change the key.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

MANIFEST = "manifest.json"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class File:
    """A file as a stage's input: hashed by its content, handed to the stage as a path."""

    path: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


class StageResult(Mapping[str, np.ndarray]):
    """Arrays of one stage, by name, memory-mapped and read-only; itself a legal input of another stage."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self._names: list[str] = json.loads((folder / MANIFEST).read_text())["arrays"]
        self._opened: Arrays = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._opened:
            self._opened[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
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
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, compute: Callable[..., Arrays], inputs: Mapping[str, Any]) -> StageResult:
        """Return ``compute(**inputs)``, from disk where any trial has computed it before.

        Args:
            compute: a function marked with :func:`stage`.
            inputs: plain JSON values, :class:`File` or :class:`StageResult`, by argument name. A file reaches
                ``compute`` as its path, a result as the mapping itself.

        Raises:
            TypeError: ``compute`` is not marked, or an input has no stable fingerprint.
        """
        key = stage_key(compute, inputs)
        folder = self.folder / key
        if not (folder / MANIFEST).exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{key}.lock"):
                if not (folder / MANIFEST).exists():
                    _publish(folder, compute, inputs)
        return StageResult(folder, key)


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


def _identity(name: str, value: Any) -> Any:
    if isinstance(value, File | StageResult):
        return {"fingerprint": value.fingerprint}
    try:
        json.dumps(value)
    except TypeError as error:
        raise TypeError(
            f"a stage's input must be a plain value, a File or a StageResult, but {name} is {type(value).__name__}"
        ) from error
    return value


def _publish(folder: Path, compute: Callable[..., Arrays], inputs: Mapping[str, Any]) -> None:
    """Compute into a folder of its own and rename it into place, the manifest written last."""
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a crash of whoever held the lock before
        shutil.rmtree(left)
    arrays = compute(**{name: value.path if isinstance(value, File) else value for name, value in inputs.items()})
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    for name, array in arrays.items():
        with (draft / f"{name}.npy").open("wb") as stream:
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
    (draft / MANIFEST).write_text(json.dumps({"arrays": list(arrays)}))
    if folder.exists():  # left by a crash before its manifest
        shutil.rmtree(folder)
    draft.rename(folder)
