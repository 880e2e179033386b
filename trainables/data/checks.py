"""Checks of a data set before anything starts. No torch, no scikit-learn."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainables.data import atomic, synthetic
from trainables.data import text as texts
from trainables.data.atomic import DataError
from trainables.data.config import Data, Duplicates
from trainables.data.interactions import read_interactions
from trainables.data.repeats import in_order, kept
from trainables.data.splits import shortage
from trainables.data.windows import untimed

Signature = tuple[tuple[str, int, int], ...]


class FileFacts(NamedTuple):
    """Facts of a data set's two files, and their problems."""

    items: int | None = None
    """Number of items, None where the `.item` file is broken."""
    lengths_U: np.ndarray | None = None
    """int64, interactions of each user that `data.duplicates` leaves; None where a file is broken."""
    interactions: int = 0
    """Lines of the `.inter` file."""
    untimed: int = 0
    """Interactions without a timestamp."""
    columns: tuple[str, ...] = ()
    """Columns of the `.inter` file."""
    untitled: tuple[str, ...] = ()
    """Ids of the items without a title."""
    problems: tuple[str, ...] = ()
    signature: Signature = ()
    """A value that changes with the files."""


def check(data: Data, *, text: bool = True, titles: bool = False) -> list[str]:
    """Say everything that would stop a run on ``data``: files, malformed lines, text vectors; [] if nothing would.

    Files that did not change are kept in mind, so that a sweep's many checks read them once.

    Args:
        data: the data set.
        text: True if the run reads the text vectors.
        titles: True if the run reads the titles, so that each item must have one.
    """
    files = file_facts(data)
    problems = [*files.problems, *_split_problems(data, files)] if files else []
    if titles and files and files.untitled:
        problems.append(
            f"data.name: every item must have a title, but {len(files.untitled)} of {files.items} in {data.name}.item "
            f"have none, the first is {files.untitled[0]}; fill the titles or leave these items out"
        )
    if text and data.text == texts.TFIDF and files and files.items and len(files.untitled) == files.items:
        problems.append(texts.NO_WORDS)
    return problems + _text_problems(data, item_count(data)) if text else problems


def item_count(data: Data) -> int | None:
    """Items of the data set, padding left out; None where its files are missing or broken."""
    files = file_facts(data)
    return files.items if files else synthetic.ITEMS


def file_facts(data: Data) -> FileFacts | None:
    """Facts of the data set's files, its absence among the problems; None for the built-in one."""
    if data.name == synthetic.NAME:
        return None
    try:
        folder = atomic.locate(data.name, data.root)
    except DataError as error:
        return FileFacts(problems=error.problems)
    paths = (folder / f"{data.name}.item", folder / f"{data.name}.inter")
    return _read(*paths, _signature(*paths), data.duplicates)


def _split_problems(data: Data, files: FileFacts) -> list[str]:
    if files.lengths_U is None:
        return []
    problem = shortage(files.lengths_U, data)
    problems = [problem] if problem else []
    if data.split == "time" and files.untimed:
        missing = f"{files.untimed} of {files.interactions} lines of {data.name}.inter have none"
        absent = f"{data.name}.inter has no timestamp column"
        problems.append(untimed(missing if "timestamp" in files.columns else absent))
    return problems


def _text_problems(data: Data, items: int | None) -> list[str]:
    if data.text == texts.TFIDF:
        return []
    if not data.text.endswith(".npy"):
        problem = texts.encoder_problem(data.text)
        return [problem] if problem else []
    if items is None:  # no catalogue to compare with; that was said already
        return []
    try:
        path = texts.locate_vectors(data)
    except DataError as error:
        return list(error.problems)
    return list(_vectors(path, items, _signature(path)))


@functools.lru_cache(maxsize=8)
def _read(item: Path, inter: Path, signature: Signature, duplicates: Duplicates) -> FileFacts:
    try:
        ids, titles = atomic.read_items(item)
    except DataError as error:
        return FileFacts(problems=error.problems)
    untitled = tuple(token for token, title in zip(ids, titles, strict=True) if not title or title.isspace())
    try:
        read = read_interactions(inter, ids)
    except DataError as error:
        return FileFacts(len(ids), problems=error.problems)
    lengths_U = np.bincount(read.users)
    if duplicates != "keep":
        order = in_order(read.users, read.times)
        stays = kept(read.users[order], read.items[order], duplicates)
        lengths_U = np.bincount(read.users[order][stays])
    return FileFacts(
        len(ids), lengths_U, len(read.users), read.untimed, read.columns, untitled=untitled, signature=signature
    )


@functools.lru_cache(maxsize=8)
def _vectors(path: Path, items: int, signature: Signature) -> tuple[str, ...]:
    try:
        texts.read_vectors(path, items)
    except DataError as error:
        return error.problems
    return ()


def _signature(*paths: Path) -> Signature:
    """A value that changes with any of the files: name, size and time of the last change of each."""
    stats = [(str(path), path.stat()) for path in paths]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
