"""Item sequences of all users: one flat memory-mapped array of item numbers that all trials share."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data import atomic, synthetic
from trainables.data.config import Data, Duplicates
from trainables.data.interactions import read_interactions
from trainables.data.packed import Packed
from trainables.data.repeats import in_order, kept
from trainables.storage.stages import File, StageResult, Stages, stage

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sequences:
    """All interactions of one data set; user u's are ``items[offsets[u]:offsets[u + 1]]``, oldest first."""

    name: str
    fingerprint: str
    """Of the content (interactions in their order, titles; not the times), so the same on every machine and for every
    copy."""
    items: np.ndarray
    """int32, item numbers from 1; 0 is padding."""
    offsets: np.ndarray
    """int64, (users + 1,)."""
    num_items: int
    """I, the padding item 0 included."""
    titles: Sequence[str]
    """I titles, ``titles[0] == ""``."""
    ids: Sequence[str] = ()
    """I ids as the data set has them, ``ids[0] == ""``."""
    times: np.ndarray | None = None
    """float64 seconds, one for each of `items`; None where the column is missing or not on every line."""
    untimed: int = 0
    """Interactions without a time; where there are some, the file's order counts."""

    @property
    def num_users(self) -> int:
        """Number of users, including those with too few interactions for any split."""
        return len(self.offsets) - 1


def load(data: Data, stages: Stages) -> Sequences:
    """Return the interactions and titles of ``data``, parsed by whoever asks first and shared by all others.

    Inside a user the interactions are in order of time, equal times in file order; without a complete `timestamp`
    column they are in file order. Of repeated interactions, ``data.duplicates`` says which are left.

    Raises:
        DataError: the files are not there or break a rule, or nothing says which order counts.
    """
    titles = catalogue(data, stages)
    if data.name == synthetic.NAME:
        result = stages.get(synthetic_interactions, {"seed": synthetic.SEED, "titles": titles})
    else:
        folder = atomic.locate(data.name, data.root)
        result = stages.get(interactions, {"inter": File(folder / f"{data.name}.inter"), "titles": titles})
    untimed = int(result["untimed"][0]) if "untimed" in result else 0
    if data.duplicates != "keep":
        inputs = {"interactions": result, "titles": titles, "duplicates": data.duplicates}
        result = stages.get(without_repeats, inputs)
    times = result["times"]
    return Sequences(
        name=data.name,
        fingerprint=bytes(result["digest"]).hex()[:16],
        items=result["items"],
        offsets=result["offsets"],
        num_items=len(titles["title_ends"]),
        titles=Packed(titles["titles"], titles["title_ends"]),
        ids=Packed(titles["ids"], np.concatenate([[0], titles["id_ends"]])),
        times=times if len(times) == len(result["items"]) else None,
        untimed=untimed,
    )


def catalogue(data: Data, stages: Stages) -> StageResult:
    """Ids and titles of the items of ``data`` as packed strings: `titles`, `title_ends` (I,), `ids`, `id_ends`."""
    if data.name == synthetic.NAME:
        return stages.get(synthetic_catalogue, {"seed": synthetic.SEED})
    folder = atomic.locate(data.name, data.root)
    return stages.get(item_catalogue, {"item": File(folder / f"{data.name}.item")})


@stage(version=1)
def item_catalogue(item: Path) -> Arrays:
    """Stage: the catalogue in a `.item` file."""
    return _catalogue_arrays(*atomic.read_items(item))


@stage(version=1)
def synthetic_catalogue(seed: int) -> Arrays:
    """Stage: the catalogue of the built-in data set."""
    titles = synthetic.titles(seed)
    return _catalogue_arrays([str(number) for number in range(1, len(titles) + 1)], titles)


@stage(version=3)
def interactions(inter: Path, titles: Mapping[str, np.ndarray]) -> Arrays:
    """Stage: the interactions of a `.inter` file on the items of ``titles``."""
    ids = list(Packed(titles["ids"], titles["id_ends"]))
    read = read_interactions(inter, ids)
    return {**sequence_arrays(read.users, read.items, read.times, titles), "untimed": np.array([read.untimed])}


@stage(version=2)
def synthetic_interactions(seed: int, titles: Mapping[str, np.ndarray]) -> Arrays:
    """Stage: the interactions of the built-in data set."""
    return sequence_arrays(*synthetic.interactions(seed), titles)


def sequence_arrays(
    users: np.ndarray, items: np.ndarray, times: np.ndarray | None, titles: Mapping[str, np.ndarray]
) -> Arrays:
    """Group interactions by user, in order of time.

    Gives `items` int32, `times` float64 (empty where there are none), `offsets` int64 (users + 1,), `digest` uint8.

    Args:
        users: int64, numbered from 0 without gaps, in any order.
        items: int32, of the same length.
        times: float64 of the same length; None keeps the order given inside each user.
        titles: the catalogue, which the digest covers too.
    """
    order = in_order(users, times)
    return _packed(users[order], items[order], None if times is None else times[order], titles)


@stage(version=1)
def without_repeats(
    interactions: Mapping[str, np.ndarray], titles: Mapping[str, np.ndarray], duplicates: Duplicates
) -> Arrays:
    """Stage: the interactions that ``duplicates`` leaves."""
    items, times, lengths = interactions["items"], interactions["times"], np.diff(interactions["offsets"])
    users = np.repeat(np.arange(len(lengths)), lengths)
    stays = kept(users, items, duplicates)
    return _packed(users[stays], items[stays], times[stays] if len(times) else None, titles)


def _packed(users: np.ndarray, items: np.ndarray, times: np.ndarray | None, titles: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of interactions in their order; ``users`` ascend."""
    items = items.astype(np.int32, copy=False)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users))]).astype(np.int64)
    digest = hashlib.sha256()
    for array in (items, offsets, titles["titles"], titles["title_ends"]):
        digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "items": items,
        "times": np.zeros(0) if times is None else times.astype(np.float64, copy=False),
        "offsets": offsets,
        "digest": np.frombuffer(digest.digest(), np.uint8),
    }


def _catalogue_arrays(ids: list[str], titles: list[str]) -> Arrays:
    packed_ids, packed_titles = Packed.of(ids), Packed.of(["", *titles])
    return {
        "ids": packed_ids.content,
        "id_ends": packed_ids.ends,
        "titles": packed_titles.content,
        "title_ends": packed_titles.ends,
    }
