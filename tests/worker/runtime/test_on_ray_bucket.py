"""A trial that Ray runs on a node whose storage is a bucket: the driver finds all of it, the node keeps nothing."""

import pytest

from trainables.runtime import on_ray
from trainables.runtime.task import Task
from trainables.storage import mirror


@pytest.mark.parametrize(("wrong", "reason"), [("nothing", "finished"), ("exception", "exception")])
def test_what_a_trial_leaves_is_in_the_bucket_before_its_last_word(bucket, monkeypatch, wrong, reason):
    from ray import tune

    place = f"{bucket}/runs/curve/trials/0"
    folder = mirror.local_path(place)
    said: list[tuple[str, set[str]]] = []

    def report(message: dict) -> None:
        there = {path.relative_to(folder).as_posix() for path in mirror.sizes(folder)}
        said.append((message.get("reason", "report"), there))

    monkeypatch.setattr(tune, "report", report)
    values = {"x": 0.5, "steps": 3, "wrong": wrong}
    stages = f"{bucket}/runs/stages"
    task = Task(trainable="tests.trainables.curve", values=values, number=0, folder=place, stages=stages, cpus=1.0)
    with pytest.raises(SystemExit if reason == "finished" else RuntimeError):
        on_ray.train(task.to_dict())
    assert [word for word, _ in said][-1] == reason
    assert "artifacts/config.json" in said[0][1]
    newest = "000002.pt" if reason == "finished" else "000001.pt"
    assert {"status", f"checkpoints/{newest}"} <= said[-1][1]
    assert ("artifacts/traceback.txt" in said[-1][1]) == (reason == "exception")
    assert not folder.exists()
