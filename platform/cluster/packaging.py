"""The working tree as one archive: what git tracks, without data and runs, the same bytes for the same content."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from platform.errors import InvalidSweep

LIMIT_BYTES = 50 * 2**20
"""Unpacked; each node keeps the tree in its scratch space, and Ray's head keeps the archive in memory."""
_NEVER_SENT = ("data", "runs", "mlruns")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SHOWN = 5


@dataclass(frozen=True)
class Tree:
    """Files of a working tree that are sent, and those that stay.

    `files` are relative to `root`, `size` is their bytes unpacked. `untracked` files stay behind, as git does not know
    them.
    """

    root: Path
    files: tuple[Path, ...]
    size: int
    untracked: tuple[str, ...]


def tree(folder: Path, needed: Sequence[Path]) -> Tree:
    """The working tree around `folder`.

    Args:
        folder: in a git checkout of this project.
        needed: files of the tree that are sent although git may not track them yet, such as the sweep file.

    Raises:
        InvalidSweep: no checkout, a needed file outside of it, or more than `LIMIT_BYTES`.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if not top or not (Path(top[0]) / "platform" / "sweep.py").is_file():
        raise InvalidSweep(
            [f"the folder must lie in a git checkout that holds platform/sweep.py, but {folder} does not; cd into one"]
        )
    root = Path(top[0]).resolve()
    outside = [path for path in needed if not path.resolve().is_relative_to(root)]
    if outside:
        raise InvalidSweep(
            [
                f"{path}: must lie in the tree that is sent, but {root} does not hold it; copy it there"
                for path in outside
            ]
        )
    wanted = {path.resolve().relative_to(root) for path in needed}
    tracked = {Path(name) for name in _git(root, "ls-files", "-z")}
    files = tuple(sorted(path for path in tracked | wanted if _is_sent(root, path, path in wanted)))
    sizes = {path: (root / path).stat().st_size for path in files}
    _refuse_too_big(root, sizes)
    untracked = {Path(name) for name in _git(root, "ls-files", "-z", "--others", "--exclude-standard")}
    left = (path for path in sorted(untracked - wanted) if path.parts[0] not in _NEVER_SENT)
    modules_first = sorted(left, key=lambda path: path.suffix != ".py")  # only the first few are shown
    return Tree(root, files, sum(sizes.values()), tuple(map(str, modules_first)))


def pack(tree: Tree, target: Path) -> int:
    """Write the tree to the zip file `target`; returns its size in bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in tree.files:
            entry = zipfile.ZipInfo(path.as_posix(), _EPOCH)
            entry.external_attr = ((tree.root / path).stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (tree.root / path).read_bytes())
    return target.stat().st_size


def shown_size(count: float) -> str:
    """Bytes for people: `1.2 MiB`."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def listed(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_sent(root: Path, path: Path, wanted: bool) -> bool:
    """True if a file is sent: it is there, no data or runs, and no link that leads out of the tree."""
    whole = root / path
    return whole.is_file() and whole.resolve().is_relative_to(root) and (wanted or path.parts[0] not in _NEVER_SENT)


def _refuse_too_big(root: Path, sizes: dict[Path, int]) -> None:
    total = sum(sizes.values())
    if total <= LIMIT_BYTES:
        return
    folders: dict[str, int] = {}
    for path, size in sizes.items():
        name = f"{path.parts[0]}/" if len(path.parts) > 1 else str(path)
        folders[name] = folders.get(name, 0) + size
    big = [*_largest(folders.items()), *_largest((str(path), size) for path, size in sizes.items())]
    raise InvalidSweep(
        [
            f"the tracked files of {root} must be at most {shown_size(LIMIT_BYTES)}, but are {shown_size(total)} "
            f"({', '.join(dict.fromkeys(big))}); take data out of git, and name it by data.root or SWEEP_DATA"
        ]
    )


def _largest(sizes: Iterable[tuple[str, int]]) -> list[str]:
    largest = sorted(sizes, key=lambda entry: entry[1], reverse=True)[:3]
    return [f"{name} {shown_size(size)}" for name, size in largest if size > LIMIT_BYTES / 50]


def _git(folder: Path, *arguments: str) -> list[str]:
    """Lines, or with `-z` entries, of what git says; none where it refuses."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        raise InvalidSweep(["git must be installed to say which files are sent, but is not; install it"]) from None
    if done.returncode:
        return []
    text = done.stdout.decode("utf-8", "surrogateescape")
    return [line for line in text.split("\0" if "-z" in arguments else "\n") if line]
