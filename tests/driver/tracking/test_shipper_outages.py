"""Tracking when something dies: the driver, the server, both. Everything is there in the end, and once."""

import socket

import pytest

from platform.tracking.journal import TrialFiles
from platform.tracking.messages import ParentEnd


def test_a_new_driver_carries_a_trials_run_on_without_a_step_twice(tracked, wait_for):
    here = tracked()
    first = here.started()
    files = here.trial(0)
    here.report(files, range(1, 4))
    first.changed(files)
    wait_for(lambda: files.read("shipped.json").get("reports") == 3, "three reports shipped")
    here.report(files, range(4, 6))  # the first shipper is never told, as if its driver had been killed
    again = TrialFiles(here.folder, 0)
    second = here.started()
    again.begin({"x": 0.5})
    here.report(again, range(6, 8))
    here.end(again)
    second.changed(again)
    assert second.finish(ParentEnd(status="FINISHED"))
    parent, children = here.runs()
    assert here.history(0, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 8)]
    assert (parent.info.status, children[0].info.status) == ("FINISHED", "FINISHED")


def test_reports_that_were_sent_but_not_noted_on_disk_are_not_sent_again(tracked, wait_for):
    here = tracked()
    first = here.started()
    files = here.trial(0)
    here.report(files, range(1, 4))
    first.changed(files)
    wait_for(lambda: files.read("shipped.json").get("reports") == 3, "three reports shipped")
    (files.folder / "shipped.json").unlink()
    second = here.started()
    here.report(files, range(4, 5))
    here.end(files)
    second.changed(files)
    assert second.finish(ParentEnd(status="FINISHED"))
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2, 3, 4]


def test_parameters_are_there_though_the_driver_died_right_after_making_the_run(tracked, monkeypatch):
    from mlflow import MlflowClient

    here = tracked()
    files = here.trial(0)
    here.report(files, range(1, 3))
    here.end(files)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", lambda *_, **__: (_ for _ in ()).throw(OSError("cut")))
        first = here.started()
        first.changed(files)
        assert not first.finish(ParentEnd(status="FINISHED"))
    second = here.started()
    assert second.finish(ParentEnd(status="FINISHED"))
    _, children = here.runs()
    assert children[0].data.params == {"x": "0.5", "adapter.name": "none"}
    assert here.history(0, "valid/ndcg_10") == [(1, 0.5), (2, 0.5)]


def test_an_interrupted_trial_is_killed_and_its_run_goes_on_when_it_is_taken_up(tracked, wait_for):
    here = tracked()
    first = here.started()
    files = here.trial(0)
    here.report(files, range(1, 3))
    here.end(files, "INTERRUPTED", "interrupted, resumable")
    first.changed(files)
    assert first.finish(ParentEnd(status="KILLED"))
    parent, children = here.runs()
    assert (parent.info.status, children[0].info.status) == ("KILLED", "KILLED")

    second = here.started()
    again = here.trial(0)
    second.changed(again)
    wait_for(lambda: here.runs()[1][0].info.status == "RUNNING", "the run going on")
    here.report(again, range(3, 5))
    here.end(again)
    second.changed(again)
    assert second.finish(ParentEnd(status="FINISHED"))
    parent, children = here.runs()
    assert (parent.info.status, children[0].info.status) == ("FINISHED", "FINISHED")
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2, 3, 4]


def test_what_an_interrupted_trial_did_during_an_outage_is_shipped_by_the_next_command(tracked):
    here = tracked()
    first = here.started()
    files = here.trial(0)
    here.report(files, range(1, 3))
    here.end(files, "INTERRUPTED", "interrupted, resumable")
    first.changed(files)
    assert first.finish(ParentEnd(status="KILLED"))
    again = here.trial(0)  # taken up and ended by a driver that could ship nothing
    here.report(again, range(3, 5))
    here.end(again)
    third = here.started()
    assert third.finish(ParentEnd(status="FINISHED"))
    _, children = here.runs()
    assert children[0].info.status == "FINISHED"
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_an_outage_is_said_once_the_sweep_goes_on_and_the_same_command_ships_the_rest(tracked, line, wait_for):
    here = tracked(line.uri)
    first = here.started()
    files = here.trial(0)
    here.report(files, range(1, 3))
    first.changed(files)
    wait_for(lambda: files.read("shipped.json").get("reports") == 2, "two reports shipped")
    line.cut()
    for step in (3, 4):
        here.report(files, range(step, step + 1))
        first.changed(files)
    wait_for(lambda: bool(here.said), "the outage being said")
    here.end(files)
    first.changed(files)
    assert not first.finish(ParentEnd(status="FINISHED"), patience_s=120)
    assert not first._thread.is_alive()  # it gave up by itself
    assert here.said == [f"MLflow at {line.uri} does not answer; the sweep goes on and ships later"]
    line.mend()
    second = here.started()
    assert second.finish(ParentEnd(status="FINISHED"))
    parent, children = here.runs()
    assert (parent.info.status, children[0].info.status) == ("FINISHED", "FINISHED")
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2, 3, 4]


def test_a_server_that_comes_back_during_the_sweep_gets_everything(tracked, line, monkeypatch, wait_for):
    monkeypatch.setattr("platform.tracking.shipper._LONGEST_PAUSE_S", 0.5)
    here = tracked(line.uri)
    line.cut()
    shipper = here.started()
    files = here.trial(0)
    here.report(files, range(1, 3))
    shipper.changed(files)
    wait_for(lambda: bool(here.said), "the outage being said")
    line.mend()
    wait_for(lambda: len(here.said) == 2, "the return being said")
    here.end(files)
    shipper.changed(files)
    assert shipper.finish(ParentEnd(status="FINISHED"))
    assert here.said[1] == f"MLflow at {line.uri} answers again"
    assert here.history(0, "valid/ndcg_10") == [(1, 0.5), (2, 0.5)]


def test_a_driver_does_not_wait_for_a_server_that_takes_its_time(tracked):
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = tracked(f"http://127.0.0.1:{server.getsockname()[1]}")
        shipper, files = here.started(), here.trial(0)
        shipper.changed(files)
        server.settimeout(60)
        asked, _ = server.accept()
        with asked:  # its request has no answer while the driver works
            for step in range(1, 101):
                here.report(files, range(step, step + 1))
                shipper.changed(files)
            here.end(files)
            assert files.read("shipped.json") == {}
    assert not shipper.finish(ParentEnd(status="FINISHED"))


def test_a_dead_address_is_said_and_another_one_gets_all_later(tracked):
    here = tracked()
    dead = here.started(uri="http://127.0.0.1:9")
    files = here.trial(0)
    for step in range(1, 101):
        here.report(files, range(step, step + 1))
        dead.changed(files)
    here.end(files)
    dead.changed(files)
    assert not dead.finish(ParentEnd(status="FINISHED"))
    assert here.said == ["MLflow at http://127.0.0.1:9 does not answer; the sweep goes on and ships later"]
    later = here.started()
    assert later.finish(ParentEnd(status="FINISHED"))
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == list(range(1, 101))


@pytest.mark.slow
def test_another_store_gets_the_whole_sweep_though_the_first_has_it(tracked, tmp_path):
    here = tracked()
    files = here.trial(0)
    here.report(files, range(1, 3))
    here.end(files)
    first = here.started()
    assert first.finish(ParentEnd(status="FINISHED"))
    here.uri = f"sqlite:///{tmp_path}/second.db"
    second = here.started()
    assert second.finish(ParentEnd(status="FINISHED"), patience_s=60)
    assert [step for step, _ in here.history(0, "valid/ndcg_10")] == [1, 2]


def test_a_store_whose_making_was_cut_is_made_anew(tracked, tmp_path):
    here = tracked()
    here.uri = f"sqlite:///{tmp_path}/mlflow.db"
    for name in (".mlflow.db.77.draft", ".mlflow.db.77.draft-journal"):  # what a killed driver leaves
        (tmp_path / name).write_bytes(b"half")
    shipper = here.started()
    assert shipper.finish(ParentEnd(status="FINISHED"), patience_s=60)
    assert here.runs()[0].info.status == "FINISHED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock", "runs"]


def test_a_tracker_that_never_started_has_not_shipped(tracked):
    assert not tracked().shipper().finish(ParentEnd(status="FAILED"))
