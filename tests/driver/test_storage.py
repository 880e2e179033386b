"""A sweep's folder, and the one driver that holds it."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from platform.errors import Busy, InvalidSweep
from platform.storage import hold, open_folder


def _hold(folder: str, held: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    with hold(Path(folder)):
        held.set()
        done.wait(60)


def test_the_folder_is_absolute_named_after_the_sweep_and_left_empty(sweep, tmp_path):
    assert sweep("name=other").folder == tmp_path / "runs" / "other"
    assert list((tmp_path / "runs" / "other").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_with_the_reason_and_the_remedy(sweep, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InvalidSweep) as refused:
        sweep(f"storage={tmp_path}/taken")
    (problem,) = refused.value.problems
    assert problem.endswith(
        f"storage: must be a folder that can be written, but {tmp_path}/taken/curve gave 'Not a directory'; "
        "set `storage` or $SWEEP_STORAGE to one that can"
    )
    assert refused.value.exit_code == 2


def test_an_object_store_is_refused(sweep):
    with pytest.raises(InvalidSweep, match=r"must be a folder that driver and workers see, but got 's3://bucket/x'"):
        open_folder(sweep().spec.model_copy(update={"storage": "s3://bucket/x"}))


def test_a_held_sweep_names_its_driver_and_is_free_when_it_ends(tmp_path):
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, done))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(Busy) as busy, hold(tmp_path):
            pass
        assert f"{tmp_path.name!r} is held by process {other.pid} on {os.uname().nodename} since 0 min" in str(
            busy.value
        )
        assert str(busy.value).endswith("wait for it, or end it")
        assert busy.value.exit_code == 3
    finally:
        done.set()
        other.join()
    with hold(tmp_path):
        assert json.loads((tmp_path / "driver.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "driver.json").exists()


def test_a_driver_that_was_killed_holds_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, context.Event()))
    other.start()
    assert held.wait(30)
    other.kill()
    other.join()
    with hold(tmp_path):
        pass


def test_the_sweep_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path):
        raise KeyError
    with hold(tmp_path):
        pass
