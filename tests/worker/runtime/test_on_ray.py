"""Functions that Ray calls: each unfinished trial says why in its last message to the driver."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainables.runtime import on_ray
from trainables.runtime.messages import WorkerEnd, from_result
from trainables.runtime.task import Task

CURVE = "tests.trainables.curve"


@pytest.fixture
def last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """Call with keys of a task for reason and text of the trial's last word; it must end with an error."""
    from ray import tune

    results: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", results.append)
    stages = str(tmp_path / "stages")
    task = Task(trainable=CURVE, values={}, number=0, folder=str(tmp_path / "trial"), stages=stages, cpus=1.0)

    def last_word(**keys: Any) -> tuple[str, str]:
        with pytest.raises(RuntimeError):
            on_ray.train(replace(task, **keys).to_dict())
        (end,) = map(from_result, results)
        assert isinstance(end, WorkerEnd)
        return end.reason, end.text

    return last_word


def test_a_gpu_that_the_worker_does_not_see_is_an_exception_and_no_lost_worker(last_word, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as a driver that does not fit makes it
    reason, text = last_word(gpus=1.0)
    assert reason == "exception"
    assert text.endswith("resources.gpu must be usable where the trial runs, but torch sees no GPU (asked: 1.0)")


def test_a_folder_for_which_the_disk_has_no_room_is_a_full_disk_and_no_lost_worker(last_word, small_disk):
    disk = small_disk(1, files=1)
    (disk / "ballast").touch()
    reason, text = last_word(folder=str(disk / "trial"))
    assert reason == "disk full"
    assert text.startswith("OSError: [Errno 28] No space left on device")
