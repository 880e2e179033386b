"""A run is its sweep's by the sweep's id: sweeps of one name stay apart, and what had no id yet is taken over."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from platform.storage.trial_record import TrialRecord
from platform.tracking.messages import ParentEnd


def ship(here: Any, *trials: Any) -> None:
    shipper = here.started()
    for files in trials:
        shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)


def played(here: Any, value: float) -> Any:
    """Trial 0 of a sweep, which reported `value` once and ended."""
    files = here.trial(0)
    here.report(files, range(1, 2), value)
    here.end(files)
    return files


def every_run(here: Any) -> list[Any]:
    client = MlflowClient(here.uri)
    return list(client.search_runs([client.get_experiment_by_name(here.experiment).experiment_id]))


def without_ids(*sweeps: Any) -> None:
    """As if the sweeps had been shipped when runs had no id."""
    client = MlflowClient(sweeps[0].uri)
    for run in every_run(sweeps[0]):
        client.delete_tag(run.info.run_id, "sweep.id")


def other(here: Any, folder: Path) -> Any:
    """A sweep of the same name in another storage, tracked in the same experiment."""
    return type(here)(folder / "curve", here.uri, here.experiment)


def test_sweeps_of_one_name_in_two_storages_have_a_parent_and_a_run_a_trial_each(tracked, tmp_path):
    here = tracked()
    there = other(here, tmp_path / "there")
    ours, theirs = played(here, 0.25), played(there, 0.75)
    for _ in range(2):  # the second time is the same command again
        ship(here, ours)
        ship(there, theirs)
    assert here.history(0, "valid/ndcg_10") == [(1, 0.25)]
    assert there.history(0, "valid/ndcg_10") == [(1, 0.75)]
    assert len(every_run(here)) == 4
    for sweep in (here, there):
        parent, children = sweep.runs()
        assert children[0].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert parent.data.tags["sweep.name"] == children[0].data.tags["sweep.name"] == "curve"


def test_runs_without_an_id_are_taken_over_by_the_sweep_whose_trials_they_are(tracked):
    here = tracked()
    files = here.trial(0)
    here.report(files, range(1, 3))
    ship(here, files)
    without_ids(here)
    before = {run.info.run_id for run in every_run(here)}
    here.report(files, range(3, 5))
    here.end(files)
    ship(here, files)
    parent, children = here.runs()
    assert {parent.info.run_id, children[0].info.run_id} == before == {run.info.run_id for run in every_run(here)}
    assert here.history(0, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 5)]


def test_a_new_sweep_leaves_the_runs_of_a_removed_one_of_its_name_alone(tracked, tmp_path):
    removed = tracked()
    ship(removed, played(removed, 0.25))
    without_ids(removed)
    old = {run.info.run_id: run.data for run in every_run(removed)}
    here = other(removed, tmp_path / "here")
    ship(here, played(here, 0.75))
    assert here.history(0, "valid/ndcg_10") == [(1, 0.75)]
    now = {run.info.run_id: run.data for run in every_run(here)}
    assert len(now) == 4
    for run_id, data in old.items():
        assert (now[run_id].tags, now[run_id].metrics) == (data.tags, data.metrics)


def test_a_takeover_that_was_cut_is_carried_on(tracked):
    here = tracked()
    files = played(here, 0.5)
    ship(here, files)
    without_ids(here)
    child = next(run for run in every_run(here) if "sweep.trial" in run.data.tags)
    MlflowClient(here.uri).set_tag(child.info.run_id, "sweep.id", here.id)
    ship(here, files)
    assert len(every_run(here)) == 2
    assert here.runs()[0].info.status == "FINISHED"


def test_a_trial_of_another_study_is_never_shipped(tracked):
    here = tracked()
    files = here.trial(0)
    files.restore(TrialRecord(number=0, values={}, started=1.0, study="another"))
    ship(here, files)
    assert here.runs()[1] == {}
