"""The command in a terminal: what stays on the screen at two widths, and Ctrl-C."""

import re
import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.terminals import CTRL_C, Terminal

ROOT = Path(__file__).parents[2]
TABLE = """\

curve: 3 complete
                            best trials
┏━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ trial ┃ valid/ndcg_10 ┃ x       ┃ width ┃ part.name ┃ part.bend ┃
┡━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━┩
│     0 │        0.6549 │ 0.5488  │ 16    │ curved    │ 3         │
│     1 │        0.5393 │ 0.8918  │ 16    │ curved    │ 5         │
│     2 │        0.3017 │ 0.07104 │ 64    │ curved    │ 5         │
└───────┴───────────────┴─────────┴───────┴───────────┴───────────┘
test, once, at the best validation step of trial 0: test/ndcg_10 0.9815
results: runs/curve/results.csv, runs/curve/report.html
compare trials: mlflow ui --backend-store-uri sqlite:///runs/mlflow.db
and open http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=********
"""
AT_80 = """\
see the search: (it listens on this machine alone; it can delete the study)
optuna-dashboard runs/curve/study.journal
trial 0 complete valid/ndcg_10 0.6549: x 0.5488, width 16, part.name curved,
part.bend 3
trial 1 complete valid/ndcg_10 0.5393: x 0.8918, width 16, part.name curved,
part.bend 5
trial 2 complete valid/ndcg_10 0.3017: x 0.07104, width 64, part.name curved,
part.bend 5
"""
AT_120 = """\
see the search: optuna-dashboard runs/curve/study.journal (it listens on this machine alone; it can delete the study)
trial 0 complete valid/ndcg_10 0.6549: x 0.5488, width 16, part.name curved, part.bend 3
trial 1 complete valid/ndcg_10 0.5393: x 0.8918, width 16, part.name curved, part.bend 5
trial 2 complete valid/ndcg_10 0.3017: x 0.07104, width 64, part.name curved, part.bend 5
"""


@pytest.fixture
def begin(curve_file, empty_store, monkeypatch):
    """Call with the size of a terminal and arguments to start the command beside its sweep file."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SWEEP_STORAGE", "runs")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TERM", "xterm")
    folder = curve_file.parent
    (folder / "runs").mkdir()
    shutil.copyfile(empty_store, folder / "runs" / "mlflow.db")

    def begin(columns: int, lines: int, *arguments: str) -> Terminal:
        words = [sys.executable, "-m", "platform.sweep", curve_file.name, *arguments]
        return Terminal(words, columns, lines, folder)

    return begin


def settings(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


@pytest.mark.parametrize(
    ("columns", "lines", "expected"), [(80, 24, AT_80), pytest.param(120, 40, AT_120, marks=pytest.mark.slow)]
)
def test_the_screen_keeps_each_trial_and_the_results_in_whole_words(begin, columns, lines, expected):
    few = settings("num_trials=3", "early_stopping=none", "method=random")
    code, shown = begin(columns, lines, "--address", "inline", *few).end()
    before, table, after = re.sub(r"(?<=Key=)\w{8}", "*" * 8, shown).partition(TABLE)
    assert (code, table) == (0, TABLE), shown
    early = [line for line in before.splitlines() if not line.startswith(("compare trials", "and open"))]
    assert early == expected.splitlines()  # but for MLflow's lines, which come as soon as it answers
    assert after.splitlines() == [line for line in early if "optuna" in line or "see the search" in line]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_first_minute_speaks_and_ctrl_c_answers_at_once_and_the_second_ends_now(begin, tmp_path):
    slow = settings("num_trials=4", "parameters.sleep=0.3", "early_stopping=none")
    here = begin(80, 24, *slow)
    here.until(lambda shown: "curve starts Ray" in shown)
    here.until(lambda shown: re.search(r"trial 0: report [2-5]( of 6)?, valid/ndcg_10 0\.\d+: x", shown) is not None)
    started = psutil.Process(here.pid).children(recursive=True)
    here.press(CTRL_C)
    here.until(lambda shown: "stopping; press Ctrl-C again to end now" in shown, seconds=2)
    time.sleep(0.6)  # one press may come twice
    here.press(CTRL_C)
    code, shown = here.end(seconds=10)
    assert code == 130
    assert [each.name() for each in psutil.wait_procs(started, timeout=20)[1]] == []
    code, shown = begin(80, 24, *slow).end()
    assert code == 0
    assert "curve: 4 complete" in shown
