"""The driver is killed, or all of Ray, or it is told to end: the same command carries on and nothing is lost or double.

`tests/benchmarks/chaos.py` does the same for longer.
"""

import random
import signal

import pytest

from tests.chaos import Sweep, faults, kill_drivers, kill_ray, send_signals, trials_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The trials of the sweep where nothing dies, one at a time in one process."""
    sweep = Sweep(tmp_path_factory.mktemp("undisturbed"), sleep=0.0)
    sweep.finish(sweep.start("--address", "inline"))
    assert {state for _, state, *_ in trials_of(sweep).values()} == {"COMPLETE", "PRUNED"}
    return trials_of(sweep)


@pytest.fixture
def sweep(tmp_path, empty_store):
    made = Sweep(tmp_path, store=empty_store)
    yield made
    made.end()


def test_a_driver_killed_at_random_moments_loses_nothing(sweep, undisturbed):
    kill_drivers(sweep, 2, random.Random(3))
    assert sweep.kills == 2
    assert faults(sweep) == []
    assert trials_of(sweep) == undisturbed
    assert sweep.left(15) == []


def test_the_same_command_starts_ray_again_after_all_of_it_was_killed(sweep, undisturbed):
    assert kill_ray(sweep, 1, random.Random(1)) == [1]
    assert faults(sweep) == []
    assert trials_of(sweep) == undisturbed
    assert sweep.left(15) == []


def test_a_signal_ends_workers_and_locks(sweep, undisturbed):
    ends = send_signals(sweep, [signal.SIGTERM, signal.SIGHUP], random.Random(2), within=60)
    assert ends == [(143, []), (129, [])]
    assert faults(sweep) == []
    assert trials_of(sweep) == undisturbed
