"""The process that ships a sweep: it takes nothing from the driver, dies with it, and is replaced when it dies."""

import contextlib
import random
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from platform.tracking.journal import TrialFiles
from platform.tracking.messages import ParentEnd
from trainables.redaction import remember

ROOT = Path(__file__).parents[3]
PATIENCE_S = 300
"""For a process to start and ship on a machine that others use: it imports MLflow, which takes seconds of its own."""


def shippers(of: int | None = None) -> list[psutil.Process]:
    """The living processes below `of`, or below this one, that ship."""
    living = [each for each in psutil.Process(of).children() if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in living if "platform.tracking.shipper" in each.cmdline()]


def test_a_process_of_its_own_ships_a_sweep_and_is_gone_at_the_end(tracked, wait_for):
    here = tracked()
    remember({"hub.api_key": "key-of-a-setting"})
    (here.folder / "sweep.yaml").write_text("name: curve\nparameters: {note: key-of-a-setting}\n")
    tracker = here.tracker()
    tracker.start(here.id)
    files = here.trial(0)
    here.report(files, range(1, 4))
    tracker.changed(files)
    wait_for(lambda: files.read("shipped.json").get("reports") == 3, "three reports shipped", PATIENCE_S)
    (process,) = shippers()
    assert process.cmdline()[1:] == ["-P", "-m", "platform.tracking.shipper"]
    assert process.nice() == max(psutil.Process().nice(), 5)
    assert process.net_connections("inet") == []
    here.report(files, range(4, 6))
    here.end(files)
    tracker.changed(files)
    end = ParentEnd(status="FINISHED", metrics={"best/valid/ndcg_10": 0.5})
    assert tracker.finish(end, patience_s=PATIENCE_S)
    assert not process.is_running()
    assert here.said == []
    parent, children = here.runs()
    assert parent.data.metrics == {"best/valid/ndcg_10": 0.5}
    assert here.history(0, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 6)]
    assert (parent.info.status, children[0].info.status) == ("FINISHED", "FINISHED")
    (text,) = (here.folder.parent / "artifacts").rglob("sweep.yaml")
    assert text.read_text() == "name: curve\nparameters: {note: ***}\n"


@pytest.mark.slow
def test_a_shipper_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(tracked):
    here, chance, kills = tracked(), random.Random(0), 0
    tracker = here.tracker()
    tracker.start(here.id)
    trials = [here.trial(number) for number in range(3)]
    for step in range(1, 121):
        for files in trials:
            here.report(files, range(step, step + 1))
            tracker.changed(files)
        time.sleep(0.1)
        if step % 20 == 0:
            time.sleep(chance.uniform(0, 3))
            for process in shippers():
                process.kill()
                kills += 1
    for files in trials:
        here.end(files)
        tracker.changed(files)
    for process in shippers():
        process.kill()
    assert kills > 2
    assert tracker.finish(ParentEnd(status="FINISHED"), patience_s=PATIENCE_S)
    assert shippers() == []
    parent, children = here.runs()
    assert {run.info.status for run in (parent, *children.values())} == {"FINISHED"}
    for number in range(3):
        assert here.history(number, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 121)]


@pytest.mark.slow
def test_a_shipper_dies_with_its_driver(tracked, wait_for):
    here = tracked()
    here.trial(0)
    script = f"""
        import time
        from pathlib import Path
        from platform.tracking.destination import Destination
        from platform.tracking.journal import TrialFiles
        from platform.tracking.tracker import Tracker
        folder = Path({str(here.folder)!r})
        to = Destination({here.uri!r}, {here.experiment!r}, folder.parent / "artifacts")
        tracker = Tracker(to, "curve", folder, {{}}, print)
        tracker.start({here.id!r})
        while True:
            tracker.changed(TrialFiles(folder, 0))
            time.sleep(0.01)
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    try:
        wait_for(lambda: bool(TrialFiles(here.folder, 0).read("shipped.json")), "the trial being shipped", PATIENCE_S)
        (process,) = shippers(driver.pid)
    finally:
        driver.kill()
        driver.wait()
    process.wait(10)


@pytest.fixture
def stopped(tracked, wait_for):
    """A tracker whose process has shipped a trial and hangs since then."""
    here = tracked()
    tracker, files = here.tracker(), here.trial(0)
    tracker.start(here.id)
    tracker.changed(files)
    wait_for(lambda: bool(files.read("shipped.json")), "the trial being shipped", PATIENCE_S)
    (process,) = shippers()
    process.suspend()
    yield here, tracker, files, process
    tracker.close()


@pytest.mark.slow
def test_a_shipper_that_hangs_is_ended_and_the_next_command_ships_all(stopped):
    here, tracker, files, process = stopped
    here.report(files, range(1, 11))
    here.end(files)
    tracker.changed(files)
    assert not tracker.finish(ParentEnd(status="FINISHED"), patience_s=1)
    assert not process.is_running()
    again = here.tracker()
    again.start(here.id)
    assert again.finish(ParentEnd(status="FINISHED"), patience_s=PATIENCE_S)
    assert here.history(0, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 11)]


@pytest.mark.slow
def test_a_shipper_that_does_not_hear_is_replaced_and_the_driver_never_waits(stopped, wait_for):
    here, tracker, files, process = stopped
    here.report(files, range(1, 4))
    tracker.changed(files)
    for number in range(1, 20_000):  # more than the line to the process holds
        tracker.changed(TrialFiles(here.folder, number))
    wait_for(lambda: not process.is_running(), "the process that hangs being ended", PATIENCE_S)
    here.end(files)
    tracker.changed(files)
    assert tracker.finish(ParentEnd(status="FINISHED"), patience_s=PATIENCE_S)
    assert here.history(0, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 4)]


@pytest.mark.slow
def test_the_patience_at_the_end_counts_from_the_last_sign_of_progress(tracked, wait_for):
    """A process that gets a tenth of a processor starts for longer than the patience, and ships all the same."""
    here = tracked()
    tracker, files = here.tracker(), here.trial(0)
    here.report(files, range(1, 4))
    here.end(files)
    tracker.start(here.id)
    wait_for(lambda: bool(shippers()), "the process", PATIENCE_S)
    (process,) = shippers()
    held_up = threading.Thread(target=slow_down, args=(process, 10.0))
    held_up.start()
    started = time.monotonic()
    assert tracker.finish(ParentEnd(status="FINISHED"), patience_s=4.0)
    assert time.monotonic() - started > 4.0
    held_up.join()
    assert here.history(0, "valid/ndcg_10") == [(step, 0.5) for step in range(1, 4)]


def slow_down(process: psutil.Process, seconds: float) -> None:
    """Let a process run for a short while of each second."""
    end = time.monotonic() + seconds
    with contextlib.suppress(psutil.NoSuchProcess):
        while time.monotonic() < end:
            process.suspend()
            time.sleep(0.6)
            process.resume()
            time.sleep(0.4)
