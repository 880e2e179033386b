"""A sweep on Ray that is steered at random while its driver is killed: each request counts once, nothing is lost."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from platform.storage import requests, trial_record
from platform.storage.folder import bring_tables, folder_of
from platform.storage.requests import Request, Verb
from platform.storage.trial_end import State
from platform.sweepfile.spec import load
from platform.tracking.journal import all_trials
from tests.processes import killed_at_the_end

ROOT = Path(__file__).parents[2]
SWEEP = """\
name: steered
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: 14
max_concurrent_trials: 2
method: random
storage: {storage}
study: sqlite:///{folder}/study.db
tracking: {{uri: sqlite:///{folder}/mlflow.db}}
limits: {{max_failures_per_trial: 0}}
parameters:
  x: {{min: 0.0, max: 1.0}}
  wrong: {{values: [nothing, exception]}}
  steps: 5
  sleep: 0.4
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["folder", "bucket"])
def file(request: pytest.FixtureRequest, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sweep file, whose storage is a folder or in a bucket."""
    is_bucket = request.param == "bucket"
    storage = f"{request.getfixturevalue('bucket')}/runs" if is_bucket else tmp_path / "runs"
    path = tmp_path / "steered.yaml"
    path.write_text(SWEEP.format(storage=storage, folder=tmp_path))
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return path


@pytest.fixture
def begin(file: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Call with the command's arguments to start it; it ends with the test."""
    with killed_at_the_end() as start:

        def begin(*arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "platform.sweep", str(file), *arguments]
            return start(command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        yield begin


def test_random_requests_and_two_kills_lose_nothing_and_do_nothing_twice(begin, file, tmp_path):
    folder, draws = folder_of(load(file)), random.Random(0)
    verbs = [*Verb, Verb.END, Verb.END, Verb.ENQUEUE, Verb.UNPAUSE] * 2 + [Verb.RETRY, Verb.END]
    draws.shuffle(verbs)
    asked: list[Request] = []
    driver = begin()
    _wait(lambda: len(trial_record.numbers(folder)) >= 3, driver)
    for place, verb in enumerate(verbs):
        request = Request(
            verb=verb,
            numbers=(draws.choice(trial_record.numbers(folder)),) if verb is Verb.END else (),
            setting={"x": round(draws.random(), 6), "wrong": "nothing"} if verb is Verb.ENQUEUE else {},
        )
        requests.leave(folder, request)
        asked.append(request)
        time.sleep(draws.uniform(0, 1))
        if place in (6, 13):
            driver.kill()
            driver.communicate()
            driver = begin()
    asked.append(Request(verb=Verb.UNPAUSE))
    requests.leave(folder, asked[-1])
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, (out, err)
    status = begin("--status").communicate(timeout=60)[0]

    answers = {each.id: answer for each in asked if (answer := requests.answer_to(folder, each))}
    assert len(answers) == len(asked) == 21
    trials = optuna.load_study(study_name="steered", storage=f"sqlite:///{tmp_path}/study.db").trials
    by_request = Counter(trial.user_attrs["request"] for trial in trials if "request" in trial.user_attrs)
    for request in asked:
        done = answers[request.id].done
        if request.verb is Verb.ENQUEUE:
            assert (by_request[request.id], done) == (1, True)
        if request.verb is Verb.END and done:
            assert trials[request.numbers[0]].user_attrs["end"]["state"] == "CANCELLED"
    again = [trial.user_attrs["retries"] for trial in trials if "retries" in trial.user_attrs]
    assert len(again) == len(set(again))
    bring_tables(folder)
    files = {each.number: each for each in all_trials(folder)}
    ends = {number: each.read_end() for number, each in files.items()}
    assert {end.state for end in ends.values() if end} <= {State.COMPLETE, State.FAIL, State.CANCELLED}
    assert len(ends) - len(again) == 14
    cancelled = {r.numbers[0] for r in asked if r.verb is Verb.END and answers[r.id].done}
    assert {number for number, end in ends.items() if end and end.state is State.CANCELLED} == cancelled
    for number, each in files.items():
        steps = [line["step"] for line in each.lines() if "valid/ndcg_10" in line["metrics"]]
        assert steps == list(range(1, len(steps) + 1)), number
    assert "steered: done" in status


def _wait(condition: Callable[[], bool], driver: subprocess.Popen[str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate(timeout=1)
        assert time.monotonic() < deadline
        time.sleep(0.2)
