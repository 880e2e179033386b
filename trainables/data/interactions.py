"""The `.inter` file: who met which item, and when. The order of a user's interactions is never guessed.

A `timestamp` on every line orders them. Where some lines have none, the file's order counts if each user's times
ascend in it, else the file is refused. Without any time the file's order counts, unless another column looks like one.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainables.data.atomic import AtomicTable, DataError, read_table, refuse_empty

_READ = ("user_id", "item_id", "timestamp")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_TIMES = {"time", "timestamp", "timestamps", "date", "datetime", "ts", "unix", "epoch", "created", "when", "stamp"}
_NO_TIMES = {"spent", "zone", "watch", "dwell", "play", "listen", "reading", "release", "birth", "of"}
"""Words of a length, a place or another event: `watch_time`, `time_zone`, `release_date`, `time_of_day`."""
_JOINED = re.compile(
    r"(unix|review|event|click|rating|order|purchase|visit|access|log|check|in)+(time|date|stamp|timestamp)"
)
_CLOCK = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{4}")
_UNIX_S, _UNIX_US = 1e8, 1e17
"""Unix times lie in between, from seconds since 1973 to microseconds; few other columns do on every line."""


class Interactions(NamedTuple):
    """The interactions of one file, in its order."""

    users: np.ndarray
    """int64, numbered from 0 in the order in which they first appear."""
    items: np.ndarray
    """int32, numbered from 1."""
    times: np.ndarray | None
    """float64 seconds; None where a line has none, so that the file's order counts."""
    untimed: int
    """Lines without a time."""
    columns: tuple[str, ...]
    """Columns of the file."""


def read_interactions(path: Path, ids: list[str]) -> Interactions:
    """Read a `.inter` file.

    Args:
        path: the file.
        ids: the items' ids; ``ids[n - 1]`` belongs to item n.

    Raises:
        DataError: a line breaks a rule, or nothing says which order counts.
    """
    table = read_table(path, ("user_id", "item_id"))
    refuse_empty(table, "user_id")
    tokens = table.columns["user_id"]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    users = np.fromiter(map(numbers.__getitem__, tokens), np.int64, len(tokens))
    number_of = {token: number for number, token in enumerate(ids, start=1)}
    tokens = table.columns["item_id"]
    items = np.fromiter((number_of.get(token, 0) for token in tokens), np.int32, len(tokens))
    if not items.all():
        rule = f"an item_id must be one of the {len(ids)} of {path.with_suffix('.item').name}"
        raise DataError(table.problem(rule, np.flatnonzero(items == 0), "item_id", "add the item or remove the line"))
    times, untimed = _times(table, users)
    return Interactions(users, items, times, untimed, tuple(table.columns))


def _times(table: AtomicTable, users: np.ndarray) -> tuple[np.ndarray | None, int]:
    """The times of all lines, None where one has none, and the number of lines without."""
    tokens = table.columns.get("timestamp", [])
    given = [token for token in tokens if token]
    if not given:
        _refuse_other_times(table)
        return None, len(users)
    try:
        times = np.array(given, dtype=np.float64)
    except ValueError:
        times = np.array([np.nan])
    if not np.isfinite(times).all():
        broken = np.array([row for row, token in enumerate(tokens) if token and not _is_finite(token)])
        raise DataError(
            table.problem("a timestamp must be a finite number or empty", broken, "timestamp", "correct the line")
        )
    _refuse_mixed_units(table, times)
    if len(times) == len(tokens):
        return times, 0
    timed = np.fromiter(map(bool, tokens), bool, len(tokens))
    _refuse_descending(table, users, np.flatnonzero(timed), times)
    return None, len(tokens) - len(times)


def _refuse_mixed_units(table: AtomicTable, times: np.ndarray) -> None:
    """Refuse unix seconds beside milliseconds, and beside either a number below 1, which stands for no time."""
    seconds, thousandths, absent = (
        (times >= low) & (times < high) for low, high in ((5e8, 5e9), (5e11, 5e12), (-np.inf, 1))
    )
    if not (seconds | thousandths | absent).all() or seconds.all() or thousandths.all() or absent.all():
        return
    odd = absent if absent.any() else seconds if seconds.sum() < thousandths.sum() else thousandths
    rows = np.flatnonzero([bool(token) for token in table.columns["timestamp"]])[odd]
    rule = "timestamps must be unix times of one unit, empty where there is none"
    raise DataError(table.problem(rule, rows, "timestamp", "correct the line, or leave its timestamp empty"))


def _refuse_descending(table: AtomicTable, users: np.ndarray, rows: np.ndarray, times: np.ndarray) -> None:
    """Refuse a file with untimed lines in which some user's times, of the lines ``rows``, do not ascend."""
    order = np.argsort(users[rows], kind="stable")
    rows, times = rows[order], times[order]
    later = np.flatnonzero((users[rows[1:]] == users[rows[:-1]]) & (times[1:] < times[:-1]))
    if not len(later):
        return
    untimed = np.setdiff1d(np.arange(len(users)), rows)
    first = later[np.argmin(rows[later + 1])]
    lines = ", ".join(str(row + 2) for row in untimed[:10]) + (", ..." if len(untimed) > 10 else "")
    raise DataError(
        f"{table.path}:{untimed[0] + 2}: every line must have a timestamp unless each user's ascend where they stand, "
        f"but {len(untimed)} of {len(users)} lines have none (line {lines}), and line {rows[first + 1] + 2} is older "
        f"than line {rows[first] + 2} of the same user; fill the timestamps, or sort each user's lines by time and put "
        "the untimed ones where they belong"
    )


def _refuse_other_times(table: AtomicTable) -> None:
    """Refuse a file without a timestamp whose other columns look like times, by name or by content."""
    found = [name for name in table.columns if name not in _READ and (_says_time(name) or _holds_times(table, name))]
    if found:
        raise DataError(
            f"{table.path}:1: times must be in a column timestamp, or the file's order counts, but got "
            f"{', '.join(found)}, which {'looks' if len(found) == 1 else 'look'} like a time; rename the column to "
            "timestamp:float and write unix seconds, or remove it if the lines are in order already"
        )


def _says_time(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return not _NO_TIMES & {*words} and any(word in _TIMES or _JOINED.fullmatch(word) for word in words)


def _holds_times(table: AtomicTable, name: str) -> bool:
    """True if each value of a column is a date, or in a column of numbers a unix time."""
    values = [value for value in table.columns[name] if value]
    if not values:
        return False
    if table.types[name] == "float":
        return all(_is_finite(value) and _UNIX_S <= float(value) < _UNIX_US for value in values)
    return all(map(_CLOCK.match, values))


def _is_finite(token: str) -> bool:
    try:
        return bool(np.isfinite(float(token)))
    except ValueError:
        return False
