"""The progress of a sweep: lines that stay, the line that is redrawn, what is left."""

import io
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from platform.analysis import progress as module
from platform.analysis.progress import Progress
from platform.storage.trial_end import EndedTrial, State, TrialEnd

SETTING = {"x": 0.25, "steps": 6}


def plain() -> Console:
    return Console(file=io.StringIO(), width=160)


def terminal(width: int = 120) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def running(number: int, reports: int = 2, pace: float | None = 10.0, status: str = "") -> Any:
    return SimpleNamespace(
        asked=SimpleNamespace(number=number, values={"epochs": 9, "x": 0.5}),
        files=SimpleNamespace(status=lambda: status),
        num_valued=reports,
        value=(0.1635,),
        pace_s=pace,
    )


def ledger(left: int = 0, trials: tuple[Any, ...] = ()) -> Any:
    space = SimpleNamespace(reports=lambda values: values["epochs"], swept=("x",))
    return SimpleNamespace(left=left, running=dict(enumerate(trials)), study=SimpleNamespace(space=space))


def ended(number: int, state: str, reason: str, values: tuple[float, ...] | None, work: float | None = None):
    return EndedTrial(number, TrialEnd.now(State(state), reason), values, setting=SETTING, work_s=work)


def test_a_trial_is_one_plain_line_where_nothing_is_redrawn(sweep):
    console = plain()
    progress = Progress(console, sweep().spec)
    progress.doing("starts Ray")
    progress.begin(ledger(left=4), [])
    progress.ended(ended(0, "COMPLETE", "finished", (0.25,), 60))
    progress.ended(ended(1, "PRUNED", "early stopping (asha) at report 2, rung 0, cutoff 0.5", (0.125,), 20))
    progress.ended(ended(2, "FAIL", "exception: [red]no[/red]", None, 10))
    progress.finish()
    assert text(console).splitlines() == [
        "starts Ray",
        "trial 0 complete valid/ndcg_10 0.2500: x 0.25 | 1/6 done, 0 running, 0 pruned, best 0.2500 (trial 0), "
        "about 0:04:00 left",
        "trial 1 pruned valid/ndcg_10 0.1250 (early stopping (asha) at report 2, rung 0, cutoff 0.5): x 0.25 | "
        "2/6 done, 0 running, 1 pruned, best 0.2500 (trial 0), about 0:02:40 left",
        "trial 2 fail (exception: [red]no[/red]): x 0.25 | 3/6 done, 0 running, 1 pruned, 1 failed, "
        "best 0.2500 (trial 0), about 0:02:00 left",
    ]


def test_trials_of_earlier_runs_count_but_do_not_shorten_what_is_left(sweep):
    console = plain()
    progress = Progress(console, sweep().spec)
    past = [ended(0, "COMPLETE", "finished", (0.75,)), ended(1, "PRUNED", "early", (0.5,))]
    progress.begin(ledger(left=4), past, due=4)  # a grid has fewer points than there are num_trials
    assert text(console) == ""
    progress.ended(ended(2, "COMPLETE", "finished", (0.25,), 30))
    assert "| 3/4 done, 0 running, 1 pruned, best 0.7500 (trial 0), about 0:01:00 left" in text(console)
    progress.finish()


def test_a_run_with_another_seed_is_due_and_never_the_best(sweep):
    console = plain()
    progress = Progress(console, sweep("seeds={values: [0, 1, 2]}", "num_trials=1").spec)
    progress.begin(ledger(left=1), [ended(0, "COMPLETE", "finished", (0.25,))])
    progress.ended(replace(ended(1, "COMPLETE", "finished", (0.75,), 5), of=0))
    assert "| 2/3 done, 0 running, 0 pruned, best 0.2500 (trial 0), about 0:00:05 left" in text(console)
    progress.finish()


@pytest.mark.parametrize(
    ("goal", "values", "best"),
    [
        ("maximize", (0.1, 0.3, 0.2), "0.3000 (trial 1)"),
        ("minimize", (0.3, 0.1, 0.2), "0.1000 (trial 1)"),
        ("maximize", (-0.3, -0.1, -0.2), "-0.1000 (trial 1)"),
        ("maximize", (0.1, 0.1, 0.1), "0.1000 (trial 0)"),
    ],
)
def test_the_best_so_far_is_by_the_goal_with_its_sign_and_the_first_of_equals(sweep, goal, values, best):
    console = plain()
    progress = Progress(console, sweep(f"metric={{name: valid/ndcg_10, goal: {goal}}}").spec)
    progress.begin(ledger(), [])
    for number, value in enumerate(values):
        progress.ended(ended(number, "COMPLETE", "finished", (value,)))
    assert text(console).splitlines()[-1].endswith(f", best {best}")
    progress.finish()


def test_what_is_left_knows_how_many_run_at_once_and_each_trials_own_pace(sweep):
    """A worker that starts takes no part in it: nothing is said before two reports came."""
    new, half, last = running(0, reports=1, pace=None), running(1, reports=4), running(2, reports=8)
    assert seconds(sweep, left=4, trials=(new,)) is None
    assert seconds(sweep, left=0, trials=(half,)) == 50  # 5 reports, 10 seconds each
    assert seconds(sweep, left=0, trials=(half, last)) == 50  # the slowest
    assert seconds(sweep, left=4, trials=(half, last)) == (4 * 90 + 50 + 10) / 2
    assert seconds(sweep, left=4, trials=(half, last), work=30) == (4 * 30 + 50 + 10) / 2
    assert seconds(sweep, left=0, trials=(new,), work=30) == 15
    assert seconds(sweep, left=0, trials=(), work=30) is None


def seconds(sweep: Any, *, left: int, trials: tuple[Any, ...], work: float | None = None) -> float | None:
    progress = Progress(plain(), sweep().spec)
    progress.begin(ledger(left, trials), [])
    if work:
        progress.ended(ended(9, "COMPLETE", "finished", (0.5,), work))
    progress.finish()
    return progress._seconds_left(list(trials), left)


def test_where_nothing_is_redrawn_a_line_comes_at_least_once_a_minute(sweep, monkeypatch, wait_for):
    monkeypatch.setattr(module, "_LINE_S", 0.1)
    console = plain()
    progress = Progress(console, sweep().spec)
    progress.begin(ledger(left=3, trials=(running(4, status="epoch 2 of 9"),)), [])
    wait_for(lambda: text(console).count("\n") > 1, "two lines")
    progress.finish()
    count = len(text(console).splitlines())
    assert text(console).splitlines()[0] == (
        "0/6 done, 1 running, 0 pruned, about 0:05:40 left; "
        "trial 4: report 2 of 9, valid/ndcg_10 0.1635: x 0.5 (epoch 2 of 9)"
    )
    time.sleep(0.3)
    assert len(text(console).splitlines()) == count, "none after the end"


def test_a_terminal_keeps_a_line_per_trial_and_shows_below_what_runs_with_its_setting(sweep):
    console = terminal()
    progress = Progress(console, sweep().spec)
    progress.doing("starts Ray")
    progress.doing("")
    trials = tuple(running(number, status="epoch 3 of 9" if number == 1 else "") for number in range(1, 7))
    progress.begin(ledger(left=3, trials=trials), [])
    progress.ended(ended(0, "COMPLETE", "finished", (0.25,), 30))
    progress.ended(ended(7, "FAIL", "exception: no", None, 30))
    progress.finish()
    shown = text(console)
    assert "curve starts Ray" in shown
    assert "trial 0 complete valid/ndcg_10 0.2500: x 0.25\n" in shown
    assert "trial 7 fail (exception: no): x 0.25\n" in shown
    assert "2/6 done, 6 running, 0 pruned, 1 failed, best 0.2500 (trial 0), about 0:01:25 left" in shown
    assert "  trial 1: report 2 of 9, valid/ndcg_10 0.1635: x 0.5 (epoch 3 of 9)" in shown
    assert "  trial 2: report 2 of 9, valid/ndcg_10 0.1635: x 0.5\n" in shown
    assert "trial 5:" not in shown
