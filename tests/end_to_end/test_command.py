"""`python -m platform.sweep` as a user meets it: exit codes, the screen, and every way to end it and carry on."""

import contextlib
import ipaddress
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

SLOW_TRIALS = ("--set", "parameters.sleep=0.15", "--set", "early_stopping=none")


def reports(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / "trials").glob("*/journal.jsonl"))


def wait_for_reports(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while reports(folder) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Store:
    """The runs of the sweep in MLflow."""

    def __init__(self, storage: Path) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
        experiment = self._client.get_experiment_by_name("tests.trainables.curve")
        runs = self._client.search_runs([experiment.experiment_id])
        (self.parent,) = [run for run in runs if "sweep.trial" not in run.data.tags]
        self.children = {int(run.data.tags["sweep.trial"]): run for run in runs if "sweep.trial" in run.data.tags}
        assert len(self.children) == len(runs) - 1

    def statuses(self) -> Counter[str]:
        return Counter(run.info.status for run in self.children.values())

    def steps(self, number: int, metric: str) -> list[int]:
        history = self._client.get_metric_history(self.children[number].info.run_id, metric)
        return sorted(point.step for point in history)


def listening(process: subprocess.Popen[str]) -> set[tuple[str, str]]:
    """Name of each process that the command started and address that it listens at."""
    found = set()
    for each in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            sockets = each.net_connections("tcp")
            found |= {(each.name()[:10], at.laddr.ip) for at in sockets if at.status == psutil.CONN_LISTEN}
    return found


def check_complete(storage: Path, trials: int, steps: int = 6) -> None:
    """Each trial once, each step once, nothing RUNNING."""
    store = Store(storage)
    assert sorted(store.children) == list(range(trials))
    assert store.statuses() == Counter({"FINISHED": trials})
    assert store.parent.info.status == "FINISHED"
    for number in range(trials):
        assert store.steps(number, "valid/ndcg_10") == list(range(1, steps + 1))
        assert store.steps(number, "test/ndcg_10") == [steps]


def test_a_sweep_on_ray_ends_with_its_table_and_a_clean_screen_and_again_without_ray(start, ended, tmp_path):
    done = ended(start("--set", "num_trials=4"))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    told = [line for line in lines if line.startswith("trial ")]
    assert len(told) == 4
    assert told[-1].split(" | ")[1].startswith("4/4 done, 0 running")
    rest = done.out.split(told[-1])[1]
    assert "curve: " in rest
    assert " best trials " in rest
    assert "test, once, at the best validation step of trial" in rest
    journal = tmp_path / "runs" / "curve" / "study.journal"
    view = Store(tmp_path / "runs").parent.data.tags["sweep.id"][:8]
    pages = [
        f"compare trials: mlflow ui --backend-store-uri sqlite:///{tmp_path}/runs/mlflow.db",
        f"and open http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey={view}",
        f"see the search: optuna-dashboard {journal} (it listens on this machine alone; it can delete the study)",
    ]
    assert lines[-3:] == pages
    assert lines[0] == pages[-1]
    assert lines[1] == "starts Ray"
    assert [line for line in lines[2:] if line in pages] == [*pages[:2], *pages]
    rest = done.out.lower().replace("starts ray", "").replace(str(tmp_path).lower(), "").replace("optuna-dashboard", "")
    for noise in ("ray", "tune", "warning", "dashboard", "info"):
        assert noise not in rest
    store = Store(tmp_path / "runs")
    assert store.parent.info.status == "FINISHED"
    assert sorted(store.children) == [0, 1, 2, 3]
    assert "RUNNING" not in store.statuses()
    head, best, *_ = (tmp_path / "runs" / "curve" / "results.csv").read_text().splitlines()
    assert head.startswith("trial,state,reason,valid/ndcg_10,")
    assert best.startswith(f"{store.parent.data.tags['best.trial']},COMPLETE,")

    sessions = {*Path(os.environ["RAY_TMPDIR"]).glob("ray/session_2*")}
    assert sessions
    again = ended(start("--set", "num_trials=4"))
    assert (again.code, again.err) == (0, "")
    assert {*Path(os.environ["RAY_TMPDIR"]).glob("ray/session_2*")} == sessions
    assert [line for line in again.out.splitlines() if line.startswith("trial ")] == []
    assert again.out.split("test, once")[1] == done.out.split("test, once")[1]
    assert len(Store(tmp_path / "runs").children) == 4


@pytest.mark.usefixtures("store_is_there")
def test_a_sweep_without_a_usable_result_exits_1_and_says_why(start, ended):
    done = ended(start("--address", "inline", "--set", "num_trials=2", "--set", "parameters.wrong=silent"))
    assert done.code == 1
    assert "curve: 2 failed" in done.out
    assert "trial 0 failed: it never reported valid/ndcg_10" in done.out


def test_check_says_that_there_is_nothing_to_object_to(start, ended, curve_file, tmp_path):
    done = ended(start("--check"))
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{curve_file}: a sweep of 6 trials of tests.trainables.curve, nothing to object to\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_a_changed_space_exits_2_and_leaves_the_finished_sweep_as_it_was(start, ended, tmp_path):
    inline = ("--address", "inline", "--set", "num_trials=1")
    assert ended(start(*inline)).code == 0
    before = (tmp_path / "runs" / "curve" / "sweep.yaml").read_text()
    done = ended(start(*inline, "--set", "parameters.width=16"))
    assert done.code == 2
    assert "name: a sweep must keep its space and search, but 'curve' has trials of another" in done.err
    assert Store(tmp_path / "runs").parent.info.status == "FINISHED"
    assert (tmp_path / "runs" / "curve" / "sweep.yaml").read_text() == before


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_the_copy_of_the_file_in_the_storage_runs_too(start, ended, tmp_path):
    inline = ("--address", "inline", "--set", "num_trials=1")
    assert ended(start(*inline)).code == 0
    assert ended(start(*inline, file=tmp_path / "runs" / "curve" / "sweep.yaml")).code == 0


def test_a_second_driver_exits_3_and_names_the_first(start, ended, tmp_path):
    first = start("--address", "inline", *SLOW_TRIALS, "--set", "parameters.sleep=30")
    try:
        wait = time.monotonic() + 90
        while not list((tmp_path / "runs" / "curve").glob("lease.*")):
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < wait
            time.sleep(0.05)
        second = ended(start("--address", "inline"))
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert second.code == 3
    assert f"a sweep must have one driver, but 'curve' is held by process {first.pid} on " in second.err
    assert second.err.endswith("wait for it, or end it\n")


@pytest.mark.usefixtures("store_is_there")
@pytest.mark.parametrize(
    ("signum", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_resumable_and_the_same_command_completes_each_trial_once(
    start, ended, tmp_path, signum, code
):
    arguments = ("--address", "inline", *SLOW_TRIALS, "--set", "num_trials=3")
    first = start(*arguments)
    wait_for_reports(first, tmp_path / "runs" / "curve", 9)
    os.killpg(first.pid, signum)
    stopped = ended(first)
    assert stopped.code == code
    assert stopped.err == ""
    carry_on = f"carry on with: python -m platform.sweep {tmp_path}/curve.yaml {' '.join(arguments)}"
    assert f"{signal.Signals(signum).name}; {carry_on}" in stopped.out
    store = Store(tmp_path / "runs")
    assert store.parent.info.status == "KILLED"
    assert "RUNNING" not in store.statuses()
    before = reports(tmp_path / "runs" / "curve")
    assert before < 21

    done = ended(start(*arguments))
    assert done.code == 0
    assert "curve: 3 complete" in done.out
    assert reports(tmp_path / "runs" / "curve") == 21
    check_complete(tmp_path / "runs", 3)


@pytest.mark.slow
def test_a_signal_that_the_trial_makes_an_error_of_its_own_ends_it_too_and_is_no_failure_of_the_trial(
    start, ended, tmp_path
):
    stopped = ended(start("--address", "inline", "--set", "parameters.wrong=deaf", "--set", "num_trials=2"))
    assert (stopped.code, stopped.err) == (130, "")
    assert "SIGINT; carry on with: " in stopped.out
    assert "the file lacks a part" not in (tmp_path / "runs" / "curve" / "sweep.log").read_text()


@pytest.mark.usefixtures("store_is_there")
@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_after_the_last_trial_ends_it_too_and_the_same_command_completes_it(
    start, ended, tmp_path, signum, code
):
    arguments = ("--address", "inline", *SLOW_TRIALS, "--set", "parameters.sleep=0.5", "--set", "num_trials=2")
    first = start(*arguments)
    home = tmp_path / "runs" / "curve"
    while not (home / "results.csv").exists():  # plots follow
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    os.killpg(first.pid, signum)
    stopped = ended(first)
    assert (stopped.code, stopped.err) == (code, "")
    carry_on = f"carry on with: python -m platform.sweep {tmp_path}/curve.yaml {' '.join(arguments)}"
    assert stopped.out.endswith(f"{signal.Signals(signum).name}; {carry_on}\n")
    assert list(home.glob("lease.*")) == []
    assert Store(tmp_path / "runs").parent.info.status == "KILLED"
    assert ended(start(*arguments)).code == 0
    check_complete(tmp_path / "runs", 2)


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_a_storage_that_stops_answering_ends_it_with_the_rule_and_the_same_command_carries_on(start, ended, tmp_path):
    arguments = ("--address", "inline", "--set", "num_trials=1", "--set", "early_stopping=none")
    draft = tmp_path / "runs" / "curve" / "trials" / "0" / ".end.json.draft"
    draft.parent.mkdir(parents=True)
    draft.symlink_to("/proc/self/mem")  # what is written there gives EIO
    stopped = ended(start(*arguments))
    assert stopped.code == 1
    told = "storage: must answer while a sweep runs, but got [Errno 5] Input/output error; the same command carries on"
    assert stopped.err == f"{told} then\n"
    draft.unlink()
    assert ended(start(*arguments)).code == 0
    check_complete(tmp_path / "runs", 1)


@pytest.mark.slow
def test_a_killed_driver_is_carried_on_by_the_same_command_with_nothing_twice(start, ended, tmp_path):
    arguments = ("--address", "inline", *SLOW_TRIALS, "--set", "num_trials=3")
    first = start(*arguments)
    wait_for_reports(first, tmp_path / "runs" / "curve", 9)
    os.killpg(first.pid, signal.SIGKILL)
    assert ended(first).code == -signal.SIGKILL
    done = ended(start(*arguments))
    assert done.code == 0
    check_complete(tmp_path / "runs", 3)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_on_ray_too_whatever_ends_it_the_same_command_completes_each_trial_once(start, ended, tmp_path, signum):
    arguments = (*SLOW_TRIALS, "--set", "parameters.sleep=0.4", "--set", "num_trials=5")
    first = start(*arguments)
    wait_for_reports(first, tmp_path / "runs" / "curve", 10)
    if signum == signal.SIGINT:
        os.killpg(first.pid, signum)  # a terminal sends it to the whole group
    else:
        first.send_signal(signum)
    stopped = ended(first)
    assert stopped.code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[signum]
    if signum != signal.SIGKILL:
        assert stopped.err == ""
        assert f"carry on with: python -m platform.sweep {tmp_path}/curve.yaml {' '.join(arguments)}" in stopped.out
        assert "RUNNING" not in Store(tmp_path / "runs").statuses()
    done = ended(start(*arguments))
    assert (done.code, done.err) == (0, "")
    assert "curve: 5 complete" in done.out
    check_complete(tmp_path / "runs", 5)


def test_plan_says_what_would_run_and_runs_nothing(start, ended, tmp_path):
    done = ended(start("--plan", "--set", "max_concurrent_trials=1"))
    assert (done.code, done.err) == (0, "")
    said = {line[:16].strip(): line[16:].strip() for line in done.out.splitlines()}
    assert re.fullmatch(r"1 node of \d+ CPU, [\d.]+ GiB memory: up to 1 trial each", said.pop("nodes"))
    assert re.fullmatch(r"1 trial at once: \d+ CPU idle in all", said.pop(""))
    assert said.pop("starts Ray") == ""
    assert said == {
        "sweep": "curve: 6 trials of tests.trainables.curve by tpe",
        "early stopping": "asha",
        "searches": "x, width, part.name, part.bend",
        "a trial takes": "1 CPU",
        "at once": "1",
        "on": "Ray on this machine",
        "storage": f"{tmp_path}/runs/curve",
        "tracking": f"sqlite:///{tmp_path}/runs/mlflow.db",
    }
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_what_a_sweep_on_ray_starts_listens_on_this_machines_loopback_alone(start, ended, tmp_path):
    process, found = start(*SLOW_TRIALS, "--set", "num_trials=3"), set()
    while process.poll() is None and reports(tmp_path / "runs" / "curve") < 6:
        found |= listening(process)
        time.sleep(0.1)
    assert ended(process).code == 0
    assert {"gcs_server", "raylet", "ray::Dashb"} <= {name for name, _ in found}
    addresses = {ipaddress.ip_address(ip.removeprefix("::ffff:")) for _, ip in found}
    assert all(address.is_loopback for address in addresses), found


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_tracking_that_does_not_answer_never_fails_a_sweep_and_is_shipped_later(start, ended, tmp_path):
    inline = ("--address", "inline", "--set", "early_stopping=none", "--set", "num_trials=2")
    done = ended(start(*inline, "--set", "tracking.uri=http://127.0.0.1:9"))
    assert done.code == 0
    assert "MLflow at http://127.0.0.1:9 does not answer; the sweep goes on and ships later" in done.out
    assert "MLflow at http://127.0.0.1:9 has not taken everything; the same command ships the rest: python" in done.out
    assert "curve: 2 complete" in done.out
    later = ended(start(*inline, "--set", f"tracking.uri=sqlite:///{tmp_path}/runs/mlflow.db"))
    assert later.code == 0
    check_complete(tmp_path / "runs", 2)
