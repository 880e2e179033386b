"""`--adopt`: a study made again from its trials' files; `test_ledger_deterministic.py` shows that nothing is lost."""

import json
import shutil
from types import SimpleNamespace

import optuna
import pytest

from platform.errors import InvalidSweep
from platform.study.adopt import adopt
from tests.driver.ledgers import goes_on, report, start


@pytest.fixture
def again(sweep):
    """Call with overrides to adopt the trials of `curve`; gives the result and what was said."""

    def again(*overrides):
        here, said = sweep("early_stopping=none", "method=random", *overrides), list[str]()
        adopted = adopt(here.spec, here.space, here.folder, said.append)
        return SimpleNamespace(text=str(adopted), rebuilt=adopted.rebuilt, said=said)

    return again


def finish_one(driver):
    task = start(driver.ledger)
    for step in (1, 2):
        assert report(driver.ledger, task.number, step, 0.1 * step + task.values["x"])
    driver.ledger.finish(task.number, {})


def table(driver):
    return [(t.number, t.state.name, t.values, t.params, t.intermediate_values) for t in driver.study.trials()]


def refusal(again, *overrides):
    with pytest.raises(InvalidSweep) as refused:
        again(*overrides)
    return str(refused.value)


@pytest.mark.parametrize("where", ["journal", "database"])
def test_a_lost_study_has_its_id_ended_trials_and_running_ones_again(begin, again, tmp_path, where):
    study = () if where == "journal" else (f"study=sqlite:///{tmp_path}/study.db",)
    driver = begin(*study)
    finish_one(driver), finish_one(driver)
    task = start(driver.ledger)
    assert report(driver.ledger, task.number, 1, 0.5)
    before = table(driver)
    if where == "journal":
        (driver.folder / "study.journal").unlink()
    else:
        optuna.delete_study(study_name="curve", storage=f"sqlite:///{tmp_path}/study.db")
    adopted = again(*study)
    assert adopted.text == "the study is rebuilt from its trials' files, 2 have ended, 1 go on"
    after = begin(*study)
    assert after.study.id == driver.study.id
    assert table(after) == before
    assert [trial.end.time for trial in after.study.ended()] == [trial.end.time for trial in driver.study.ended()]
    assert start(after.ledger).number == task.number
    assert after.study.space.from_storage(after.study.trials()[2].params) == task.values


def test_a_study_that_knows_its_trials_is_left_alone(begin, again):
    driver = begin()
    finish_one(driver)
    journal = (driver.folder / "study.journal").read_bytes()
    adopted = again()
    assert adopted.text == "the study knows all trials already, 1 have ended, 0 go on"
    assert (driver.folder / "study.journal").read_bytes() == journal
    changed = refusal(again, "parameters.x={min: 0.0, max: 0.9}")
    assert "a sweep must keep its space and search, but 'curve' has trials of another" in changed


def test_a_study_from_a_backup_gets_what_it_lacks_and_keeps_a_trial_without_folder(begin, again, tmp_path):
    driver = begin()
    finish_one(driver)
    shutil.copy(driver.folder / "study.journal", tmp_path / "backup")
    finish_one(driver), finish_one(driver)
    before = table(driver)
    shutil.copy(tmp_path / "backup", driver.folder / "study.journal")
    shutil.rmtree(driver.folder / "trials" / "0")
    assert again().rebuilt
    assert table(begin()) == before


def test_a_damaged_journal_is_set_aside_and_told(begin, again):
    driver = begin()
    finish_one(driver)
    before = table(driver)
    journal = driver.folder / "study.journal"
    journal.write_text(journal.read_text().replace("\n", "", 1))
    damage = journal.read_text()
    [said] = again().said
    assert said.startswith(f"{journal}:1: must hold one record of the study per line, but a line is ")
    assert said.endswith("it is set aside as study.journal.damaged")
    assert (driver.folder / "study.journal.damaged").read_text() == damage
    assert table(begin()) == before


def test_a_number_without_files_is_a_gap_that_nobody_sees_and_nobody_gets_again(begin, again):
    driver = begin()
    for _ in range(3):
        finish_one(driver)
    (driver.folder / "study.journal").unlink()
    shutil.rmtree(driver.folder / "trials" / "1")
    (driver.folder / "trials" / "7").mkdir()
    [said] = again().said
    assert said == f"{driver.folder}/trials/7/trial.json is not there or no record of a trial; trial 7 is left out"
    after = begin()
    assert [trial.number for trial in after.study.trials()] == [0, 2]
    assert start(after.ledger).number == 8


def test_points_that_wait_or_were_forbidden_are_known_again(begin, again):
    points = "initial_points=[{x: 0.1}, {x: 0.2}, {x: 0.3}]"
    driver = begin(points)
    finish_one(driver)
    (driver.folder / "study.journal").unlink()
    again(points)
    after = begin(points)
    for x in (0.2, 0.3):
        task = start(after.ledger)
        assert task.values["x"] == x
        assert goes_on(after.ledger, task.number, 1, {"valid/ndcg_10": 0.5})
    assert len(after.study.optuna.trials) == 3


def test_a_sequence_goes_on_and_generations_of_cmaes_do_not(begin, again):
    driver = begin("method=qmc")
    finish_one(driver), finish_one(driver), finish_one(driver)
    (driver.folder / "study.journal").unlink()
    assert again("method=qmc").said == []
    after = begin("method=qmc")
    finish_one(after)
    assert len({trial.params["x"] for trial in after.study.trials()}) == 4
    (driver.folder / "study.journal").unlink()
    assert again("method=cmaes").said == ["method cmaes begins its generations anew: only the lost study had them"]


def test_trials_of_another_space_of_two_studies_or_of_nobody_are_refused(begin, again, tmp_path):
    assert f"{tmp_path}/runs/curve/trials: must hold trials for --adopt, but has none" in refusal(again)
    driver = begin()
    finish_one(driver)
    url = f"sqlite:///{tmp_path}/study.db"
    other = begin(f"study={url}", f"storage={tmp_path}/there")
    finish_one(other)
    assert f"must have no trials of another sweep for --adopt, but {url} has 1 in 'curve'" in refusal(
        again, f"study={url}"
    )
    (driver.folder / "study.journal").unlink()
    path = driver.folder / "trials" / "0" / "trial.json"
    said = refusal(again, "parameters.steps=3")
    assert said.startswith(f"{path}: must be a trial of {tmp_path}/curve.yaml, but is not (steps: was null, is 3)")
    shutil.copytree(other.folder / "trials" / "0", driver.folder / "trials" / "1")
    ids = f"{driver.study.id[:8]} in folder 0 and {other.study.id[:8]} in folder 1 and trial 0 in folder 1"
    assert f"must hold the trials of one study, each under its number, but there is {ids}" in refusal(again)
    assert not (driver.folder / "study.journal").exists()


def test_a_trial_from_before_records_had_all_of_it_is_adopted_by_its_values(begin, again):
    driver = begin()
    finish_one(driver)
    before = table(driver)
    path = driver.folder / "trials" / "0" / "trial.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: record[name] for name in ("number", "values", "started")}))
    (driver.folder / "study.journal").unlink()
    again()
    after = begin()
    assert table(after) == before
    assert after.study.trials()[0].constraints == driver.study.trials()[0].constraints
