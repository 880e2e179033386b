"""From a public dump to RecBole atomic files, with the papers' own filters.

Filters, in this order: low ratings; items that the metadata do not list, or give no title; repeats; then users and
items with too few interactions, again and again until none is left. Where the dump is a k-core already this is "drop
the untitled, then k-core again"; one pass over a raw dump ends at the same set, as a k-core is the largest there is.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data import synthetic
from trainables.data.atomic import DataError
from trainables.data.config import Data, Duplicates
from trainables.data.dumps import FORMATS, Format, lines
from trainables.data.facts import facts
from trainables.data.log import Log, read_log
from trainables.data.repeats import adjacent, count_again, kept
from trainables.data.sequences import Sequences
from trainables.data.splits import shortage, split
from trainables.data.titles import clean, told


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of a dump. The defaults are those of SpecTran and HatLLM."""

    min_rating: float | None = None
    """Interactions rated lower are dropped; None keeps all."""
    drop_untitled: bool = True
    """True drops items without a title. Items that the metadata do not list are always dropped."""
    k_core: int = 5
    """Interactions that every user and every item must have at least."""
    min_user: int = 1
    """Interactions that every user must have at least; items may have fewer."""
    duplicates: Duplicates = "keep"
    """Treatment of interactions with an item that the user met before. One that stands in the dump twice with one time
    is right after the other, so that `drop-adjacent` drops it too."""


RECIPES = {
    "spectran": Filters(),
    "hatllm": Filters(),
    "pad": Filters(min_rating=4, drop_untitled=False, k_core=1, min_user=5),
}
"""The papers' filters by name. What SpecTran and PAD cut off besides is `data.keep_last` (13 and 23). All keep repeats:
PAD's Prime Pantry has 5,127 among its 115,004 interactions, the 2014 sets of the others have none."""

PROTOCOLS = {
    "spectran": Data(),
    "hatllm": Data(split="time", keep_last=None),
    "pad": Data(keep_last=23, max_history=20, mask_seen=True),
}
"""The papers' splits by the same names, for the facts that are told of a new data set."""


def prepare(
    kind: str,
    reviews: list[Path],
    meta: list[Path],
    out: Path,
    name: str,
    filters: Filters,
    notify: Callable[[str], None],
    protocol: Data = PROTOCOLS["spectran"],
) -> None:
    """Write `<out>/<name>/<name>.item` and `.inter`.

    A user's lines are in the order of :class:`Log`, as `data.sequences` keeps them; where there is no time,
    `timestamp` stays empty. Items are in ascending order of their ids. An item's title is the last one given that is a
    title, as :mod:`~trainables.data.titles` has it.

    Args:
        kind: a key of ``FORMATS``.
        reviews: files of interactions.
        meta: files of titles.
        out: folder of data sets.
        name: of the new one; it must not be there yet.
        filters: what to leave out.
        notify: is told what is left after each step, the repeats and the facts of the test rows.
        protocol: how the data will be split, for these facts.

    Raises:
        DataError: a file breaks a rule, the data set is there already, or nothing is left.
    """
    folder = _target(out, name)
    if filters.min_rating is not None and not FORMATS[kind].rated:
        raise DataError(
            f"--min-rating: must be left out for {kind}, which has no ratings, but got {filters.min_rating}"
        )
    missing = [str(path) for path in (*reviews, *meta) if not path.is_file()]
    if missing:
        raise DataError(f"--reviews and --meta: must be files, but {', '.join(missing)} is not there; correct the path")
    _refuse_misplaced(FORMATS[kind], reviews, meta)
    log = read_log(FORMATS[kind].events(reviews))
    if not len(log.user_N):
        files = ", ".join(map(str, reviews))
        raise DataError(f"--reviews: must hold interactions, but {files} has none; get the file again")
    keep_N = np.ones(len(log.user_N), bool)
    notify(f"read: {_size(log, keep_N)}")
    notify(f"repeats ({filters.duplicates}): {_repeats(log)}")
    titles, wrong = _titles((pair for path in meta for pair in FORMATS[kind].titles(path)), set(log.items))
    if wrong:
        notify(f"titles of {len(titles)} items: {told(wrong)}")
    for what, kept_N in _filtered(log, titles, filters):
        keep_N = kept_N
        notify(f"{what}: {_size(log, keep_N)}")
        if not keep_N.any():
            raise DataError(f"{name}: an interaction must pass all filters, but none has {what}; relax that filter")
    _write(folder, name, log, keep_N, titles)
    if sentence := _facts(name, log, keep_N, protocol):
        notify(sentence)
    notify(f"wrote {folder}")


def _repeats(log: Log) -> str:
    """Say how many records stand again."""
    adjacent_N = adjacent(log.user_N, log.item_N)
    same = int(np.count_nonzero(log.time_N[adjacent_N] == log.time_N[np.flatnonzero(adjacent_N) - 1]))
    return (
        f"{same} records stand again with the same user, item and time, {count_again(log.user_N, log.item_N)} with the "
        f"same user and item, {int(adjacent_N.sum())} of them right after each other"
    )


def _facts(name: str, log: Log, keep_N: np.ndarray, protocol: Data) -> str | None:
    """The facts of the test rows under ``protocol``, by `leave_one_out` if it needs times that are not there."""
    user_N, item_N, time_N = log.user_N[keep_N], log.item_N[keep_N], log.time_N[keep_N]
    is_timed = not np.isnan(time_N).any()
    if protocol.split == "time" and not is_timed:
        protocol = dataclasses.replace(protocol, split="leave_one_out")
    starts = np.flatnonzero(np.diff(user_N, prepend=-1))
    number_I = np.cumsum(np.bincount(item_N, minlength=len(log.items)) > 0)
    sequences = Sequences(
        name=name,
        fingerprint="",
        items=number_I[item_N].astype(np.int32),
        offsets=np.append(starts, len(user_N)),
        num_items=int(number_I[-1]) + 1,
        titles=(),
        times=time_N if is_timed else None,
    )
    if shortage(np.diff(sequences.offsets), protocol):
        return None
    return f"{protocol.split}: {facts(sequences, split(sequences, protocol)).sentence()}"


def _titles(given: Iterable[tuple[str, str]], wanted: set[str]) -> tuple[dict[str, str], dict[str, int]]:
    """Clean titles of the wanted items, the last of each that is one, and how many had what wrong with them."""
    titles, wrong = dict[str, str](), dict[str, str | None]()
    for item, title in given:
        if item in wanted:
            text, problem = clean(title)
            if text or not titles.get(item):
                titles[item] = text.encode(errors="replace").decode()
                if text or problem:
                    wrong[item] = problem
    return titles, dict(Counter(filter(None, wrong.values())))


def _refuse_misplaced(dump: Format, reviews: list[Path], meta: list[Path]) -> None:
    """Refuse files that are empty or in each other's place."""
    for option, path in [*(("--reviews", path) for path in reviews), *(("--meta", path) for path in meta)]:
        if next(lines(path), None) is None:
            raise DataError(f"{option}: a file must hold a line, but {path} is empty; get the file again")
    swapped = [path for path in meta if _holds_interactions(dump, path)]
    if swapped:
        others = [path for path in reviews if not _holds_interactions(dump, path)]
        remedy = f"swap it with {others[0]}" if others else "name the file of titles"
        raise DataError(f"--meta: must hold titles, but {swapped[0]} holds interactions; {remedy}")


def _holds_interactions(dump: Format, path: Path) -> bool:
    try:
        return next(dump.events([path]), None) is not None
    except DataError:
        return False


def core(user_N: np.ndarray, item_N: np.ndarray, least_user: int, least_item: int) -> np.ndarray:
    """Drop users and items with too few interactions until none is left: bool (N,), True for those that stay."""
    keep_N = np.ones(len(user_N), bool)
    while True:
        enough_N = (np.bincount(user_N[keep_N], minlength=user_N.max(initial=0) + 1) >= least_user)[user_N]
        enough_N &= (np.bincount(item_N[keep_N], minlength=item_N.max(initial=0) + 1) >= least_item)[item_N]
        if not (keep_N & ~enough_N).any():
            return keep_N
        keep_N &= enough_N


def _filtered(log: Log, titles: dict[str, str], filters: Filters) -> Iterator[tuple[str, np.ndarray]]:
    """After each filter, its name and which interactions are left."""
    keep_N = np.ones(len(log.user_N), bool)
    if filters.min_rating is not None:
        unrated = int(np.isnan(log.rating_N).sum())
        if unrated:
            raise DataError(
                f"--min-rating: needs a rating on every line, but {unrated} of {len(keep_N)} have none; leave it out"
            )
        keep_N = log.rating_N >= filters.min_rating
        yield f"rating {filters.min_rating:g} or more", keep_N
    listed = np.array([item in titles for item in log.items], bool)
    keep_N = keep_N & listed[log.item_N]
    yield "items in the metadata", keep_N
    if filters.drop_untitled:
        titled = np.array([bool(titles.get(item)) for item in log.items], bool)
        keep_N = keep_N & titled[log.item_N]
        yield "items with a title", keep_N
    keep_N = keep_N.copy()
    if filters.duplicates != "keep":
        keep_N[keep_N] = kept(log.user_N[keep_N], log.item_N[keep_N], filters.duplicates)
        yield f"repeats left out ({filters.duplicates})", keep_N
    least_user = max(filters.k_core, filters.min_user)
    while True:
        keep_N[keep_N] = core(log.user_N[keep_N], log.item_N[keep_N], least_user, filters.k_core)
        stays_N = kept(log.user_N[keep_N], log.item_N[keep_N], filters.duplicates)
        if stays_N.all():
            break
        keep_N[keep_N] = stays_N  # what the core has dropped stood between them
    yield f"users with {least_user} or more, items with {filters.k_core} or more", keep_N


def _size(log: Log, keep_N: np.ndarray) -> str:
    users, items = (len(np.unique(column[keep_N])) for column in (log.user_N, log.item_N))
    return f"{users} users, {items} items, {int(keep_N.sum())} interactions"


def _target(out: Path, name: str) -> Path:
    try:
        Data(name=name)
    except ValueError as error:
        raise DataError(f"--name: {error}") from error
    if name == synthetic.NAME:
        raise DataError(f"--name: must not be {name!r}, which is built in; choose another name")
    if (out / name / f"{name}.inter").exists():
        raise DataError(f"--name: a data set must be new, but {out / name} is there; remove it or choose another name")
    return out / name


def _write(folder: Path, name: str, log: Log, keep_N: np.ndarray, titles: dict[str, str]) -> None:
    """Write both files, `.inter` last: without it there is no data set."""
    left = sorted(log.items[number] for number in np.unique(log.item_N[keep_N]).tolist())
    _publish(folder / f"{name}.item", "item_id:token\ttitle:token_seq", (f"{item}\t{titles[item]}" for item in left))
    columns = (column[keep_N].tolist() for column in (log.user_N, log.item_N, log.time_N))
    _publish(
        folder / f"{name}.inter",
        "user_id:token\titem_id:token\ttimestamp:float",
        (f"{log.users[user]}\t{log.items[item]}\t{_seconds(time)}" for user, item, time in zip(*columns, strict=True)),
    )


def _seconds(time: float) -> str:
    if time != time:
        return ""
    return str(int(time)) if time.is_integer() else repr(time)


def _publish(path: Path, header: str, rows: Iterable[str]) -> None:
    """Write under another name, then rename into place."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(header + "\n")
            stream.writelines(row + "\n" for row in rows)
            stream.flush()
            os.fsync(stream.fileno())
        draft.rename(path)
    except OSError as error:
        raise DataError(f"--out: must be a folder to write to, but {path} is not ({error}); choose another") from error
