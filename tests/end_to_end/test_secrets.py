"""Everything that sweeps with planted secrets leave behind, on real servers, holds none of them."""

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
import pytest

from tests.clusters import TOKEN, RayCluster
from tests.servers import MlflowServer
from trainables.storage.objects import Bucket

SWEEP = """\
name: {name}
trainable: tests.trainables.secretive
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: 4
method: grid
parameters:
  hub.api_key: {{values: ["{keys[0]}", "{keys[1]}"]}}
  text: {{values: ["", "{text}"]}}
limits: {{max_failures_per_trial: 0}}
study: {study}
tracking: {{uri: "{tracking}"}}
"""
IN_FILE = {"study": "of/study+1 x", "tracking": "of/tracking 1", "key": "of the hub/1", "text": "of-an-exception-1"}
IN_ENVIRONMENT = {"SECRET_OF_STUDY": "of%2Fstudy%2B2", "LOGIN": "of-tracking-2", "HUB_A": "of the hub/2"}
OF_WORKERS = {"HUB_TOKEN": "of/the environment", "PGPASSWORD": "of-pg-password"}


def forms(secret: str) -> set[bytes]:
    """The text, percent-encoded, as JSON, and in base64 behind zero, one or two other bytes."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    found |= {base64.b64encode(b"x" * n + secret.encode()).decode()[4 * (n > 0) : -4] for n in range(3)}
    return {form.encode() for form in found}


def hits(places: Iterator[tuple[str, bytes]], secrets: list[str]) -> tuple[int, set[str]]:
    """The number of places, and those that hold a secret in any form."""
    looked_for, count, found = set().union(*map(forms, secrets)), 0, set()
    for name, content in places:
        count += 1
        found |= {name} if any(form in content for form in looked_for) else set()
    return count, found


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and "working_dir_files" not in path.parts:  # the user's own file, as it was sent
                yield str(path), path.read_bytes()


@pytest.fixture
def cluster(bucket: str, tmp_path: Path) -> Iterator[RayCluster]:
    environment: Any = {**IN_ENVIRONMENT, **OF_WORKERS, "HUB_B": "of-hub-b-2", "SWEEP_CACHE": str(tmp_path / "node")}
    cluster = RayCluster(**environment)
    yield cluster
    cluster.end()


@pytest.fixture
def commands() -> Iterator[set[str]]:
    """The command of every process on this machine, sampled while a test runs."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            for process in psutil.process_iter(["cmdline"]):
                seen.add(" ".join(process.info["cmdline"] or ()))

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    over.set()
    thread.join()


@pytest.mark.slow
def test_no_secret_of_a_sweep_is_left_anywhere(submit, cluster, commands, checkout, bucket, postgres, tmp_path):
    server = MlflowServer(f"sqlite:///{tmp_path}/mlflow/mlflow.db", tmp_path / "mlflow")
    (tmp_path / "mlflow").mkdir()
    server.begin()
    (database, host), terminal = postgres.database().split("@"), ""

    def run(name: str, storage: str, study: str, tracking: str, **written: object) -> None:
        nonlocal terminal
        written |= {"study": f"{database}:{study}@{host}", "tracking": server.uri.replace("//", f"//me:{tracking}@")}
        (checkout / "sweeps" / f"{name}.yaml").write_text(SWEEP.format(name=name, **written))
        code, out, err = submit("--set", f"storage={storage}", storage=None, file=f"sweeps/{name}.yaml")
        assert (code, f"{name}: 2 complete, 2 failed" in out) == (0, True), out + err
        terminal += out + err

    try:
        in_file = {name: quote(IN_FILE[name], safe="") for name in ("study", "tracking")}
        text, keys = f"no entry for https://me:{IN_FILE['text']}@hub.example", (IN_FILE["key"], "of-hub-b-1")
        run("held", f"{bucket}/runs", **in_file, text=text, keys=keys)
        run("named", f"{tmp_path}/runs", study="${SECRET_OF_STUDY}", tracking="${LOGIN}", text="no entry",
            keys=("${HUB_A}", "${HUB_B}"))  # fmt: skip
        answers = [
            urllib.request.urlopen(
                urllib.request.Request(f"{cluster.address}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
            ).read()
            for path in ("/api/jobs/", "/api/jobs/held-1/logs", "/api/jobs/named-1/logs", "/api/v0/actors?detail=1",
                         "/api/v0/tasks?detail=1", "/api/v0/runtime_envs?detail=1", "/api/v0/workers?detail=1")
        ]  # fmt: skip
    finally:
        server.kill()

    def everything() -> Iterator[tuple[str, bytes]]:
        yield from files(tmp_path / "runs", tmp_path / "mlflow", tmp_path / "node", cluster.folder)
        store = Bucket(bucket.removeprefix("s3://"))
        for found in list(store.list("")):
            yield found.key, (store.read(found.key) or pytest.fail(found.key)).data
        yield "terminal", terminal.encode()
        yield from ((f"answer {index}", answer) for index, answer in enumerate(answers))
        yield from ((command, os.fsencode(command)) for command in list(commands))

    count, found = hits(everything(), [*IN_FILE.values(), "of-hub-b-1", *OF_WORKERS.values()])
    assert count > 100
    assert {name for name in found if not name.endswith("/trial.json")} == set()
    assert found  # the values of `held`, which its trials need
    secrets = [*IN_ENVIRONMENT.values(), "of/study+2", "of-hub-b-2", *OF_WORKERS.values()]
    dumped = subprocess.run(
        [shutil.which("pg_dump") or "pg_dump", f"postgresql{database.partition('psycopg')[2]}@{host}"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert b"${HUB_A}" in dumped
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as connection:
        ends = connection.execute("select value from tags where key = 'sweep.end'").fetchall()
    hidden = "exception: OSError: no entry for https://***@hub.example: *** *** (tests/trainables/secretive/run.py:"
    assert any(end.startswith(hidden) for (end,) in ends)
    assert hits(iter([*everything(), ("study", dumped)]), secrets)[1] == set()


@pytest.mark.slow
def test_a_command_that_is_refused_shows_no_secret(start, ended, curve_file):
    url = "study=postgresql://me:in-the-url@127.0.0.1:9/x"
    wrong = ended(start("--address", "inline", "--set", url))
    mistyped = ended(start("--set", url, "--set", "parameters.hub.api_key=set-by-hand-1", "--set", "nmae=x"))
    assert (wrong.code, mistyped.code) == (1, 2)
    assert not [each for each in (wrong, mistyped) if "in-the-url" in each.out + each.err]
    assert "set-by-hand-1" not in mistyped.err
