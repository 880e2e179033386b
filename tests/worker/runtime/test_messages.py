"""Messages between driver, worker and ranks come out as they went in."""

import dataclasses
import json
import math

import pytest

from trainables.runtime.messages import Report, WorkerEnd, from_result, to_result
from trainables.runtime.rank_messages import RankEnd, RankTask, from_line, task_from_line, to_line
from trainables.runtime.task import Task

TASK = Task(trainable="t", values={"fit.rate": 0.1, "stages": [1, 2]}, number=3, folder="/f", stages="/s", cpus=2.0)
REPORT = Report(step=2, metrics={"valid/ndcg_10": 0.5, "train/loss": math.inf})
TUNES = {"training_iteration": 1, "done": False, "config": {}}


def test_a_task_comes_out_of_tunes_config():
    assert Task.from_dict({**json.loads(json.dumps(TASK.to_dict())), **TUNES}) == TASK


def test_a_secret_reaches_the_worker_by_the_file_of_its_trial(tmp_path):
    """Ray writes the state of its own trials into its session's folder, which everybody can read."""
    values = {"hub.api_key": "of-a-setting", "text": "https://me:of-a-url@hub", "hub.token": "${HUB_TOKEN}", "x": 0.5}
    task = dataclasses.replace(TASK, folder=str(tmp_path), values=values)
    carried = task.redacted()
    assert carried.values == {"hub.token": "${HUB_TOKEN}", "x": 0.5}
    (tmp_path / "trial.json").write_text(json.dumps({"values": values}))
    assert Task.from_dict(json.loads(json.dumps(carried.to_dict()))).whole() == task
    assert TASK.redacted() == TASK.whole() == TASK


@pytest.mark.parametrize("message", [REPORT, WorkerEnd(reason="finished", metrics={"trial/memory_mib": 1.0})])
def test_a_message_to_the_driver_comes_out_of_tunes_result(message):
    result = to_result(message)
    assert not any(isinstance(value, dict) for value in result.values())  # which Tune would flatten
    assert from_result({**result, **TUNES}) == message
    assert from_result(TUNES) is None


@pytest.mark.parametrize("message", [REPORT, RankEnd(reason="exception", text="a\nb", time=1.0, traceback="c\n")])
def test_a_message_of_a_rank_is_one_line(message):
    assert to_line(message).count(b"\n") == 1
    assert from_line(to_line(message)) == message


def test_the_task_of_a_rank_is_one_line():
    task = RankTask(task=TASK, rank=1, local_rank=0, device="cpu", interface="lo", address="127.0.0.1", port=9)
    assert task_from_line(to_line(task).decode()) == task
