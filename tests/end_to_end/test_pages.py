"""MLflow's and Optuna Dashboard's own pages on a sweep, by the printed lines, in a real browser."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import requests
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.processes import killed_at_the_end
from tests.servers import answer_of, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TRIALS = 8


def served(start: Callable[..., subprocess.Popen[str]], command: str, port: int) -> None:
    """Start a server by a printed command, at another port; returns when it answers."""
    words = [str(Path(sys.executable).parent / command.split()[0]), *command.split()[1:], "--port", str(port)]
    start(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert answer_of(f"http://127.0.0.1:{port}/") is not None


@pytest.mark.usefixtures("store_is_there")
def test_the_printed_pages_show_the_sweep_and_failing_a_trial_there_ends_that_trial_alone(start, ended, tmp_path):
    if not (browser := shutil.which("chromium")):
        pytest.skip("no Chromium: apt-get install chromium")

    def drawn(address: str) -> str:
        """The text of a page once it is drawn."""
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", "--dump-dom",
                   "--window-size=2600,1400", f"--user-data-dir={tmp_path}/home", address]  # fmt: skip
        dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        return re.sub(r"\s+", " ", re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", dom, flags=re.DOTALL))

    asha = "early_stopping={type: asha, min_reports: 2, reduction_factor: 2}"
    settings = (f"num_trials={TRIALS}", asha, "parameters.sleep=0.4", "max_concurrent_trials=1")
    driver = start(*(word for setting in settings for word in ("--set", setting)))
    with killed_at_the_end() as begin:
        journal, dashboard = tmp_path / "runs" / "curve" / "study.journal", free_port()
        while not journal.exists():
            time.sleep(0.1)
        served(begin, f"optuna-dashboard {journal}", dashboard)
        here = f"http://127.0.0.1:{dashboard}"
        while not (running := [t for t in _trials(journal) if t.state.name == "RUNNING" and t.intermediate_values]):
            assert driver.poll() is None
            time.sleep(0.2)
        told = requests.post(f"{here}/api/trials/{running[0]._trial_id}/tell", json={"state": "Fail"}, timeout=20)
        assert told.status_code == 204, told.text  # what the button does
        done = ended(driver)
        assert (done.code, done.err) == (0, "")
        (mine,) = [t for t in _trials(journal) if t.number == running[0].number]
        assert mine.state.name == "FAIL"
        states = [t.state.name for t in _trials(journal) if "started" in t.user_attrs]
        assert (len(states), states.count("FAIL")) == (TRIALS, 1)
        pruned = next(t for t in _trials(journal) if t.state.name == "PRUNED" and "started" in t.user_attrs)
        overview = drawn(f"{here}/dashboard/studies/0")
        assert "valid/ndcg_10" in overview
        assert "Objective 0" not in overview
        shown = drawn(f"{here}/dashboard/studies/0/trials?numbers={pruned.number}")
        assert f"Trial {pruned.number} (trial_id={pruned._trial_id}) Pruned" in shown
        assert "early stopping (asha) at report" in shown
        assert f"mlflow {pruned.user_attrs['mlflow'].split('&')[0]}" in shown

        *_, ui, page, _ = done.out.splitlines()
        port = free_port()
        served(begin, ui.removeprefix("compare trials: "), port)
        address = page.removeprefix("and open ").replace(":5000/", f":{port}/")
        table = drawn(address)
        names = re.findall(r"\bcurve-(\d+)\b", table)
        assert sorted(set(names)) == sorted(str(number) for number in range(TRIALS)), "as many runs as trials"
        for column in ("valid/ndcg_10", "test/ndcg_10", "trial.state", "pruned", "cancelled"):
            assert column in table, column
        one = drawn(pruned.user_attrs["mlflow"].replace(":5000/", f":{port}/"))
        assert set(re.findall(r"\bcurve-(\d+)\b", one)) == {str(pruned.number)}


def _trials(journal: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="curve", storage=JournalStorage(JournalFileBackend(str(journal)))).trials
