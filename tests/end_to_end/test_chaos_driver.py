"""The driver is killed, or all of Ray, or it is told to end: the same command carries on and nothing is lost or double.

`tests/benchmarks/chaos.py` does the same for longer.
"""

import random
import shutil
import signal

import pytest

from tests.chaos import Sweep, faults, kill_drivers, kill_ray, send_signals, study_of, trials_of

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


GROWN = """\
warm_start: [small]
compare: {by: [width]}
seeds: {values: [0, 1, 2], best: 1}
"""
REPORT = "platform.runners.ledger.Ledger.report"
INLINE = ("--address", "inline")


@pytest.fixture(scope="module")
def grow(tmp_path_factory, empty_store):
    """Call with a folder for a sweep in three cells, with further seeds for each best, that knows an earlier sweep."""
    small = Sweep(tmp_path_factory.mktemp("small"), trials=5, sleep=0.0, store=empty_store)
    small.finish(small.start(*INLINE, "--set", "name=small", "--set", "method=random"))

    def grow(folder):
        sweep = Sweep(folder, sleep=0.0, store=empty_store, more=GROWN, further=6)
        shutil.copytree(small.home.with_name("small"), sweep.home.with_name("small"))
        return sweep

    return grow


@pytest.fixture(scope="module")
def grown(grow, tmp_path_factory):
    """The sweep where nothing dies."""
    sweep = grow(tmp_path_factory.mktemp("grown"))
    sweep.finish(sweep.start(*INLINE))
    return sweep


def all_of(sweep):
    """All that the study has of each trial but times, and the files that are kept of earlier ones."""
    copies = sweep.home / "earlier"
    kept = {str(path.relative_to(copies)) for path in copies.rglob("*")}
    assert {f"small/trials/{number}/trial.json" for number in range(5)} < kept
    times = {"end": None, "started": None}
    trials = [
        (t.number, t.state, t.params, t.values, t.intermediate_values, t.system_attrs, t.user_attrs | times)
        for t in study_of(sweep)
    ]
    return trials, kept


@pytest.mark.parametrize(
    "kills",
    [
        [("optuna.Study.ask", 4), (REPORT, 9)],
        [("optuna.Study.enqueue_trial", 9), ("platform.study.view.View.of_seeds", 3), (REPORT, 9)],
        [("platform.storage.trial_record.read_history", 3), ("shutil.copy", 9), ("optuna.Study.add_trial", 2)],
    ],
    ids=["turn of a cell", "runs with further seeds", "reading of an earlier sweep"],
)
def test_a_kill_in_the_middle_of_what_is_derived_leaves_nothing_double(grow, grown, tmp_path, kills):
    """The kills come one after the other in the same sweep, each right before the n-th call of a function."""
    sweep = grow(tmp_path)
    for killed in kills:
        driver = sweep.start(*INLINE, killed=killed)
        out, err = driver.communicate(timeout=60)
        assert driver.returncode == -signal.SIGKILL, (killed, out, err)
        sweep.note_kill()
    sweep.finish(sweep.start(*INLINE))
    assert faults(sweep) == faults(grown) == []
    assert all_of(sweep) == all_of(grown)
