"""The sweeps that are shipped: each can be loaded, checked and, where it is a paper's table, has exactly its cells."""

from collections import Counter
from pathlib import Path

import pytest

from platform.check import open_sweep, space_of
from platform.errors import InvalidSweep
from platform.published import as_text
from platform.spec import load

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(str(file.relative_to(SWEEPS)) for file in SWEEPS.rglob("*.yaml"))
TABLES = [file for file in FILES if file.startswith("paper/")]


@pytest.mark.parametrize("file", FILES)
def test_a_shipped_sweep_has_nothing_against_it_but_data_that_are_not_there(file, monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEP_DATA", str(tmp_path))
    try:
        open_sweep(SWEEPS / file)
    except InvalidSweep as error:
        others = [text for text in error.problems if "parameters.data.name: a data set is a folder" not in text]
        assert others == []
    else:
        assert load(SWEEPS / file).parameters["data.name"].value == "synthetic"


@pytest.mark.parametrize("file", [file for file in FILES if load(SWEEPS / file).method == "grid"])
def test_the_trials_of_a_grid_are_as_many_as_its_points(file):
    spec = load(SWEEPS / file)
    assert sum(1 for _ in space_of(spec).grid()) == spec.num_trials


@pytest.mark.parametrize("file", TABLES)
def test_the_cells_of_a_papers_table_are_those_it_printed(file):
    spec = load(SWEEPS / file)
    assert spec.path.stem == Path(spec.compare.published).stem
    trials = Counter(tuple(as_text(point.get(name)) for name in spec.compare.by) for point in space_of(spec).grid())
    assert set(trials) == set(spec.published().values)


def test_the_papers_methods_get_the_same_number_of_trials_in_each_cell():
    spec = load(SWEEPS / "paper" / "spectran_table2.yaml")
    points = Counter((point["backbone.name"], point["adapter.name"]) for point in space_of(spec).grid())
    assert {count for (backbone, _), count in points.items() if backbone == "bert4rec"} == {4 * 24 * 3}
    assert {count for (backbone, _), count in points.items() if backbone != "bert4rec"} == {4 * 24}


@pytest.mark.parametrize(
    ("file", "cell", "metric", "printed"),
    [
        ("spectran_table2", ("amazon-office-2014", "sasrec", "spectran"), "test/ndcg_20", 0.0612),
        ("spectran_table2", ("amazon-toys-2014", "bert4rec", "none"), "test/ndcg_10", 0.0189),
        ("spectran_table2", ("amazon-clothing-2014", "hstu", "whitenrec"), "test/hr_20", 0.0525),
        ("spectran_table3", ("amazon-office-2014", "sasrec", "spectran", "false", "taylor"), "test/ndcg_20", 0.0608),
        ("spectran_table3", ("amazon-beauty-2014", "hstu", "none", "", ""), "test/hr_10", 0.0509),
        ("spectran_table4", ("amazon-beauty-2014", "sasrec", "alphafuse", "16"), "test/hr_20", 0.0714),
        ("spectran_table5", ("amazon-toys-2014", "sasrec", "llm_esr"), "trial/seconds", 38.41),
        ("spectran_table6", ("amazon-office-2014", "sasrec", "spectran"), "trial/subordinate_weight", 52.93),
    ],
)
def test_what_was_printed_is_found_under_our_names(file, cell, metric, printed):
    assert load(SWEEPS / "paper" / f"{file}.yaml").published().values[cell][metric] == printed


def test_the_papers_own_slip_is_noted():
    notes = load(SWEEPS / "paper" / "spectran_table4.yaml").published().notes
    assert list(notes) == [(name, "sasrec", "rlmrec", "128") for name in ("amazon-toys-2014", "amazon-beauty-2014")]


def test_every_published_number_is_a_share_a_size_or_nothing():
    from platform.published import read

    files = sorted((SWEEPS / "paper" / "published").glob("*.csv"))
    assert len(files) == 10
    for file in files:
        told: list[str] = []
        by = [name for name in file.read_text().splitlines()[0].split(",") if "/" not in name and name != "note"]
        found = read(file, by, told.append)
        assert told == []
        for values in found.values.values():
            assert all(0 < value < 1 for name, value in values.items() if name.startswith("test/"))
            assert all(value > 0 for value in values.values())
