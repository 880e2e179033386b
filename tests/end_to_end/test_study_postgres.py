"""A study in PostgreSQL, the choice where drivers share no folder: durable over the server's death, refused alike."""

import logging
import os
import threading
import time

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from platform.errors import Busy, InvalidSweep
from platform.space.check import space_of
from platform.storage.lease import hold
from platform.storage.lease_stores import DatabaseLease, Owner
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.study import Study
from platform.sweepfile.spec import load
from platform.tracking.errors import user_message

pytestmark = pytest.mark.slow

END = TrialEnd(State.COMPLETE, "finished", 1.0)


@pytest.fixture
def opened(sweep, postgres):
    """Call with overrides for the study of `curve` in one database, as a new driver opens it."""
    url = postgres.database()

    def opened(*overrides: str) -> Study:
        here = sweep(f"study={url}", "early_stopping={type: asha, min_reports: 1, reduction_factor: 3}", *overrides)
        return Study(here.spec, here.space, here.folder)

    return opened


def test_what_was_told_is_there_after_the_server_lost_power(opened, postgres):
    study = opened()
    first, second = study.ask(), study.ask()
    for report in (1, 2):
        assert study.judge(first.number, report, 0.5 + report / 10) is None
    study.tell(EndedTrial(first.number, END, (0.7,)))
    study.store_value(second.number, 1, 0.1)
    postgres.kill()
    postgres.begin()
    again = opened()
    assert [(t.state.name, t.intermediate_values) for t in again.trials()] == [
        ("COMPLETE", {1: 0.6, 2: 0.7}),
        ("RUNNING", {1: 0.1}),
    ]
    assert again.resume_running() == [second]


def test_a_database_that_is_started_again_is_waited_for(opened, postgres, caplog):
    study = opened()
    number = study.ask().number
    postgres.kill()
    later = threading.Timer(2.0, postgres.begin)
    later.start()
    with caplog.at_level(logging.WARNING):
        assert study.judge(number, 1, 0.5) is None
    later.join()
    assert "the study's database does not answer, tried again in 0.5 s" in caplog.text
    study.tell(EndedTrial(number, END, (0.5,)))
    assert [(t.state.name, t.intermediate_values) for t in opened().trials()] == [("COMPLETE", {1: 0.5})]


def test_a_user_whom_the_tracking_database_does_not_know_is_told(postgres):
    url = postgres.database().replace("//sweeps@", "//nobody@")
    with pytest.raises(OperationalError) as refused:
        create_engine(url).connect()
    said = user_message(refused.value)
    assert said.startswith("does not answer (connection failed: ")
    assert said.endswith('FATAL:  role "nobody" does not exist)')


def test_a_study_of_another_space_is_refused_with_what_differs(opened):
    opened().ask()
    with pytest.raises(InvalidSweep) as refused:
        opened("parameters.x={min: 0.0, max: 0.5}", "seed=3")
    seed, space = refused.value.problems
    rule = "name: a sweep must keep its space and search, but 'curve' has trials of another"
    assert seed.endswith(f"{rule} (seed: was 0, is 3); run this one under its own name: --set name=...")
    assert f"{rule} (space.parameters.x.max: was 1.0, is 0.5);" in space


def test_the_url_of_another_driver_that_is_not_installed_is_told(sweep, postgres):
    from platform.errors import SweepError

    here = sweep(f"study={postgres.database().replace('+psycopg', '+pg8000')}")
    with pytest.raises(SweepError, match=r"but got ModuleNotFoundError.*'pg8000'"):
        Study(load(here.file, [f"study={here.spec.study}"]), space_of(here.spec), here.folder)


def test_a_lease_lies_beside_the_study_by_the_servers_clock_and_survives_its_restart(sweep, postgres, tmp_path):
    url = postgres.database()
    here, elsewhere = sweep(f"study={url}"), sweep(f"study={url}", f"storage={tmp_path}/else")
    with hold(here.spec, here.folder, beat_s=0.1) as lease:
        words = rf"'curve' is held by process {os.getpid()} on .* \(last seen \d+ seconds ago\)"
        held = pytest.raises(Busy, match=words)
        with held, hold(elsewhere.spec, elsewhere.folder):
            pass
        wait_for_a_beat(url)
        postgres.kill()
        time.sleep(0.5)
        postgres.begin()
        lease.check()
        with held, hold(elsewhere.spec, elsewhere.folder):
            pass
        wait_for_a_beat(url)
    with hold(elsewhere.spec, elsewhere.folder):
        pass


def wait_for_a_beat(url: str) -> None:
    """Wait until the lease was seen within the last second."""
    place, deadline = DatabaseLease(url, "curve"), time.monotonic() + 60
    while (found := place.newest()) is None or found.age_s > 1:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_of_drivers_that_take_one_stale_lease_at_once_one_gets_it(postgres):
    url = postgres.database()
    first = DatabaseLease(url, "curve")
    assert first.take(owner("first"), None)
    found, places, taken = first.newest(), [DatabaseLease(url, "curve") for _ in range(6)], []
    barrier = threading.Barrier(len(places))

    def take(number: int) -> None:
        barrier.wait()
        if places[number].take(owner(str(number)), found):
            taken.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(len(places))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert not first.renew()
    assert [place.renew() for place in places].count(True) == 1
    for place in [first, *places]:
        place.release()


def owner(token: str) -> Owner:
    return Owner(token, "far", 1, "far/boot/pid", 0.0, time.time())
