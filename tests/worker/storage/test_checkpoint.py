"""Checkpoints outlive what can happen to them: kills, torn files, flipped bits, a full disk."""

import errno
import hashlib
import json
import logging
import os
import pickle
import random
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.storage import checkpoint
from trainables.storage import mirror as copies
from trainables.trial import LocalTrial


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((300,), float(step)), "best": {"value": step / 7, "epoch": None}}


def is_whole(loaded: dict[str, Any] | None, step: int) -> bool:
    """Return True if ``loaded`` equals the checkpoint saved at ``step``, to the last number."""
    expected = state(step)
    return (
        loaded is not None
        and loaded.keys() == expected.keys()
        and (loaded["step"], loaded["best"]) == (step, expected["best"])
        and torch.equal(loaded["weights"], expected["weights"])
    )


def truncations(size: int) -> Iterator[Callable[[bytearray], bytes]]:
    lengths = random.Random(0).sample(range(size), 50)
    yield from (lambda content, length=length: bytes(content[:length]) for length in [0, size - 1, *lengths])


def flips(size: int) -> Iterator[Callable[[bytearray], bytes]]:
    def flipped(content: bytearray, place: int, bit: int) -> bytes:
        content[place] ^= 1 << bit
        return bytes(content)

    draw = random.Random(1)
    places = [0, 18, 19, 82, 83, *(draw.randrange(size) for _ in range(50))]  # in the name, the digest, the content
    yield from (lambda content, place=place: flipped(content, place, draw.randrange(8)) for place in places)


@pytest.mark.parametrize("damages", [truncations, flips])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_with_a_warning(tmp_path, caplog, damages):
    size = checkpoint.save(tmp_path / "size", state(0)).stat().st_size
    for number, damage in enumerate(damages(size)):
        folder = tmp_path / str(number)
        checkpoint.save(folder, state(1))
        newest = checkpoint.save(folder, state(2))
        newest.write_bytes(damage(bytearray(newest.read_bytes())))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert is_whole(checkpoint.load(folder), 1)
        assert f"{newest} is skipped" in caplog.text


def forged(payload: bytes) -> bytes:
    """A checkpoint whose digest fits, whatever it holds."""
    return checkpoint._MAGIC + hashlib.sha256(payload).hexdigest().encode() + payload


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize(
    "payload",
    [b"", b"\x80\x02", b"\x80\x02).", b"\x80\x02K\x07Q.", b"\x80\x02}q\x00h\x05.", b"PK\x03\x04", b"cos\nabort\n(tR.",
     pickle.dumps([1], protocol=2), pickle.dumps({"step": errno.ENOENT}, protocol=5)[:-3]],
)  # fmt: skip
def test_a_forged_checkpoint_gives_way_too_and_runs_nothing(tmp_path, caplog, payload):
    checkpoint.save(tmp_path, state(1))
    newest = checkpoint.save(tmp_path, state(2))
    newest.write_bytes(forged(payload))
    (tmp_path / "²2.pt").write_bytes(b"no number")
    assert is_whole(checkpoint.load(tmp_path), 1)
    assert f"{newest} is skipped" in caplog.text


def test_an_endless_file_in_a_checkpoints_place_is_not_read(tmp_path):
    checkpoint.save(tmp_path, state(1))
    (tmp_path / "000009.pt").symlink_to("/dev/zero")
    assert is_whole(checkpoint.load(tmp_path), 1)


def test_a_damaged_checkpoint_does_not_push_a_whole_one_out(tmp_path):
    for step in (1, 2):
        newest = checkpoint.save(tmp_path, state(step))
    newest.write_bytes(b"torn")
    assert is_whole(checkpoint.load(tmp_path), 1)
    last = checkpoint.save(tmp_path, state(3))
    last.write_bytes(b"torn too")
    assert is_whole(checkpoint.load(tmp_path), 1)
    checkpoint.save(tmp_path, state(4))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pt", ".pt"]


def test_without_a_whole_checkpoint_there_is_none(tmp_path):
    checkpoint.save(tmp_path, state(1)).write_bytes(b"")
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "missing") is None


class Malicious:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["PLANTED"],)


def test_nothing_in_a_checkpoint_is_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PLANTED", str(tmp_path / "planted"))
    checkpoint.save(tmp_path / "trial", {"step": 1, "weights": Malicious()})
    assert checkpoint.load(tmp_path / "trial") is None
    assert not (tmp_path / "planted").exists()


@pytest.mark.slow
def test_a_kill_at_any_line_of_a_save_leaves_the_newest_or_the_one_before(tmp_path):
    """A process of its own is ended at each line that a save runs through, without any way out."""

    def trace(killed_at: int) -> Callable[..., Any]:
        left = killed_at

        def step(frame: Any, event: str, argument: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename != checkpoint.__file__:
                return None
            left -= event == "line"
            if left < 0:
                os._exit(9)
            return step

        return step

    lines = 0
    while True:
        folder = tmp_path / str(lines)
        for before in (1, 2):
            checkpoint.save(folder, state(before))
        child = os.fork()
        if not child:
            sys.settrace(trace(lines))
            checkpoint.save(folder, state(3))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        loaded = checkpoint.load(folder)
        if os.WEXITSTATUS(status) == 0:
            break
        assert is_whole(loaded, 2) or is_whole(loaded, 3)
        assert len(list(folder.glob("*.pt"))) >= 2
        checkpoint.save(folder, state(4))  # what was left lies in nobody's way
        assert is_whole(checkpoint.load(folder), 4)
        lines += 1
    assert is_whole(loaded, 3)
    assert lines > 40


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """Call with the bytes that a file may have from here on, as on a disk that has no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refused(folder: Path, text: str, code: int) -> None:
    with pytest.raises(
        OSError, match=rf"a checkpoint must fit on the disk, but one of 3\.8 MiB gave '{text}'"
    ) as caught:
        checkpoint.save(folder, {"step": 2, "weights": torch.zeros(1_000_000)})
    assert caught.value.errno == code
    assert caught.value.filename == str(folder)
    assert [path.name for path in folder.iterdir()] == ["000000.pt"]
    assert is_whole(checkpoint.load(folder), 1)


def test_a_file_too_large_for_its_limit_leaves_the_checkpoint_before_it(tmp_path, largest_file):
    checkpoint.save(tmp_path, state(1))
    largest_file(2**20)
    refused(tmp_path, "File too large", errno.EFBIG)
    largest_file(2**24)
    checkpoint.save(tmp_path, {"step": 2})
    assert checkpoint.load(tmp_path) == {"step": 2}


def test_a_full_disk_leaves_the_checkpoint_before_it(small_disk):
    folder = small_disk(2) / "checkpoints"
    checkpoint.save(folder, state(1))
    refused(folder, "No space left on device", errno.ENOSPC)
    checkpoint.save(folder, state(2))
    assert is_whole(checkpoint.load(folder), 2)


def test_in_a_bucket_a_checkpoint_is_saved_when_save_returns_and_the_last_two_stay(bucket, tmp_path, monkeypatch):
    folder = copies.local_path(f"{bucket}/checkpoints")
    for step in range(4):
        checkpoint.save(folder, state(step))
    checkpoint.save(folder / "phase", state(9))
    names = ["000002.pt", "000003.pt", "phase/000000.pt"]
    assert sorted(path.relative_to(folder).as_posix() for path in copies.sizes(folder)) == names
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "elsewhere"))
    folder = copies.local_path(f"{bucket}/checkpoints")
    assert checkpoint.save(folder, state(4)).name == "000004.pt"  # though this node has none
    assert is_whole(checkpoint.load(folder), 4)


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_phases_checkpoints_below_count_as_its_own_only(request, tmp_path, place):
    folder = tmp_path if place == "folder" else copies.local_path(f"{request.getfixturevalue('bucket')}/checkpoints")
    for step in range(5):
        checkpoint.save(folder / "phase", state(step))
    for step in range(3):
        assert checkpoint.save(folder, state(step)).name == f"{step:06d}.pt"
    names = ["000001.pt", "000002.pt", "phase/000003.pt", "phase/000004.pt"]
    assert sorted(path.relative_to(folder).as_posix() for path in copies.sizes(folder)) == names


def test_in_a_bucket_a_damaged_checkpoint_gives_way_and_a_stale_copy_does_too(bucket, tmp_path, monkeypatch):
    folder = copies.local_path(f"{bucket}/checkpoints")
    checkpoint.save(folder, state(1))
    newest = checkpoint.save(folder, state(2))
    newest.write_bytes(newest.read_bytes()[:-1])
    copies.push(newest)
    assert is_whole(checkpoint.load(folder), 1)
    assert [path.name for path in copies.sizes(folder)] == ["000000.pt"]
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "elsewhere"))
    checkpoint.save(copies.local_path(f"{bucket}/checkpoints"), state(5))
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "node"))
    assert is_whole(checkpoint.load(folder), 5)


def test_in_a_bucket_what_a_trial_leaves_is_there_before_its_report(bucket):
    folder = copies.local_path(f"{bucket}/trials/0")
    seen: list[list[str]] = []

    def send(step: int, metrics: dict[str, float], last: bool) -> None:
        seen.append(sorted(path.relative_to(folder).as_posix() for path in copies.sizes(folder)))

    trial = LocalTrial(folder, send=send)
    trial.tag("data.rows", "f00")
    trial.status("busy")
    trial.artifact("plots/curve.csv").write_text("1")
    trial.report(1, {"valid/hr_10": 0.5})
    trial.artifact("more.csv").write_text("2")
    trial.upload_artifacts()
    trial.delete_local()
    assert seen == [["artifacts/plots/curve.csv", "status", "tags.json"]]
    assert not folder.exists()
    again = LocalTrial(folder)
    again.tag("data.name", "tiny")
    assert json.loads((folder / "tags.json").read_text()) == {"data.rows": "f00", "data.name": "tiny"}
    assert folder / "artifacts/more.csv" in copies.sizes(folder)
