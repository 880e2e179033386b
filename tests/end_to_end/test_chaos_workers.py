"""Worker processes are killed under a driver that lives: their trials go on in others, and none of them failed."""

import random

import pytest

from tests.chaos import Sweep, faults, kill_workers, trials_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def sweep(tmp_path, empty_store):
    made = Sweep(tmp_path, store=empty_store, deterministic=False)
    yield made
    made.end()


def test_trials_go_on_in_other_workers_and_none_has_failed(sweep):
    kill_workers(sweep, 3, random.Random(4))
    assert sweep.kills == 3
    assert faults(sweep) == []
    assert {state for _, state, *_ in trials_of(sweep).values()} <= {"COMPLETE", "PRUNED"}
    assert sweep.left(15) == []
