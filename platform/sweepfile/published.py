"""The numbers that a paper printed: the CSV file `compare.published` of a sweep file, one line per cell.

Columns are parameters (`data.name`), metrics (`test/ndcg_20`, as a share of 1) and `note`. Where a method has no such
parameter, or the paper no such number, the field is empty.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from platform.errors import did_you_mean

NOTE = "note"
LARGEST_FILE = 2**20
"""Bytes of the file: a paper's largest table has some hundred lines. `/dev/zero` has no end."""
_MOST_TOLD = 3
"""Lines told of those with one fault: a wrong column is wrong on each line."""

Cell: TypeAlias = tuple[str, ...]
"""The values of the parameters that define a cell, as text."""


@dataclass(frozen=True)
class Published:
    """Printed values, by cell."""

    metrics: tuple[str, ...]
    """Names in the order of the file."""
    values: Mapping[Cell, Mapping[str, float]]
    """Cell -> metric -> number, without numbers that were not printed."""
    notes: Mapping[Cell, str]
    """Cell -> text of the column `note`, where there is one."""


def as_text(value: Any) -> str:
    """A parameter's value as the CSV file writes it: `true`, `0.1`, `sasrec`, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value).strip()
    return f"{number:.12g}" if math.isfinite(number) else str(value)


def read(path: Path, by: Sequence[str], problem: Callable[[str], None]) -> Published | None:
    """The printed values of the file for the cells of `by`; None, with each problem said, if it cannot be used.

    Args:
        path: the CSV file.
        by: names of the parameters that define a cell; each must be a column.
        problem: called with `rule, but got value; remedy`.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            rule = f"must be a CSV file of at most {LARGEST_FILE // 2**20} MiB"
            problem(f"{rule}, but {path} is larger; name another file")
            return None
        head, *lines = list(csv.reader(io.StringIO(content.decode(), newline=""))) or [[]]
    except OSError as error:
        near = sorted(str(other) for other in path.parent.glob("*.csv"))
        remedy = f"there are {', '.join(near)}" if near else "the path is taken from the sweep file's folder"
        problem(f"must be a CSV file that can be read, but {path} gave {error.strerror!r}; {remedy}")
        return None
    except (UnicodeDecodeError, csv.Error) as error:
        problem(f"must be a CSV file in UTF-8, but {path} gave {error}; save it as one")
        return None
    told = _head_problems(path, head, by)
    for text in told:
        problem(text)
    return None if told else _read_lines(path, head, lines, by, problem)


def _head_problems(path: Path, head: Sequence[str], by: Sequence[str]) -> list[str]:
    found = [
        f"must have a column for each of compare.by, but {path.name} has none for {name!r}; {did_you_mean(name, head)}"
        for name in by
        if name not in head
    ]
    if not any("/" in name for name in head):
        found.append(f"must have a column of a metric such as test/ndcg_20, but {path.name} has none; add one")
    found += [f"must name each column once, but {path.name} has {name!r} again; remove one" for name in _twice(head)]
    return found


def _read_lines(
    path: Path, head: Sequence[str], lines: Iterable[Sequence[str]], by: Sequence[str], problem: Callable[[str], None]
) -> Published | None:
    metrics = tuple(name for name in head if "/" in name)
    values: dict[Cell, dict[str, float]] = {}
    notes: dict[Cell, str] = {}
    lines_of: dict[Cell, list[tuple[str, dict[str, str]]]] = {}
    told: list[str] = []
    for number, line in enumerate(lines, 2):
        where = f"line {number} of {path.name}"
        if line and len(line) != len(head):
            told.append(f"must have {len(head)} fields a line, but {where} has {len(line)}; one for each column")
        if len(line) != len(head):
            continue
        fields = dict(zip(head, line, strict=True))
        cell = tuple(as_text(fields[name]) for name in by)
        lines_of.setdefault(cell, []).append((where, fields))
        if len(lines_of[cell]) > 1:
            continue
        printed = {name: fields[name].strip() for name in metrics if fields[name].strip()}
        told += [
            f"must have numbers under {name}, but {where} has {text!r}; write a plain number, or nothing"
            for name, text in printed.items()
            if _number(text) is None
        ]
        values[cell] = {name: _number(text) or 0.0 for name, text in printed.items()}
        if note := fields.get(NOTE, "").strip():
            notes[cell] = note
    told = [*_few(told), *_same_cells(path, lines_of)]
    for text in told:
        problem(text)
    return None if told else Published(metrics, values, notes)


def _few(told: list[str]) -> list[str]:
    """The first problems of many alike, and the number of the others."""
    more = len(told) - _MOST_TOLD
    if more <= 1:
        return told
    return [*told[:_MOST_TOLD], f"must have no such lines, but there are {more} more; correct them alike"]


def _same_cells(path: Path, lines_of: Mapping[Cell, Sequence[tuple[str, Mapping[str, str]]]]) -> list[str]:
    """The problem with lines of one cell: the columns that tell them apart, else the line to remove."""
    double = {cell: lines for cell, lines in lines_of.items() if len(lines) > 1}
    columns = [name for name in next(iter(double.values()))[0][1] if name != NOTE and "/" not in name] if double else []
    texts = {name: [{as_text(row[name]) for _, row in lines} for lines in double.values()] for name in columns}
    apart = [name for name in columns if any(len(each) > 1 for each in texts[name])]
    same = [(cell, where) for cell, lines in double.items() for where in _again(lines, apart)]
    told = [f"must have one line per cell, but {where} has {' / '.join(c)} again; remove one" for c, where in same]
    if not apart:
        return _few(told)
    count, names = sum(map(len, double.values())), " and ".join(apart)
    rule = f"must have one line per cell, but {count} lines of {path.name} share {len(double)} cells"
    remedy = f"add {names} to compare.by, and write a default that is meant as a constant under parameters"
    return [f"{rule}; {remedy}", *_few(told)]


def _again(lines: Sequence[tuple[str, Mapping[str, str]]], apart: Sequence[str]) -> list[str]:
    """The lines of a cell that no column in ``apart`` tells from an earlier one."""
    seen: set[tuple[str, ...]] = set()
    again: list[str] = []
    for where, fields in lines:
        key = tuple(as_text(fields[name]) for name in apart)
        again += [where] if key in seen else []
        seen.add(key)
    return again


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _twice(names: Sequence[str]) -> list[str]:
    return [name for index, name in enumerate(names) if name in names[:index]]
