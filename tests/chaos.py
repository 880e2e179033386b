"""Chaos: a real sweep of the trainable `curve`, its processes found and killed, and what must be true at the end."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
MARK = "SWEEP_CHAOS"
"""The variable in the environment of every process of one sweep."""

SWEEP = """\
name: chaos
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: {trials}
max_concurrent_trials: 2
early_stopping: {{type: asha, min_reports: 2, reduction_factor: 3}}
deterministic: {deterministic}
parameters:
  x: {{min: 0.0, max: 1.0}}
  width: {{values: [16, 32, 64]}}
  steps: {steps}
  sleep: {sleep}
  log_work: true
"""
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}


@dataclass
class Sweep:
    """One sweep in a folder of its own, run by the command again and again until it ends by itself."""

    folder: Path
    trials: int = 6
    steps: int = 6
    sleep: float = 0.3
    deterministic: bool = True
    more: str = ""
    """Lines of the sweep file beside those that all have."""
    further: int = 0
    """Runs with further seeds, which come on top of the trials."""
    store: Path | None = None
    """An MLflow database to start from: making the tables takes seconds."""
    kills: int = 0
    running: int = 0
    """Trials that a kill may have cut, summed over the kills."""
    surprises: list[str] = field(default_factory=list)
    """Ends of the command that nobody asked for."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "chaos.yaml"
        words = {"trials": self.trials, "steps": self.steps, "sleep": self.sleep}
        self.file.write_text(self.more + SWEEP.format(deterministic=str(self.deterministic).lower(), **words))
        self.home = self.folder / "runs" / "chaos"
        if self.store:
            (self.folder / "runs").mkdir(exist_ok=True)
            shutil.copyfile(self.store, self.folder / "runs" / "mlflow.db")

    def start(self, *arguments: str, killed: tuple[str, int] | None = None) -> subprocess.Popen[str]:
        """Start the command in a session of its own, where it is `killed` before the n-th call of a function."""
        environment = {**os.environ, "SWEEP_STORAGE": str(self.folder / "runs"), MARK: str(self.folder)}
        environment |= {"OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        module = ["tests.killed", *map(str, killed)] if killed else ["platform.sweep"]
        command = [sys.executable, "-m", *module, str(self.file), *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)

    def reports(self) -> int:
        """Lines that are in the trials' journals."""
        return sum(path.read_bytes().count(b"\n") for path in self.home.glob("trials/*/journal.jsonl"))

    def wait_for_reports(self, driver: subprocess.Popen[str], more: int, seconds: float = 120) -> bool:
        """Wait until `more` reports have come; False where the sweep ended before."""
        wanted, deadline = self.reports() + more, time.monotonic() + seconds
        while self.reports() < wanted:
            if driver.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"no report for {seconds} s: {tail(self.home / 'sweep.log')}"
            time.sleep(0.02)
        return True

    def processes(self) -> list[psutil.Process]:
        """Every process of this sweep that lives."""
        return [each for each in psutil.process_iter() if _mark(each) == str(self.folder)]

    def workers(self) -> list[psutil.Process]:
        """The processes in which trials run."""
        return [each for each in self.processes() if _title(each).startswith("ray::ImplicitFunc")]

    def note_kill(self) -> None:
        """Count a kill that cuts all trials that run."""
        self.kills += 1
        self.running += sum(1 for _ in self._open_trials())

    def note_killed_worker(self) -> None:
        """Count a kill of one worker, which runs one trial."""
        self.kills += 1
        self.running += 1

    def note_end(self, driver: subprocess.Popen[str]) -> int:
        """Note that the command ended by itself; its exit code."""
        out, err = driver.communicate()
        if driver.returncode:
            self.surprises.append(f"exit code {driver.returncode}: {(out + err)[-300:]}")
        return driver.returncode

    def finish(self, driver: subprocess.Popen[str], seconds: float = 300) -> str:
        """Let the command end by itself; returns what it said."""
        try:
            out, err = driver.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            raise
        assert driver.returncode == 0, (driver.returncode, err, out, tail(self.home / "sweep.log"))
        return out

    def end(self) -> None:
        """Kill what still runs of it."""
        for process in self.processes():
            _kill(process)

    def left(self, seconds: float) -> list[str]:
        """List the processes that still run `seconds` after the end, and the locks that are left."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        locks = [*self.home.glob("lease.*"), *self.home.glob("study.journal.lock*")]
        return [_title(each) for each in left] + [path.name for path in locks]

    def _open_trials(self) -> Iterator[Path]:
        for path in self.home.glob("trials/*/trial.json"):
            end = path.with_name("end.json")
            if not end.exists() or '"INTERRUPTED"' in end.read_text():
                yield path.parent


def kill_drivers(sweep: Sweep, kills: int, chance: random.Random) -> None:
    """Kill the driver at moments of its start and of its work, and repeat the command each time, to the end."""
    while sweep.kills < kills:
        driver = sweep.start()
        if chance.random() < 0.3:
            _sleep(driver, chance.uniform(0.5, 12))
        elif sweep.wait_for_reports(driver, chance.randint(1, 6)):
            _sleep(driver, chance.uniform(0, sweep.sleep))
        if driver.poll() is not None:
            if sweep.note_end(driver) == 0:
                return
            continue
        sweep.note_kill()
        driver.kill()
        driver.communicate()
    sweep.finish(sweep.start())


def kill_workers(sweep: Sweep, kills: int, chance: random.Random) -> None:
    """Kill a worker process again and again under one driver."""
    driver = sweep.start()
    while sweep.kills < kills and sweep.wait_for_reports(driver, chance.randint(1, 3)):
        _sleep(driver, chance.uniform(0, sweep.sleep))
        if workers := sweep.workers():
            sweep.note_killed_worker()
            _kill(chance.choice(workers))
    sweep.finish(driver)


def kill_ray(sweep: Sweep, kills: int, chance: random.Random) -> list[int]:
    """Kill every process of Ray at once, but not the driver; its exit codes. The same command carries on."""
    codes = []
    while sweep.kills < kills:
        driver = sweep.start()
        if not sweep.wait_for_reports(driver, chance.randint(1, 6)):
            sweep.note_end(driver)
            break
        _sleep(driver, chance.uniform(0, sweep.sleep))
        sweep.note_kill()
        for process in sweep.processes():
            if process.pid != driver.pid:
                _kill(process)
        driver.communicate(timeout=150)
        codes.append(driver.returncode)
    sweep.finish(sweep.start())
    return codes


def send_signals(
    sweep: Sweep, signals: list[signal.Signals], chance: random.Random, within: float = 10
) -> list[tuple[int, list[str]]]:
    """Send each signal to a driver at work; its exit code and what is left `within` seconds after the signal."""
    ends = []
    for signum in signals:
        driver = sweep.start()
        if not sweep.wait_for_reports(driver, chance.randint(1, 6)):
            sweep.note_end(driver)
            break
        sweep.note_kill()
        sent = time.monotonic()
        driver.send_signal(signum)
        until(lambda: not sweep.workers(), within, "the workers to end")
        driver.communicate(timeout=60)
        ends.append((driver.returncode, sweep.left(max(0.0, sent + within - time.monotonic()))))
    sweep.finish(sweep.start())
    return ends


def _sleep(driver: subprocess.Popen[str], seconds: float) -> None:
    """Sleep, or until the driver ends by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(seconds)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def tail(path: Path, lines: int = 40) -> str:
    """The last lines of a log, empty where there is none."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def study_of(sweep: Sweep) -> list[Any]:
    """Every trial of Optuna, as the study has it."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(sweep.home / "study.journal")))
    return optuna.load_study(study_name="chaos", storage=storage).trials


def trials_of(sweep: Sweep) -> dict[int, tuple[dict[str, Any], str, float | None, dict[int, float]]]:
    """Values, state, value and curve of each trial that ran, as the study has them."""
    return {
        trial.number: (trial.params, trial.state.name, trial.value, dict(trial.intermediate_values))
        for trial in study_of(sweep)
        if "started" in trial.user_attrs
    }


def faults(sweep: Sweep) -> list[str]:
    """Every rule that a finished sweep breaks, in words; empty where nothing was lost and nothing is double."""
    from mlflow import MlflowClient

    found = list(sweep.surprises)
    trials = trials_of(sweep)
    client = MlflowClient(f"sqlite:///{sweep.folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tests.trainables.curve")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    children = [run for run in runs if "sweep.trial" in run.data.tags]
    parents = [run for run in runs if "sweep.trial" not in run.data.tags]
    _expect(found, "trials", len(trials), sweep.trials + sweep.further)
    _expect(found, "child runs", sorted(int(run.data.tags["sweep.trial"]) for run in children), sorted(trials))
    _expect(found, "parent runs", [run.info.status for run in parents], ["FINISHED"])
    for run in children:
        number = int(run.data.tags["sweep.trial"])
        _expect(found, f"status of run {number}", run.info.status, STATUS.get(trials[number][1], "none"))
        lines = [json.loads(line) for line in (sweep.home / "trials" / str(number) / "journal.jsonl").open()]
        for metric in run.data.metrics:
            if metric != "trial/reports":
                sent = Counter(point.step for point in client.get_metric_history(run.info.run_id, metric))
                journalled = Counter(line["step"] for line in lines if metric in line["metrics"])
                _expect(found, f"{metric} of run {number}", sent, journalled)
                found += [f"{metric} of run {number}: step {step} {n} times" for step, n in sent.items() if n > 1]
        _expect(found, f"curve of {number}", [*trials[number][3]], list(range(1, len(trials[number][3]) + 1)))
    _expect(found, "failed", [number for number, trial in trials.items() if trial[1] == "FAIL"], [])
    if (redone := epochs_redone(sweep)) > sweep.running:
        found.append(f"{redone} epochs were redone, where {sweep.kills} kills cut {sweep.running} trials")
    return found


def epochs_redone(sweep: Sweep) -> int:
    """Steps that workers computed more than once."""
    logs = [path.read_text().split() for path in sweep.home.glob("trials/*/work.log")]
    return sum(len(steps) - len(set(steps)) for steps in logs)


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def _expect(found: list[str], what: str, got: object, wanted: object) -> None:
    if got != wanted:
        found.append(f"{what}: {got} instead of {wanted}")


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK) if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:60] or process.name()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
