"""Trials' files that are no files of ours: told by name, set aside, and what they held is had again."""

import json
import shutil

import pytest

from platform.study.adopt import adopt
from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import report, start


def play(driver, steps=2, ends=True):
    """Run a trial for some reports, which leave a checkpoint, and perhaps to its end."""
    task = start(driver.ledger)
    for step in range(1, steps + 1):
        assert report(driver.ledger, task.number, step, 0.1 * step)
    (driver.folder / "trials" / str(task.number) / "checkpoints").mkdir()
    if ends:
        driver.ledger.finish(task.number, {})
    return driver.folder / "trials" / str(task.number)


BAD = {"null": b"null", "list": b"[1]", "bytes": b"\xff\xfe\x00", "torn": b'{"number": ', "deep": b"[" * 100_000}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["end.json", "trial.json"])
def test_a_file_of_an_ended_trial_is_written_again_from_the_study(begin, caplog, name, bad):
    driver = begin()
    folder = play(driver)
    before = json.loads((folder / name).read_bytes())
    (folder / name).write_bytes(bad)
    again = begin()
    assert f"{folder}/{name} holds no {name} of a trial; it is set aside as {name}.damaged" in caplog.text
    assert (folder / f"{name}.damaged").read_bytes() == bad
    after = json.loads((folder / name).read_bytes())
    assert {key: after[key] for key in after if key not in ("started", "search")} == {
        key: before[key] for key in before if key not in ("started", "search")
    }
    assert [trial.state.name for trial in again.study.trials()] == ["COMPLETE"]
    begin()
    assert not (folder / f"{name}.damaged-2").exists()


@pytest.mark.parametrize("name", ["end.json", "trial.json", "attempts.json", "tags.json", "shipped.json"])
def test_a_file_of_a_running_trial_holds_nothing_up(begin, caplog, name):
    driver = begin()
    folder = play(driver, ends=False)
    (folder / name).write_text("[]")
    again = begin()
    assert f"{folder}/{name} holds no {name} of a trial; it is set aside" in caplog.text
    task = start(again.ledger)
    assert (record := TrialFiles(driver.folder, 0).record())
    assert task.values == record.values
    assert report(again.ledger, 0, 3, 0.3)
    again.ledger.finish(0, {})
    assert again.ended[0][1:] == ("COMPLETE", "finished", (pytest.approx(0.3),))


@pytest.mark.parametrize("line", [b"garbage", b"", b"null", bytes(30), b'{"report": 1}'])
def test_a_running_trial_that_lost_a_report_begins_anew(begin, caplog, line):
    driver = begin()
    folder = play(driver, ends=False)
    journal = folder / "journal.jsonl"
    journal.write_bytes(damaged := line + b"\n" + journal.read_bytes().split(b"\n", 1)[1])
    again = begin()
    told = f"{journal}:1 is no report; the journal is set aside, and trial 0 begins anew"
    assert told in caplog.text
    assert (folder / "journal.jsonl.damaged").read_bytes() == damaged
    assert not (folder / "checkpoints").exists()
    assert start(again.ledger).number == 0
    for step in (1, 2, 3):
        assert report(again.ledger, 0, step, 0.1 * step)
    again.ledger.finish(0, {})
    assert [line["report"] for line in TrialFiles(driver.folder, 0).lines()] == [1, 2, 3]


def test_a_running_trial_whose_journal_lacks_what_the_study_has_begins_anew(begin, caplog):
    driver = begin()
    folder = play(driver, 3, ends=False)
    journal = folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().split(b"\n", 1)[0] + b"\n")
    (folder / "end.json").write_text('{"state": "COMPLETE", "reason": "finished", "time": 1.0}')
    again = begin()
    assert f"{folder} holds 1 of 3 reports; the journal is set aside, and trial 0 begins anew" in caplog.text
    assert again.ended == []
    assert not (folder / "checkpoints").exists()
    assert report(again.ledger, start(again.ledger).number, 1, 0.1)


def test_a_complete_end_without_reports_is_no_end(begin):
    driver = begin()
    task = start(driver.ledger)
    (driver.folder / "trials" / "0" / "end.json").write_text('{"state": "COMPLETE", "reason": "finished", "time": 1.0}')
    again = begin()
    assert again.ended == []
    assert start(again.ledger).values == task.values


def test_a_study_whose_trials_lie_elsewhere_is_told(begin, caplog):
    driver = begin()
    play(driver)
    shutil.rmtree(driver.folder / "trials")
    begin()
    assert f"{driver.folder}/trials lacks the files of 1 trials, the first is trial 0, and their test" in caplog.text


def test_an_ended_trial_that_lost_a_report_keeps_its_value_and_tells_of_it(begin, caplog):
    driver = begin()
    folder = play(driver, 3)
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"garbage\n" + journal.read_bytes().split(b"\n", 1)[1])
    assert begin().study.ended()[0].values == (pytest.approx(0.3),)
    assert [line["report"] for line in TrialFiles(driver.folder, 0).lines()] == [2, 3]
    assert f"{journal}:1 is no report and is left out" in caplog.text


def test_adopted_trials_with_such_files_are_run_again(begin, sweep):
    driver = begin()
    ended, lost, stray = play(driver), play(driver), play(driver)
    shutil.rmtree(driver.folder / "trials" / "0" / "checkpoints")
    (ended / "end.json").write_text("null")
    journal = lost / "journal.jsonl"
    journal.write_bytes(b"garbage\n" + journal.read_bytes().split(b"\n", 1)[1])
    (stray / "trial.json").write_text("[]")
    (driver.folder / "study.journal").unlink()
    here, said = sweep("early_stopping=none", "method=random"), list[str]()
    adopted = adopt(here.spec, here.space, here.folder, said.append)
    assert (adopted.ended, adopted.unfinished) == (0, 2)
    assert said == [
        f"{journal}:1 is no report; trial 1 is run anew",
        f"{stray}/trial.json is not there or no record of a trial; trial 2 is left out",
    ]
    again = begin()
    assert [start(again.ledger).number for _ in range(3)] == [0, 1, 3]
    assert again.ended == []
