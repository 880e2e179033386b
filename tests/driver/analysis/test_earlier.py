"""The tables of a sweep that knows trials of an earlier one: with its name, their test values and their ranks."""

import csv
import io
import re
import shutil

import pytest
from rich.console import Console

from platform.analysis import compare, comparison, pairs, report, trials
from platform.study.study import Study
from tests.pages import ROOT

BY = ("method=random", "early_stopping=none", "compare={by: [part.name]}")


@pytest.fixture
def grown(sweep, write_trial):
    """The sweep `curve-wide`, which knows two complete trials of `curve`, whose folder is gone since."""
    old = sweep(*BY)
    (old.folder / "sweep.yaml").write_text(old.spec.text)
    for number, (shape, value) in enumerate([("plain", 0.5), ("curved", 0.25)]):
        values = {"x": 0.5, "width": 16, "part.name": shape} | ({"part.bend": 2} if shape == "curved" else {})
        write_trial(old.folder, number, values, [value], {"test/ndcg_10": value / 2}, ranks=[1 + number, 2, 3])
    here = sweep(*BY, *example(), "parameters.x={min: 0.0, max: 1.0}")
    study = Study(here.spec, here.space, here.folder)
    shutil.rmtree(old.folder)
    return here, study


def example():
    """The keys of the page's example, for the sweep `curve`."""
    found = re.search(
        r"`(name: .*)` and `(warm_start: .*)` make a new sweep", (ROOT / "sweeps" / "README.md").read_text()
    )
    assert found
    return [line.replace("dropout", "curve").replace(": ", "=") for line in found.groups()]


def test_trials_of_an_earlier_sweep_stand_in_the_tables_with_its_name(grown):
    here, study = grown
    table = trials.rows(study, here.folder)
    assert [(row.label, row.objective, row.test, row.best) for row in table] == [
        ("curve/0", (0.5,), {"test/ndcg_10": 0.25}, True),
        ("curve/1", (0.25,), {"test/ndcg_10": 0.125}, False),
    ]
    written = list(csv.DictReader(trials.write_csv(table, ["valid/ndcg_10"], here.folder / "results.csv").open()))
    assert [line["trial"] for line in written] == ["curve/0", "curve/1"]
    screen = io.StringIO()
    report.result(Console(file=screen, width=120), here.spec, table, None, "mlflow ui")
    assert "curve-wide: 2 of earlier sweeps" in screen.getvalue()
    assert "curve/0" in screen.getvalue()
    assert "at the best validation step of trial curve/0: test/ndcg_10 0.2500" in screen.getvalue()


def test_they_compete_in_the_comparison_and_in_paired_tests(grown):
    here, _ = grown
    compared = compare.compare([(here.spec, here.folder)])
    cells = {cell.by["part.name"]: cell for cell in compared.cells}
    assert {name: cell.metrics["test/ndcg_10"].mean for name, cell in cells.items()} == {"plain": 0.25, "curved": 0.125}
    assert [line[comparison.lines(compared)[0].index("trials")] for line in comparison.lines(compared)[1:]] == [
        "curve/0",
        "curve/1",
    ]
    name = here.spec.name
    assert f"{name}: trials of curve compete, of which curve/0, curve/1 stand for a cell" in compared.notes
    assert pairs.paired(compared).pairs[0].rows == 3
