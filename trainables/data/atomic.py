"""RecBole atomic files: `<name>.inter` (who met which item) and `<name>.item` (what the items are called).

Tab-separated, UTF-8, one header line of `column:type`. Read whole and checked without a loop over lines. A line that
breaks a rule is named as `file:line`. Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.storage import cache
from trainables.storage.mirror import is_bucket

_SHOWN = 12
LONGEST_LINE = 2**20
"""Bytes of a line: no title or list of tokens has more, and a file without line ends is none of ours."""
TYPES = ("token", "token_seq", "float", "float_seq")


class DataError(ValueError):
    """A data set that cannot be used: ``problems`` holds one line each, with rule, value and remedy."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class AtomicTable:
    """One atomic file: its columns as lists of strings, all of one length, in file order."""

    path: Path
    columns: dict[str, list[str]]
    types: dict[str, str]
    """Column -> its type as the header has it, one of ``TYPES``."""

    def problem(self, rule: str, broken: np.ndarray, column: str, remedy: str) -> str:
        """Say that the rows numbered in ``broken`` break ``rule``, naming the first."""
        row = int(broken[0])
        others = f" (and {len(broken) - 1} more lines)" if len(broken) > 1 else ""
        return f"{self.path}:{row + 2}: {rule}, but got {self.columns[column][row]!r}{others}; {remedy}"


def locate(name: str, root: str | None) -> Path:
    """Return the folder of data set ``name``.

    Args:
        name: of the folder and, with `.inter` and `.item`, of its files.
        root: the folder above, or s3://bucket/prefix; by default $SWEEP_DATA, then ./data.

    Raises:
        DataError: it is in none of these; the message says where it looked.
    """
    roots = [root] if root is not None else [*filter(None, [os.environ.get("SWEEP_DATA")]), "data"]
    folders = [_folder(place, name) for place in roots]
    for folder in folders:
        if (folder / f"{name}.inter").is_file() and (folder / f"{name}.item").is_file():
            return folder
    unset = "" if root is not None or os.environ.get("SWEEP_DATA") else " ($SWEEP_DATA is not set)"
    raise DataError(
        f"data.name: a data set is a folder {name} with {name}.inter and {name}.item, but none is there: looked at "
        f"{', '.join(map(str, folders))}{unset}{_there(roots)}; put a data set in RecBole's atomic format there, or "
        "point data.root or $SWEEP_DATA to the folder that holds it (`synthetic` needs no files)"
    )


def _there(roots: Sequence[str]) -> str:
    """The data sets that are in these places instead."""
    places = [Path(root).expanduser() for root in roots if not is_bucket(root)]
    names = sorted({file.stem for place in places for file in place.glob("*/*.inter") if file.stem == file.parent.name})
    return f"; there are {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}" if names else ""


def _folder(root: str, name: str) -> Path:
    """The folder of a data set on this node; from a bucket it is brought here, once."""
    return cache.fetch(f"{root.rstrip('/')}/{name}") if is_bucket(root) else Path(root).expanduser().absolute() / name


def read_items(path: Path) -> tuple[list[str], list[str]]:
    """Ids and titles of a `.item` file in its order: the item on line n + 1 is number n. HTML entities are unescaped.

    Raises:
        DataError: a line breaks a rule.
    """
    table = read_table(path, ("item_id", "title"))
    ids = table.columns["item_id"]
    refuse_empty(table, "item_id")
    if len(set(ids)) < len(ids):
        first = {token: row for row, token in reversed(list(enumerate(ids)))}
        again = np.flatnonzero(np.fromiter(map(first.__getitem__, ids), np.int64, len(ids)) != np.arange(len(ids)))
        raise DataError(table.problem("an item has one line", again, "item_id", "remove the repeated line"))
    return ids, list(map(html.unescape, table.columns["title"]))


def read_table(path: Path, required: tuple[str, ...]) -> AtomicTable:
    """Read one atomic file and check its form: text, header, as many fields on every line as the header names.

    Raises:
        DataError: the file is not in the format.
    """
    content = _content(path).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").removesuffix(b"\n")
    try:
        header, _, body = content.decode().partition("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: the file must be UTF-8, but got byte 0x{content[error.start]:02x}; convert it"
        ) from error
    types = _header(path, header, required)
    names = list(types)
    if not body:
        raise DataError(f"{path}:2: at least one line must follow the header, but there is none; fill the file")
    raw = np.frombuffer(content, np.uint8)[len(header.encode()) + 1 :]
    ends = np.append(np.flatnonzero(raw == ord("\n")), len(raw))
    fields = np.diff(np.searchsorted(np.flatnonzero(raw == ord("\t")), ends), prepend=0) + 1
    if (fields != len(names)).any():
        broken = np.flatnonzero(fields != len(names))
        others = f" (and {len(broken) - 1} more lines)" if len(broken) > 1 else ""
        raise DataError(
            f"{path}:{broken[0] + 2}: a line must have {len(names)} tab-separated fields ({', '.join(names)}), "
            f"but got {fields[broken[0]]}{others}; correct the line"
        )
    flat = body.replace("\n", "\t").split("\t")
    return AtomicTable(path, {name: flat[number :: len(names)] for number, name in enumerate(names)}, types)


def _content(path: Path) -> bytes:
    """The file, read until a line is too long: a part of that many bytes has a line end in it."""
    parts: list[bytes] = []
    with path.open("rb") as stream:
        while part := stream.read(LONGEST_LINE):
            if len(part) == LONGEST_LINE and b"\n" not in part:
                line = sum(each.count(b"\n") for each in parts) + 1
                rule = f"{path}:{line}: a line must have at most {LONGEST_LINE // 2**20} MiB, but has more"
                raise DataError(f"{rule}; is the file in RecBole's atomic format?")
            parts.append(part)
    return b"".join(parts)


def _header(path: Path, header: str, required: tuple[str, ...]) -> dict[str, str]:
    """Column -> type."""
    parts = [field.partition(":") for field in header.split("\t")]
    names = [name for name, _, _ in parts]
    wrong = [name + colon + kind for name, colon, kind in parts if not name or kind not in TYPES]
    if wrong:
        example = "\t".join(f"{name}:token" for name in required)
        raise DataError(
            f"{path}:1: the header must name every column as column:type (types: {', '.join(TYPES)}), "
            f"but got {wrong[0]!r}; write for instance {example!r}"
        )
    missing = [name for name in required if name not in names]
    if missing or len(set(names)) < len(names):
        raise DataError(
            f"{path}:1: the header must name {' and '.join(required)}, and no column twice, but got "
            f"{', '.join(names)}; correct the header"
        )
    return {name: kind for name, _, kind in parts}


def refuse_empty(table: AtomicTable, column: str) -> None:
    """Refuse a table with a line that has nothing in ``column``.

    Raises:
        DataError: naming the line.
    """
    if "" in table.columns[column]:
        empty = np.flatnonzero(np.array(table.columns[column], dtype=object) == "")
        raise DataError(table.problem(f"{column} must not be empty", empty, column, "fill it or remove the line"))
