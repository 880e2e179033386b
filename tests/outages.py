"""A sweep whose MLflow goes away and comes back, and what its store holds in the end against what was reported."""

import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from platform.tracking.journal import TrialFiles, all_trials
from tests.processes import killed_at_the_end
from tests.servers import MlflowServer, Postgres

ROOT = Path(__file__).parents[1]
SWEEP = """\
name: outages
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
method: random
num_trials: {trials}
parameters: {{steps: {steps}, sleep: {sleep}, x: {{min: 0.0, max: 1.0}}}}
"""


@dataclass(frozen=True)
class Outage:
    """Something that goes away and comes back."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]


@dataclass
class Span:
    """When an outage was, in seconds since the epoch."""

    name: str
    began: float
    ended: float = 0.0


@dataclass
class Played:
    """A sweep that came to its end: how often it was started, what it said, its folder, and the outages."""

    folder: Path
    starts: int = 0
    said: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


@contextmanager
def servers(binaries: Path, folder: Path) -> Iterator[tuple[Postgres, MlflowServer, str]]:
    """PostgreSQL, an MLflow server on it, and the database's URL; both are ended."""
    (folder / "postgres").mkdir()
    folder.chmod(0o755)
    database = Postgres(binaries, folder / "postgres")
    mlflow: MlflowServer | None = None
    try:
        database.begin()
        url = database.database()
        mlflow = MlflowServer(url, folder)
        mlflow.begin()
        yield database, mlflow, url
    finally:
        if mlflow:
            mlflow.thaw()
            mlflow.kill()
        database.thaw()
        database.kill()


def play(
    folder: Path, uri: str, outages: Sequence[Outage], *, seconds: float, pause: float, trials: int, steps: int,
    sleep: float, arguments: Sequence[str] = (),
) -> Played:  # fmt: skip
    """Run a sweep through ``outages`` of ``seconds`` each, ``pause`` seconds apart; again until all is shipped.

    Raises:
        AssertionError: the command fails, or has not shipped everything after five starts.
    """
    file = folder / "outages.yaml"
    file.write_text(SWEEP.format(trials=trials, steps=steps, sleep=sleep))
    command = [sys.executable, "-m", "platform.sweep", str(file), "--set", f"tracking.uri={uri}", *arguments]
    environment = {**os.environ, "SWEEP_STORAGE": str(folder / "runs"), "OMP_NUM_THREADS": "1"}
    played = Played(folder / "runs" / "outages")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with killed_at_the_end() as begin:
        while played.starts < 5:
            process = begin(command, cwd=ROOT, env=environment, **pipes)
            played.starts += 1
            if played.starts == 1:
                _suffer(played, outages, seconds, pause)
            out, _ = process.communicate(timeout=600)
            assert process.returncode == 0, out
            played.said += [line for line in out.splitlines() if "MLflow" in line]
            if "has not taken everything" not in out:
                return played
    raise AssertionError(f"not everything was shipped after {played.starts} starts")


def _suffer(played: Played, outages: Sequence[Outage], seconds: float, pause: float) -> None:
    while not list(played.folder.glob("trials/*/journal.jsonl")):
        time.sleep(0.1)
    for outage in outages:
        time.sleep(pause)
        span = Span(outage.name, time.time())
        outage.begin()
        time.sleep(seconds)
        outage.end()
        span.ended = time.time()
        played.spans.append(span)


def differences(played: Played, url: str) -> list[str]:
    """List facts that the store lacks, has twice or holds otherwise than the journals, one line each."""
    found: list[str] = []
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as connection:
        runs = connection.execute(
            "select r.run_uuid, r.status, t.value from runs r left join tags t on t.run_uuid = r.run_uuid and "
            "t.key = 'sweep.trial' where r.lifecycle_stage = 'active'"
        ).fetchall()
        points = connection.execute("select run_uuid, key, step, value from metrics").fetchall()
    found += [f"run of trial {trial} is {status}" for _, status, trial in runs if status == "RUNNING"]
    by_trial = Counter(trial for _, _, trial in runs)
    found += [f"trial {trial} has {count} runs" for trial, count in by_trial.items() if count > 1]
    there: dict[str, Counter[tuple[str, int, float]]] = {}
    for run, key, step, value in points:
        there.setdefault(run, Counter())[key, step, value] += 1
    run_of = {trial: run for run, _, trial in runs}
    for trial in all_trials(played.folder):
        found += _compare(trial, there.get(run_of.get(str(trial.number), ""), Counter()))
    return found


def _compare(trial: TrialFiles, points: Counter[tuple[str, int, float]]) -> list[str]:
    expected: Counter[tuple[str, int, float]] = Counter()
    for line in trial.lines():
        expected.update((name, line["step"], value) for name, value in line["metrics"].items())
        expected["trial/reports", line["report"], float(line["report"])] += 1
    lost, more = expected - points, points - expected
    return [f"trial {trial.number}: lost {point}" for point in lost] + [
        f"trial {trial.number}: double or unknown {point}" for point in more
    ]


def gaps(played: Played, sleep: float) -> tuple[list[float], list[float]]:
    """Seconds from one report of a trial to the next beyond its own work: those within an outage, and the others."""
    inside: list[float] = []
    outside: list[float] = []
    for trial in all_trials(played.folder):
        times = [(line["step"], line["time"]) for line in trial.lines()]
        for (step, before), (following, after) in itertools.pairwise(times):
            if following == step + 1:
                hit = any(span.began < after and before < span.ended for span in played.spans)
                (inside if hit else outside).append(after - before - sleep)
    return inside, outside
