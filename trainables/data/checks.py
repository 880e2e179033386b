"""Everything that can be wrong with a data set, found before anything starts. No torch, no scikit-learn."""

import functools
from pathlib import Path

from trainables.data import atomic, synthetic, text
from trainables.data.atomic import DataError
from trainables.data.config import Data

Signature = tuple[tuple[str, int, int], ...]


def problems(data: Data) -> list[str]:
    """Every problem of the files and text vectors of ``data``, one line each; files that did not change are kept in
    mind, so that a sweep's many checks read them once.
    """
    found: list[str] = []
    items = synthetic.ITEMS if data.name == synthetic.NAME else None
    if data.name != synthetic.NAME:
        try:
            folder = atomic.locate(data.name, data.root)
        except DataError as error:
            found.extend(error.problems)
        else:
            paths = (folder / f"{data.name}.item", folder / f"{data.name}.inter")
            items, broken = _read(*paths, _signature(*paths))
            found.extend(broken)
    found.extend(_text_problems(data, items))
    return found


def _text_problems(data: Data, items: int | None) -> list[str]:
    if data.text == text.TFIDF:
        return []
    if not data.text.endswith(".npy"):
        problem = text.encoder_problem(data.text)
        return [problem] if problem else []
    if items is None:  # no catalogue to compare with; that was said already
        return []
    try:
        path = text.locate_vectors(data)
    except DataError as error:
        return list(error.problems)
    return list(_vectors(path, items, _signature(path)))


@functools.lru_cache(maxsize=8)
def _read(item: Path, inter: Path, signature: Signature) -> tuple[int | None, tuple[str, ...]]:
    """Number of items (None if unknown) and what is wrong with the two files."""
    try:
        ids, _ = atomic.read_items(item)
    except DataError as error:
        return None, error.problems
    try:
        atomic.read_interactions(inter, ids)
    except DataError as error:
        return len(ids), error.problems
    return len(ids), ()


@functools.lru_cache(maxsize=8)
def _vectors(path: Path, items: int, signature: Signature) -> tuple[str, ...]:
    try:
        text.read_vectors(path, items)
    except DataError as error:
        return error.problems
    return ()


def _signature(*paths: Path) -> Signature:
    """What changes when a file does: name, size, time of the last change."""
    stats = [(str(path), path.stat()) for path in paths]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
