"""A full disk: who waits for room, and what is looked at meanwhile."""

import multiprocessing
import time
from pathlib import Path

from platform.room import Room


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
            Room(tmp_path, said.append).lacks()
    finally:
        worker.kill()
        worker.join()
    assert set(said) == {f"{tmp_path} has no room for 6.0 MiB; the sweep waits for it"}
