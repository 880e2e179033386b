"""Facts of the test rows, counted by hand and on the public sets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.data.test_real import real
from trainables.data.config import Data
from trainables.data.facts import facts
from trainables.data.sequences import Sequences, load
from trainables.data.splits import split
from trainables.storage.stages import Stages

DAY = 86_400.0


def test_facts_of_three_users_by_hand(sequences_of: Callable[..., Sequences]) -> None:
    """Training parts 1 2 3, 4 2 5 and 3 6; last items and targets 2 -> 3 (one step), 4 -> 3 (two), 1 -> 1 (none)."""
    users = [[1, 2, 3, 2, 3], [4, 2, 5, 4, 3], [3, 6, 1, 1]]
    times = [[DAY * step for step in range(len(user))] for user in users]
    times[0][-1] = times[0][-2] + DAY / 2
    sequences = sequences_of(users, times)
    found = facts(sequences, split(sequences, Data()))
    assert (found.interactions, found.repeats, found.targets) == (14, 4, 3)
    assert (found.targets_in_history, found.targets_as_last) == (2, 1)
    assert (found.same_date, found.one_step, found.two_steps) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found.sentence() == (
        "4 of 14 interactions repeat an item of the user; of 3 test targets, 2 are in the history already, 1 as its "
        "last item, 33.3% have the last item's date, 33.3% are one step from the last item in the training graph, "
        "33.3% two"
    )
    untimed = sequences_of(users)
    assert facts(untimed, split(untimed, Data())).same_date is None


def test_beautys_targets_by_time_are_partly_baskets_of_one_day(tmp_path: Path) -> None:
    data = real("amazon-beauty-2014", split="time", keep_last=None, eval_rows=5000)
    sequences = load(data, Stages(tmp_path))
    found = facts(sequences, split(sequences, data))
    assert found.same_date == pytest.approx(0.398, abs=5e-4)
    assert (round(found.one_step, 3), round(found.two_steps, 3)) == (0.040, 0.074)
    assert (found.repeats, found.targets_in_history) == (0, 0)
