"""A study and its trials' folders belong together: a folder of another study or setting is refused, and left alone."""

import json
import shutil

import optuna
import pytest

from platform.errors import InvalidSweep
from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import report, start
from trainables.storage import mirror

REMEDIES = (
    "run this sweep under another name (--set name=...), or --adopt rebuilds the study from the trials' own files"
)


def play(driver, steps=2):
    """Run one trial to its end; it leaves a checkpoint."""
    task = start(driver.ledger)
    for step in range(1, steps + 1):
        assert report(driver.ledger, task.number, step, 0.1 * step)
    driver.ledger.finish(task.number, {})
    (driver.folder / "trials" / str(task.number) / "checkpoints").mkdir()
    return task.number


def refusal(begin, *overrides):
    with pytest.raises(InvalidSweep) as refused:
        begin(*overrides)
    assert refused.value.exit_code == 2
    return str(refused.value)


def rewrite(folder, trial=0, **parts):
    path = folder / "trials" / str(trial) / "trial.json"
    record = json.loads(path.read_text()) | parts
    path.write_text(json.dumps({name: value for name, value in record.items() if value is not None}))


def test_a_record_holds_the_study_and_the_values(begin):
    driver = begin()
    number = play(driver)
    assert (record := TrialFiles(driver.folder, number).record())
    assert record.study == driver.study.id
    assert record.values == driver.study.values(driver.study.trials()[0])


def test_a_study_that_moved_is_refused_with_both_places_and_two_remedies_and_stays_empty(begin, tmp_path):
    driver = begin()
    play(driver)
    url = f"sqlite:///{tmp_path}/other.db"
    said = refusal(begin, f"study={url}", "seed=7", "parameters.steps=4")
    assert said.endswith(REMEDIES)
    assert f"must be the study of the trials in {driver.folder}/trials, but {url} is not: it does not know" in said
    assert optuna.get_all_study_names(url) == []
    assert begin().study.id == driver.study.id


@pytest.mark.parametrize("lost", ["deleted", "emptied"])
def test_a_study_that_is_gone_is_refused(begin, lost):
    driver = begin()
    play(driver)
    journal = driver.folder / "study.journal"
    journal.unlink() if lost == "deleted" else journal.write_text("")
    for _ in range(2):
        assert f"but {journal} is not: it does not know 1 of them (trial 0)" in refusal(begin)


def test_a_study_from_a_backup_is_refused_where_it_lacks_trials(begin):
    driver = begin()
    play(driver)
    journal = driver.folder / "study.journal"
    shutil.copy(journal, backup := driver.folder / "backup")
    play(driver)
    shutil.copy(backup, journal)
    assert "it does not know 1 of them (trial 1)" in refusal(begin)


def test_the_folder_of_another_trial_is_refused(begin, tmp_path):
    other = begin(f"storage={tmp_path}/there")
    play(other)
    driver = begin()
    play(driver), play(driver)
    shutil.copytree(other.folder / "trials" / "0", driver.folder / "trials" / "0", dirs_exist_ok=True)
    ids = f"{other.study.id[:8]}, not {driver.study.id[:8]}"
    assert f"trial 0 has the id of another study ({ids})" in refusal(begin)
    rewrite(driver.folder, study=driver.study.id, number=1)
    assert "trial 0 has the number 1" in refusal(begin)
    rewrite(driver.folder, number=0, study=driver.study.id)
    begin()
    values = json.loads((driver.folder / "trials" / "1" / "trial.json").read_text())["values"]
    rewrite(driver.folder, 1, values=values | {"x": 0.25, "width": 8})
    assert f"trial 1 has other values (width: was 8, is {values['width']}, x: was 0.25, is " in refusal(begin)


def test_a_trial_from_before_records_named_their_study_opens_and_other_values_do_not(begin):
    driver = begin()
    play(driver)
    rewrite(driver.folder, study=None, search=None)
    assert [trial.state.name for trial in begin().study.trials()] == ["COMPLETE"]
    rewrite(driver.folder, values={"x": 0.5})
    assert "trial 0 has other values" in refusal(begin)


def test_checkpoints_that_no_record_explains_are_never_taken_up(begin):
    folder = begin().folder
    (folder / "trials" / "0" / "checkpoints").mkdir(parents=True)
    (folder / "trials" / "0" / "checkpoints" / "000001.pt").touch()
    assert "it does not know 1 of them (trial 0)" in refusal(begin)


def test_a_record_that_appears_while_the_sweep_runs_is_refused_at_the_start_of_its_trial(begin):
    driver = begin()
    TrialFiles(driver.folder, 0).begin({"x": 0.25}, "another study")
    with pytest.raises(InvalidSweep, match=r"must hold trial 0 of this sweep, but its trial.json has the id of"):
        start(driver.ledger)


def test_in_a_bucket_the_checkpoints_of_a_lost_study_are_refused_too(begin, bucket, tmp_path):
    study = f"study=sqlite:///{tmp_path}/study.db"
    where = (f"storage={bucket}/runs", "tracking.uri=sqlite:///x.db")
    driver = begin(*where, study)
    checkpoint = driver.folder / "trials" / "0" / "checkpoints" / "000001.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("weights")
    mirror.push(checkpoint)
    mirror.delete_local(driver.folder)  # as on a machine that runs no trial
    assert f"must be the study of the trials in {bucket}/runs/curve/trials, but" in refusal(begin, *where, study)
