"""Public dumps, line by line: who met which item and when, and what the items are called.

Amazon 2014 (reviews JSON lines, metadata Python literals), Amazon 2018 and 2023 (JSON lines both), MIND (tab-separated
`behaviors.tsv` and `news.tsv`). Files may be gzipped. Only ids, times and ratings are held. No line is executed.
"""

import ast
import codecs
import datetime
import functools
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.data.atomic import DataError

Event = tuple[str, str, float, float]
"""User, item, unix seconds (not a number where the dump has no time: those came first, in this order), rating (not a
number where there is none)."""

UNKNOWN = float("nan")
LARGEST = 1e18
LONGEST_LINE = 2**22
"""Bytes of a line. Amazon's longest products have some 100 KB; Python's parser takes a hundred times a line's size."""
MIND_FIELDS = ("impression id", "user", "time", "history", "impressions")
NEWS_AFTER_TITLE = 4
MIND_TIME = "%m/%d/%Y %I:%M:%S %p"


@dataclass(frozen=True)
class Format:
    """Readers of one kind of dump."""

    events: Callable[[Sequence[Path]], Iterator[Event]]
    """Of all files together: what a user brings along from before may be told in several of them."""
    titles: Callable[[Path], Iterator[tuple[str, str]]]
    """Item and title, "" where the dump has none."""
    rated: bool = True


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank, a byte order mark left out; gzip is told by its first two bytes.

    Raises:
        DataError: the file cannot be read to its end, or is not UTF-8.
    """
    number = 0
    try:
        with path.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            if stream.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):
                stream.read(len(codecs.BOM_UTF8))
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    rule = f"{path}:{number}: a line must have at most {LONGEST_LINE // 2**20} MiB"
                    raise DataError(f"{rule}, but has more; is the file a dump?")
                text = line.decode().rstrip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: a line must be UTF-8, but it is not ({error}); convert the file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}:{number + 1}: a dump must be readable to its end, but it is not ({error}); download it again"
        ) from error


def _records(path: Path, parse: Callable[[str], Any], form: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in lines(path):
        try:
            record = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise _wrong(path, number, f"a line must be {form}", text, "remove it or get the file again") from error
        if not isinstance(record, dict):
            raise _wrong(path, number, f"a line must be {form}", text, "is the file of another --format?")
        yield number, record


def _field(path: Path, number: int, record: dict[str, Any], key: str) -> Any:
    if key not in record:
        raise DataError(
            f"{path}:{number}: a line must have the key {key}, but has {', '.join(map(str, record)) or 'none'}; "
            "is the file of another --format?"
        )
    return record[key]


def _token(path: Path, number: int, key: str, value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _wrong(path, number, f"{key} must be text without control characters", value, "correct or remove it")
    return value


def _number(path: Path, number: int, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        raise _wrong(path, number, f"{key} must be a finite number", value, "correct or remove the line")
    return float(value)


def _wrong(path: Path, number: int, rule: str, got: object, remedy: str) -> DataError:
    shown = repr(got)
    return DataError(f"{path}:{number}: {rule}, but got {shown if len(shown) < 80 else shown[:76] + '...'}; {remedy}")


def _review_events(
    paths: Sequence[Path], user: str, item: str, time: str, per_second: int, rating: str
) -> Iterator[Event]:
    for path in paths:
        for number, record in _records(path, json.loads, "a JSON object"):
            value = functools.partial(_field, path, number, record)
            yield (
                _token(path, number, user, value(user)),
                _token(path, number, item, value(item)),
                _number(path, number, time, value(time)) / per_second,
                _number(path, number, rating, record[rating]) if rating in record else UNKNOWN,
            )


def _product_titles(path: Path, item: str, parse: Callable[[str], Any], form: str) -> Iterator[tuple[str, str]]:
    for number, record in _records(path, parse, form):
        title = record.get("title")
        if isinstance(title, float) and math.isnan(title):
            title = str(title)
        if title is not None and not isinstance(title, str):
            raise _wrong(path, number, "title must be text", title, "correct or remove the line")
        yield _token(path, number, item, _field(path, number, record, item)), title or ""


def _click_events(paths: Sequence[Path], with_history: bool) -> Iterator[Event]:
    """Clicked impressions, and the history that a user brings to the earliest impression of all files, without times.

    Train and dev both tell it, and dev's may hold clicks of train.
    """
    earliest = dict[str, tuple[float, str]]()
    for user, time, history, clicked in (impression for path in paths for impression in _impressions(path)):
        if with_history and (user not in earliest or time < earliest[user][0]):
            earliest[user] = (time, history)
        for item in clicked:
            yield user, item, time, UNKNOWN
    for user, (_, history) in earliest.items():
        for item in history.split():
            yield user, item, UNKNOWN, UNKNOWN


def _impressions(path: Path) -> Iterator[tuple[str, float, str, list[str]]]:
    """User, unix seconds, history and clicked items of each line."""
    for number, text in lines(path):
        fields = text.split("\t")
        if len(fields) != len(MIND_FIELDS):
            rule = f"a line must have {len(MIND_FIELDS)} tab-separated fields ({', '.join(MIND_FIELDS)})"
            raise _wrong(path, number, rule, len(fields), "is the file of another --format?")
        _, user, clock, history, impressions = fields
        try:
            time = datetime.datetime.strptime(clock, MIND_TIME).replace(tzinfo=datetime.UTC).timestamp()
        except ValueError as error:
            rule = "the time must be as in 11/15/2019 8:55:22 AM"
            raise _wrong(path, number, rule, clock, "correct or remove the line") from error
        clicked = []
        for impression in impressions.split():
            item, _, label = impression.rpartition("-")
            if not item or label not in ("0", "1"):
                rule = "impressions must be an item, a hyphen and 1 (clicked) or 0"
                raise _wrong(path, number, rule, impression, "use files with labels (train, dev)")
            if label == "1":
                clicked.append(item)
        yield _token(path, number, "user", user), time, history, clicked


def _news_titles(path: Path) -> Iterator[tuple[str, str]]:
    """Fields past the eighth are of tabs in the title, which then ends before the abstract, url and entities."""
    for number, text in lines(path):
        fields = text.split("\t")
        if len(fields) < 4:
            rule = "a line must have 4 tab-separated fields or more (id, category, subcategory, title)"
            raise _wrong(path, number, rule, len(fields), "is the file of another --format?")
        yield _token(path, number, "id", fields[0]), "\t".join(fields[3 : max(4, len(fields) - NEWS_AFTER_TITLE)])


def _amazon(user: str, item: str, time: str, per_second: int, rating: str, literal: bool = False) -> Format:
    parse, form = (ast.literal_eval, "a Python literal of a dict") if literal else (json.loads, "a JSON object")
    return Format(
        functools.partial(_review_events, user=user, item=item, time=time, per_second=per_second, rating=rating),
        functools.partial(_product_titles, item=item, parse=parse, form=form),
    )


FORMATS = {
    "amazon-2014": _amazon("reviewerID", "asin", "unixReviewTime", 1, "overall", literal=True),
    "amazon-2018": _amazon("reviewerID", "asin", "unixReviewTime", 1, "overall"),
    "amazon-2023": _amazon("user_id", "parent_asin", "timestamp", 1000, "rating"),
    "mind": Format(functools.partial(_click_events, with_history=True), _news_titles, rated=False),
    "mind-clicks": Format(functools.partial(_click_events, with_history=False), _news_titles, rated=False),
}
"""`mind` takes what a user read before (its order is known, its times are not) and the clicks; `mind-clicks` the clicks
alone, which all have times."""
