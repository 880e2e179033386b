"""Fixtures of the worker's tests: a folder of stages, sequences from lists."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from trainables.data.sequences import Sequences
from trainables.storage.stages import Stages

MakeSequences = Callable[..., Sequences]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """Stages that the tests of one file share."""
    return Stages(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="session")
def sequences_of() -> MakeSequences:
    """Call with each user's items, and their times where they matter, for a `Sequences`."""

    def make(users: list[list[int]], times: list[list[float]] | None = None, fingerprint: str = "made up") -> Sequences:
        items = np.array([item for user in users for item in user], np.int32)
        return Sequences(
            name="made up",
            fingerprint=fingerprint,
            items=items,
            offsets=np.cumsum([0, *map(len, users)]),
            num_items=10,
            titles=[""] * 10,
            times=None if times is None else np.array([time for user in times for time in user], np.float64),
        )

    return make


@pytest.fixture(scope="session")
def with_other_times() -> Callable[[Sequences], Sequences]:
    """Call with a `Sequences` for the same interactions in the same order, whole users moved in time."""

    def move(sequences: Sequences) -> Sequences:
        lengths_U = np.diff(sequences.offsets)
        day_U = np.random.default_rng(0).permutation(len(lengths_U)) * 1e5
        return dataclasses.replace(sequences, times=np.repeat(day_U, lengths_U) + np.arange(lengths_U.sum()) * 1e-3)

    return move
