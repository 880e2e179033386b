"""The storage of a study: a journal file that crashes tear, or a database that several sweeps share."""

import errno
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from types import SimpleNamespace

import optuna
import pytest
from optuna.storages.journal import JournalFileOpenLock

from platform.errors import InvalidSweep, SweepError
from platform.storage import disk_space
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study import storage
from platform.study.study import Study


def finish_one(study: Study) -> None:
    """Run the next trial to its end, with three rising reports."""
    asked = study.ask()
    assert asked is not None
    for report in range(1, 4):
        study.judge(asked.number, report, 0.1 * report)
    study.tell(EndedTrial(asked.number, TrialEnd(State.COMPLETE, "finished", 1.0), (0.3,)))


def test_a_study_of_somebody_else_under_the_same_name_is_refused(sweep, opened, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="curve", direction="maximize").ask()
    with pytest.raises(InvalidSweep, match=r"must be new or a sweep's own, but 'curve' there has trials of another"):
        opened(sweep(f"study={url}"))


def test_a_torn_last_line_and_a_left_lock_are_mended(sweep, opened, caplog, monkeypatch):
    monkeypatch.setattr(storage, "_LOCK_GRACE_S", 1)
    here = sweep()
    study = opened(here)
    finish_one(study)
    journal = here.folder / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 5, "wor')
    (here.folder / "study.journal.lock").write_text("")
    with caplog.at_level(logging.WARNING):
        again = opened(here)
    assert "ended in a torn line of 19 bytes; it was cut" in caplog.text
    finish_one(again)
    assert [t.state.name for t in opened(here).trials()] == ["COMPLETE", "COMPLETE"]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.parametrize("damage", ["glued", "blank", "zeros", "foreign", "last"])
def test_a_damaged_journal_is_refused_with_file_and_line_and_stays_as_it_is(sweep, opened, damage):
    here = sweep()
    finish_one(opened(here))
    journal = here.folder / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    middle = len(lines) - 1 if damage == "last" else len(lines) // 2
    bad = {
        "glued": lines[middle][:-6] + lines[middle],
        "blank": b"\n" + lines[middle],
        "zeros": bytes(80) + b"\n",
        "foreign": b"[1, 2]\n",
        "last": b"null\n",
    }[damage]
    journal.write_bytes(before := b"".join([*lines[:middle], bad, *lines[middle + 1 :]]))
    for _ in range(2):
        with pytest.raises(InvalidSweep) as refused:
            opened(here)
        assert str(refused.value).startswith(f"{journal}:{middle + 1}: must hold one record of the study per line, but")
        assert str(refused.value).endswith("or --adopt rebuilds the study from the trials' own files")
    assert journal.read_bytes() == before


def test_a_record_that_does_not_fit_those_before_it_is_refused(sweep, opened):
    here = sweep()
    finish_one(opened(here))
    with (here.folder / "study.journal").open("a") as stream:
        stream.write('{"op_code": 4}\n')
    with pytest.raises(InvalidSweep, match=r"study.journal: must hold .* but one does not fit .* \(KeyError"):
        opened(here)


OTHER = """\
import sys
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
backend = JournalFileBackend(sys.argv[1], lock_obj=JournalFileOpenLock(sys.argv[1]))
backend.append_logs([{"op_code": 10, "worker_id": "other"}])
"""


def test_what_another_process_appends_before_a_write_that_fails_is_never_cut(sweep, opened, monkeypatch):
    here = sweep()
    study = opened(here)
    journal, fsync, acquire = here.folder / "study.journal", os.fsync, JournalFileOpenLock.acquire

    def come_second(lock):
        monkeypatch.setattr(JournalFileOpenLock, "acquire", acquire)
        subprocess.run([sys.executable, "-c", OTHER, str(journal)], check=True)
        return acquire(lock)

    def fail_once(descriptor):
        monkeypatch.setattr(os, "fsync", fsync)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_space, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(JournalFileOpenLock, "acquire", come_second)
    monkeypatch.setattr(os, "fsync", fail_once)
    finish_one(study)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["op_code"] for line in lines if line["worker_id"] == "other"] == [10]
    assert [trial.state.name for trial in opened(here).trials()] == ["COMPLETE"]


def test_a_torn_line_is_cut_once_the_process_that_holds_the_lock_is_done(sweep, opened, caplog):
    here = sweep()
    finish_one(opened(here))
    journal = here.folder / "study.journal"
    lock = JournalFileOpenLock(str(journal))
    lock.acquire()
    with journal.open("ab") as stream:
        stream.write(b'{"op_code": 10, ')
        stream.flush()

        def finish():
            stream.write(b'"worker_id": "other"}\n')
            stream.flush()
            lock.release()

        later = threading.Timer(0.3, finish)
        later.start()
        finish_one(opened(here))
        later.join()
    assert "torn" not in caplog.text
    assert len(opened(here).trials()) == 2


def test_a_full_disk_holds_the_study_up_and_its_journal_stays_whole(sweep, opened, small_disk, fill, monkeypatch):
    disk = small_disk(1)
    here = sweep(f"storage={disk}")
    journal = here.folder / "study.journal"
    study = opened(here)
    finish_one(study)
    whole, found = journal.read_bytes(), []
    ballast = fill(disk)  # what is left is the rest of the journal's last page

    def sleep(seconds):
        found.append(journal.read_bytes())
        if len(found) == 3:
            ballast.unlink()

    monkeypatch.setattr(disk_space, "time", SimpleNamespace(sleep=sleep))
    for _ in range(5):
        finish_one(study)
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert found[0].startswith(whole)
    assert found[0].endswith(b"\n")
    assert len(found[0]) - len(whole) <= 4096
    assert [trial.state.name for trial in opened(here).trials()] == ["COMPLETE"] * 6


def test_a_database_holds_the_study_where_one_is_named(sweep, opened, tmp_path):
    here = sweep(f"study=sqlite:///{tmp_path}/study.db")
    study = opened(here)
    finish_one(study)
    assert not (here.folder / "study.journal").exists()
    assert len(opened(here).trials()) == 1


def test_a_database_that_does_not_open_is_told_with_the_keys_to_look_at(sweep, opened):
    with pytest.raises(SweepError, match=r"study: must be a storage that opens, but got .*; see `study:`"):
        opened(sweep("study=sqlite:////nowhere/at/all/study.db"))


def test_a_database_that_stays_away_ends_the_sweep_with_the_rule_and_leaves_its_trials_running(
    sweep, opened, tmp_path, monkeypatch
):
    here = sweep(f"study=sqlite:///{tmp_path}/study.db?timeout=0.1")
    study = opened(here)
    number = study.ask().number
    monkeypatch.setattr(storage, "PATIENCE_S", 1.0)
    with closing(sqlite3.connect(tmp_path / "study.db")) as other:
        other.execute("begin exclusive")
        with pytest.raises(SweepError) as away:
            study.judge(number, 1, 0.5)
    assert str(away.value) == (
        "study: must answer while a sweep runs, but its database did not for 1 seconds: (sqlite3.OperationalError) "
        "database is locked; run the same command when it answers again"
    )
    assert [asked.number for asked in opened(here).resume_running()] == [number]


def test_two_sweeps_share_a_database_without_seeing_each_other(sweep, opened, tmp_path):
    url = f"study=sqlite:///{tmp_path}/study.db"
    study = opened(sweep(url))
    finish_one(study)
    assert opened(sweep(url, "name=other")).trials() == []


@pytest.mark.parametrize(("key", "mode"), [("of-a-setting", 0o600), ("${HUB_KEY}", 0o644)])
def test_a_journal_that_holds_a_secret_is_for_its_owner_alone(sweep, opened, key, mode):
    before = os.umask(0o022)
    try:
        here = sweep("trainable=tests.trainables.secretive", f"parameters={{hub.api_key: '{key}'}}", "constraints=[]")
        opened(here)
        opened(here)
    finally:
        os.umask(before)
    assert (here.folder / "study.journal").stat().st_mode & 0o777 == mode
