"""Output for a person: plain lines, the live line, the result."""

import io
from pathlib import Path

from rich.console import Console

from platform.analysis import report
from platform.analysis.comparison import Cell, Comparison, PrintedCell, Spread
from platform.analysis.pairs import Pair, PairedTests
from platform.analysis.trials import Row
from platform.storage.trial_end import State
from platform.tracking.journal import TrialFiles

TRIALS = (TrialFiles(Path("runs"), 0),)
LOOK = "mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"


def plain(width: int = 160) -> Console:
    return Console(file=io.StringIO(), width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(number: int, state: str = "COMPLETE", value: float | None = 0.5, reason: str = "finished", **more) -> Row:
    fields = {"swept": {"x": 0.123456, "part.name": "plain"}, "test": {}, "seconds": 1.0, **more}
    return Row(number, State(state), reason, None if value is None else (value,), **fields)


def test_the_result_shows_the_best_the_test_values_and_how_to_look_further(sweep):
    console = plain()
    best = row(3, value=0.75, test={"test/ndcg_10": 0.5, "test/hr_10": 0.25})
    table = [
        best,
        *(row(n, value=0.1) for n in range(4, 10)),
        row(1, "PRUNED", 0.2),
        row(2, "FAIL", None, "worker lost"),
    ]
    report.result(console, sweep().spec, table, None, [LOOK])
    lines = text(console).splitlines()
    assert lines[1] == "curve: 7 complete, 1 pruned, 1 failed"
    cells = [line.replace(" ", "").split("│")[1:-1] for line in lines if line.startswith("│")]
    assert cells[0] == ["3", "0.7500", "0.1235", "plain"]
    assert len(cells) == 5
    assert lines[-3:] == [
        "test, once, at the best validation step of trial 3: test/hr_10 0.2500  test/ndcg_10 0.5000",
        "trial 2 failed: worker lost",
        LOOK,
    ]


def test_a_command_to_carry_on_with_is_printed_whole_and_as_it_is(sweep):
    console = plain(width=40)
    command = "python -m platform.sweep 'a[bold].yaml' --set 'parameters.x={values: [0.1, 0.2]}' --address inline"
    report.result(console, sweep().spec, [row(0, "RUNNING")], f"SIGINT; carry on with: {command}", [LOOK])
    assert f"\ncurve: 1 unfinished (SIGINT; carry on with: {command})\n" in text(console)


def test_a_sweep_without_any_trial_says_so(sweep):
    console = plain()
    report.result(console, sweep().spec, [], None, [LOOK])
    assert text(console) == f"\ncurve: no trial\n{LOOK}\n"


def test_of_several_metrics_the_pareto_front_is_shown_and_no_single_winner(sweep):
    two = "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: minimize}]"
    console = plain()
    winner = Row(0, State.COMPLETE, "finished", (0.5, 0.25), {"x": 1}, {"test/ndcg_10": 0.1}, 1.0, best=True)
    beaten = Row(1, State.COMPLETE, "finished", (0.4375, 0.375), {"x": 2}, {}, 1.0)
    report.result(console, sweep(two, "early_stopping=none", "method=nsga2").spec, [winner, beaten], None, [LOOK])
    assert "Pareto front" in text(console)
    assert "0.4375" not in text(console)
    assert "valid/ndcg_10" in text(console)
    assert "valid/hr_10" in text(console)
    assert "0.2500" in text(console)
    assert "test, once" not in text(console)


def test_a_plan_is_one_aspect_a_line():
    console = plain()
    report.plan(console, [("sweep", "x: 3 trials [of] y"), ("at once", "2")])
    assert [line.rstrip() for line in text(console).splitlines()] == ["sweep    x: 3 trials [of] y", "at once  2"]


def cell(way: str, **more) -> Cell:
    fields = {"setting": {"x": 1}, "settings": 24, "fewer_seeds": 0, "objective": Spread(0.75, 0.0125), "note": "",
              "metrics": {"test/ndcg_10": Spread(0.125, None)}, "published": {}, "trials": (0, 1), **more}  # fmt: skip
    return Cell("s", {"way": way}, **fields)


def cells(console: Console) -> list[list[str]]:
    lines = text(console).splitlines()
    return [line.replace(" ", "").split("│")[1:-1] for line in lines if line.startswith("│")]


def test_a_comparison_is_a_line_a_cell_with_published_values_and_the_difference_below():
    console = plain()
    spectran = cell(
        "spectran",
        metrics={"test/ndcg_10": Spread(0.15, 0.0025), "trial/parameters": Spread(2_214_912, None)},
        published={"test/ndcg_10": 0.12, "trial/parameters": 2_210_000},
        note="as [printed]",
    )
    metrics = ("test/ndcg_10", "trial/parameters")
    report.comparison(console, Comparison("valid/x", ("way",), metrics, (cell("none"), spectran), ("s: a [note]",)))
    assert cells(console) == [
        ["none", "2", "24", "0.7500±0.0125", "0.1250", ""],
        ["spectran", "2", "24", "0.7500±0.0125", "0.1500±0.0025", "2,214,912"],
        ["aspublished", "", "", "", "0.1200+25.0%", "2,210,000+0.2%"],
    ]
    assert text(console).splitlines()[-3:] == [
        "as published: the printed value, and how far ours lies from it",
        "published spectran: as [printed]",
        "s: a [note]",
    ]


def test_at_80_columns_the_objectives_own_metric_stays_and_nothing_is_cut():
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=80)
    metrics = {f"test/{name}_{k}": Spread(0.125, 0.0025) for name in ("hr", "ndcg") for k in (10, 20)}
    ours = [
        Cell("s", {"data.name": data, "adapter.name": way}, {}, 24, 0, Spread(0.75, 0.0125), metrics,
             {"test/ndcg_20": 0.12}, "", TRIALS)
        for data in ("amazon-office-2014", "amazon-beauty-2014") for way in ("spectran", "llm_esr")
    ]  # fmt: skip
    printed = PrintedCell("s", {"data.name": "amazon-office-2014", "adapter.name": "tedrec"}, {"test/ndcg_20": 0.05})
    by = ("data.name", "adapter.name")
    report.comparison(console, Comparison("valid/ndcg_20", by, tuple(metrics), tuple(ours), (), (printed,)))
    first, second = (f"amazon-office-2014, {way}" for way in ("spectran", "llm_esr"))
    pair = Pair(first, second, 0.5, 0.25, 0.25, 0.125, 0.375, 0.01, 0.02, 0.5, 10, 10)
    report.pairs(console, PairedTests(20, (pair,), ()), "runs/pairs.csv")
    shown = text(console)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert cells(console)[0] == ["amazon-office-2014", "spectran", "0.7500±0.0125", "0.1250±0.0025"]
    assert cells(console)[1] == ["", "aspublished", "", "0.1200+4.2%"]
    assert cells(console)[8] == ["amazon-office-2014", "tedrec,published", "", "0.0500"]
    assert cells(console)[9] == ["amazon-office-2014,", "amazon-office-2014,", "+0.2500", "0.02"]
    for line in (
        "rows marked published: printed for a method that did not run here",
        "no room here, but in comparison.csv: test/hr_10, test/hr_20, test/ndcg_10, settings, seeds",
        "no room here, but in pairs.csv: 95% interval, p, rows, p, Wilcoxon",
    ):
        assert line in " ".join(shown.split())


def test_a_terminal_breaks_neither_the_heading_nor_a_failure_in_mid_word(sweep):
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=60)
    command = "python -m platform.sweep sweeps/spectran_taylor.yaml"
    failed = row(2, "FAIL", None, "exception: KeyError: 'learning_rate' (own/trainable/run.py:6)")
    report.result(console, sweep().spec, [failed], f"SIGINT; carry on with: {command}", [])
    assert text(console).splitlines() == [
        "",
        "curve: 1 failed (SIGINT; carry on with: python -m",
        "platform.sweep sweeps/spectran_taylor.yaml)",
        "trial 2 failed: exception: KeyError: 'learning_rate'",
        "(own/trainable/run.py:6)",
    ]


def test_what_all_cells_share_stands_in_a_line_of_its_own():
    console = plain()
    toys = [Cell("s", {"data": "toys", "way": way}, {}, 1, 0, Spread(0.5, None), {}, {}, "", TRIALS) for way in "ab"]
    report.comparison(console, Comparison("valid/x", ("data", "way"), (), tuple(toys), ()))
    assert cells(console) == [["a", "1", "1", "0.5000"], ["b", "1", "1", "0.5000"]]
    assert text(console).splitlines()[-1] == "all cells: data toys"


def test_cells_of_two_sweeps_that_are_named_alike_are_told_apart_by_the_sweep():
    console = plain()
    alike = [Cell(sweep, {"way": "a"}, {}, 1, 0, Spread(0.5, None), {}, {}, "", TRIALS) for sweep in ("one", "two")]
    report.comparison(console, Comparison("valid/x", ("way",), (), tuple(alike), ()))
    assert cells(console) == [["one", "1", "1", "0.5000"], ["two", "1", "1", "0.5000"]]


def test_a_comparison_without_published_values_does_not_speak_of_them():
    console = plain()
    report.comparison(console, Comparison("valid/x", ("way",), ("test/ndcg_10",), (cell("none"),), ()))
    assert "published" not in text(console)


def test_pairs_are_a_line_each_and_what_is_left_out_is_said():
    console = plain()
    pair = Pair("spectran", "none", 0.5, 0.25, 0.25, 0.125, 0.375, 0.0123, 0.0246, 0.5, 4895, 4895)
    report.pairs(console, PairedTests(20, (pair,), ("a is in no pair: [why]",)), "runs/pairs.csv")
    assert "paired differences of test/ndcg_20, 4895 rows of 4895 users" in text(console)
    assert cells(console) == [["spectran", "none", "+0.2500", "+0.1250to+0.3750", "0.012", "0.025", "0.5", "4895"]]
    assert text(console).splitlines()[-1] == "a is in no pair: [why]"


def test_of_very_many_pairs_the_file_holds_the_rest():
    console = plain()
    pair = Pair("a", "b", 0.5, 0.25, 0.25, 0.125, 0.375, 0.01, 0.02, 0.5, 10, 10)
    report.pairs(console, PairedTests(20, (pair,) * 75, ()), "runs/pairs.csv")
    assert len(cells(console)) == 60
    assert text(console).splitlines()[-1] == "15 more pairs: runs/pairs.csv"
