"""A full disk: who waits for room, and what is looked at meanwhile."""

import multiprocessing
import threading
import time
from pathlib import Path

from platform.storage.disk_space import DiskSpace
from platform.study.study import Study
from platform.tracking.journal import TrialFiles


def _rotate(folder: Path) -> None:
    """As a worker does: a new checkpoint, then the one before it goes."""
    number = 0
    while True:
        (folder / f"{number}.pt").write_bytes(b"x")
        (folder / f"{number - 1}.pt").unlink(missing_ok=True)
        number += 1


def test_room_for_two_of_the_largest_checkpoint_is_waited_for_while_workers_change_theirs(tmp_path):
    folder = tmp_path / "trials" / "0" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "largest.pt").write_bytes(b"x" * 3 * 2**20)
    worker = multiprocessing.get_context("fork").Process(target=_rotate, args=(folder,), daemon=True)
    worker.start()
    said: list[str] = []
    deadline = time.monotonic() + 1
    try:
        while time.monotonic() < deadline:
            DiskSpace(tmp_path, said.append).note_full()
    finally:
        worker.kill()
        worker.join()
    assert set(said) == {f"{tmp_path} has no room for 6.0 MiB; free some, the sweep waits"}


def test_the_user_is_told_that_a_report_waits_for_room_and_when_it_goes_on(small_disk, fill):
    disk = small_disk(1)
    said: list[str] = []
    files = TrialFiles(disk, 0, said.append)
    files.begin({})
    later = threading.Timer(0.5, fill(disk).unlink)
    later.start()
    assert files.append(1, {"valid/ndcg_10": 0.5})["report"] == 1
    later.join()
    waits = f"{files.folder} has no room: No space left on device; free some, the sweep waits"
    assert said == [waits, f"{files.folder} has room again; the sweep goes on"]


def test_the_user_is_told_that_the_study_waits_for_room_and_when_it_goes_on(small_disk, fill, sweep):
    disk = small_disk(1)
    said: list[str] = []
    here = sweep(f"storage={disk}")
    study = Study(here.spec, here.space, here.folder, said.append)
    later = threading.Timer(0.5, fill(disk).unlink)
    later.start()
    while not said:  # what is left is the rest of the journal's last page
        study.ask()
    later.join()
    waits = f"{here.folder} has no room: No space left on device; free some, the sweep waits"
    assert said == [waits, f"{here.folder} has room again; the sweep goes on"]


def test_a_sweep_on_a_full_disk_can_be_interrupted_and_is_carried_on_when_there_is_room(small_disk, fill, begin):
    disk = small_disk(1)
    here = begin(f"storage={disk}")
    task = here.ledger.next_task(cpus=1.0, gpus=0.0)
    ballast = fill(disk)
    here.ledger.interrupt()
    assert here.ledger.running == {}
    assert TrialFiles(here.folder, task.number).read("end.json") == {}
    ballast.unlink()
    again = begin(f"storage={disk}")
    assert again.ledger.next_task(cpus=1.0, gpus=0.0).number == task.number
