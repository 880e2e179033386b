"""One driver a sweep: who holds it, who may take it over, and what one that was taken over notices."""

import json
import multiprocessing
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from platform.errors import Busy, SweepError
from platform.storage import lease as leases
from platform.storage.lease import hold
from platform.storage.lease_stores import DatabaseLease, FolderLease, in_storage
from trainables.storage.mirror import DRIVER, local_path

FOREIGN = {"host": "far", "place": "far/boot/pid", "pid": os.getpid()}


@pytest.fixture(params=["folder", "bucket", "database"])
def place(request, tmp_path):
    """Call for another driver's view of one lease, in each of the stores."""
    if request.param == "folder":
        return lambda: FolderLease(tmp_path)
    if request.param == "bucket":
        folder = local_path(f"{request.getfixturevalue('bucket')}/runs/curve", DRIVER)
        return lambda: in_storage(folder)
    return lambda: DatabaseLease(f"sqlite:///{tmp_path}/leases.db", "curve")


@pytest.fixture
def held(sweep):
    """Call with overrides and times for the lease of the sweep `curve`, as a new driver takes it."""

    def held(*overrides: str, **times: float):
        here = sweep(*overrides)
        return hold(here.spec, here.folder, **times)

    return held


def owner(**changes):
    return replace(leases._this_process(), **changes)


def _hold(spec, folder, is_held, done) -> None:
    with hold(spec, folder):
        is_held.set()
        done.wait(60)


@pytest.fixture
def other(sweep):
    """Another process that holds the sweep; `done` ends it."""
    here, context = sweep(), multiprocessing.get_context("fork")
    is_held, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(here.spec, here.folder, is_held, done))
    process.start()
    assert is_held.wait(30)
    yield process, done
    process.kill()
    process.join()


def test_a_held_sweep_names_its_driver_and_is_free_when_it_ends(held, other, tmp_path):
    process, done = other
    with pytest.raises(Busy) as busy, held():
        pass
    assert f"'curve' is held by process {process.pid} on {os.uname().nodename} since 0 minutes (last seen " in str(
        busy.value
    )
    assert str(busy.value).endswith(" seconds ago); wait for it, or end it")
    assert busy.value.exit_code == 3
    done.set()
    process.join()
    with held():
        (file,) = (tmp_path / "runs" / "curve").iterdir()
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert list((tmp_path / "runs" / "curve").iterdir()) == []


def test_a_driver_of_this_machine_that_was_killed_holds_nothing(held, other):
    process, _ = other
    process.kill()
    process.join()
    with held():
        pass


def test_a_pid_that_was_given_to_another_process_holds_nothing(held, tmp_path):
    folder = tmp_path / "runs" / "curve"
    with held():
        pass
    assert FolderLease(folder).take(owner(born=1.0), None)
    with held():
        pass


def test_a_driver_of_another_machine_holds_its_sweep_until_it_has_been_silent(held, sweep):
    folder = sweep().folder
    assert FolderLease(folder).take(owner(**FOREIGN), None)
    with pytest.raises(Busy, match=r"held by process \d+ on far since 0 minutes \(last seen 0 seconds ago\)"), held():
        pass
    an_hour_ago = time.time() - 3600
    os.utime(folder / "lease.1", (an_hour_ago, an_hour_ago))
    with held():
        assert [path.name for path in folder.iterdir()] == ["lease.2"]


def test_the_sweep_is_free_after_an_error(held):
    with pytest.raises(KeyError), held():
        raise KeyError
    with held():
        pass


def test_a_lease_can_be_taken_once(place):
    first, second = place(), place()
    assert first.newest() is None
    assert first.take(owner(token="a"), None)
    assert not second.take(owner(token="b"), None)
    assert second.newest().owner.token == "a"
    first.release()
    assert second.newest() is None
    assert second.take(owner(token="b"), None)


def test_a_stale_lease_is_taken_over_by_one_and_its_holder_notices(place):
    holder, one, two = place(), place(), place()
    assert holder.take(owner(token="a"), None)
    assert holder.renew()
    found = one.newest()
    assert one.take(owner(token="b"), found)
    assert not two.take(owner(token="c"), found)
    assert not holder.renew()
    holder.release()
    assert one.renew()
    assert two.newest().owner.token == "b"


def test_of_many_that_take_a_lease_at_once_one_gets_it(place):
    barrier, taken = threading.Barrier(6), []
    stores = [place() for _ in range(6)]

    def take(number: int) -> None:
        barrier.wait()
        if stores[number].take(owner(token=str(number)), None):
            taken.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert stores[0].newest().owner.token == str(taken[0])


def test_a_beat_is_a_sign_of_life(place):
    here = place()
    here.take(owner(), None)
    time.sleep(1.2)  # a database's clock has whole seconds
    before = here.newest().age_s
    assert here.renew()
    assert here.newest().age_s < before


def test_a_lease_that_is_being_written_is_somebody_elses(held, sweep):
    (sweep().folder / "lease.1").write_text("")
    with pytest.raises(Busy, match=r"'curve' is held by another driver, last seen 0 seconds ago"), held():
        pass


class Clock:
    """In place of the lease's clock: `pass_` lets it go on."""

    def __init__(self, monkeypatch) -> None:
        self._now = 1000.0
        monkeypatch.setattr(time, "clock_gettime", lambda which: self._now)

    def pass_(self, seconds: float) -> None:
        self._now += seconds


def test_a_driver_that_was_taken_over_is_told_so_before_it_writes(held, sweep, monkeypatch):
    folder, clock = sweep().folder, Clock(monkeypatch)
    with held(beat_s=3600.0, stale_s=60.0) as lease:
        lease.check()
        other = FolderLease(folder)
        assert other.take(owner(**FOREIGN), other.newest())
        clock.pass_(29)
        lease.check()  # within the time for which nobody may take it over
        clock.pass_(2)
        with pytest.raises(Busy, match=r"'curve' was taken over by process \d+ on far since 0 minutes"):
            lease.check()
        assert lease.is_lost
    newest = other.newest()
    assert newest is not None
    assert newest.owner is not None
    assert newest.owner.host == "far"


def test_a_storage_that_is_silent_for_too_long_ends_the_driver(held, monkeypatch):
    def broken(self: FolderLease) -> bool:
        raise OSError(5, "Input/output error")

    clock = Clock(monkeypatch)
    with held(beat_s=3600.0, stale_s=60.0) as lease:
        monkeypatch.setattr(FolderLease, "renew", broken)
        clock.pass_(59)
        lease.check()
        clock.pass_(2)
        for _ in range(2):  # whoever asks again is told the same
            told = r"storage: must answer while a sweep runs, but did not for 61 seconds"
            with pytest.raises(SweepError, match=told) as silent:
                lease.check()
            assert silent.value.exit_code == 1
        assert lease.is_lost


def test_a_heart_gives_signs_of_life_again_and_again_though_nobody_asks_for_one(held, tmp_path, wait_for):
    with held(beat_s=0.05):
        file = tmp_path / "runs" / "curve" / "lease.1"
        for _ in range(2):
            before = file.stat().st_mtime_ns
            wait_for(lambda before=before: file.stat().st_mtime_ns > before, "a sign of life")


def test_a_study_in_a_database_is_held_there_wherever_the_storage_is(held, tmp_path):
    study = f"study=sqlite:///{tmp_path}/study.db"
    with held(study), pytest.raises(Busy, match="'curve' is held by process"), held(study, f"storage={tmp_path}/else"):
        pass
    with held(study, f"storage={tmp_path}/else"):
        pass
    with held(study, "name=b"), held(study, f"storage={tmp_path}/else", "name=c"):
        pass


def test_a_database_that_does_not_answer_is_told_with_the_keys_to_look_at(held):
    told = pytest.raises(SweepError, match=r"study: must be a storage that opens, but got .*; see `study:`")
    with told, held("study=sqlite:////nowhere/at/all/study.db"):
        pass


def test_a_ledger_writes_nothing_for_a_driver_that_was_taken_over(begin):
    from platform.runners.ledger import Ledger

    def taken_over() -> None:
        raise Busy("taken over")

    here = begin()
    ledger = Ledger(here.ledger.spec, here.study, here.folder, here.folder.parent / "stages", check=taken_over)
    with pytest.raises(Busy):
        ledger.next_task(cpus=1.0, gpus=0.0)
    assert here.study.trials() == []
    assert not (Path(here.folder) / "trials").exists()
