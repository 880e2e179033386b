"""The key `compare` of a sweep file, and every problem with it."""

from pathlib import Path
from typing import Any

import pytest

from platform.sweepfile.spec import Compare, load


def text(good: Any, compare: str) -> str:
    return f"{good.text}compare: {compare}\n"


def test_a_cell_is_named_by_any_parameters_constants_and_those_of_branches_too(good, tmp_path):
    spec = load(good.write(tmp_path, text(good, "{by: [data.name, fusion, width]}")))
    assert spec.compare == Compare(by=("data.name", "fusion", "width"), published=None)
    assert spec.published() is None
    assert load(good.write(tmp_path, good.text)).compare is None


def test_published_numbers_lie_relative_to_the_sweep_file(good, tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "t.csv").write_text("fusion,test/hr_10\nadd,0.5\n")
    monkeypatch.chdir("/")
    spec = load(good.write(tmp_path, text(good, "{by: [fusion], published: paper/t.csv}")))
    assert (published := spec.published())
    assert published.values == {("add",): {"test/hr_10": 0.5}}


@pytest.mark.parametrize(
    ("compare", "problem"),
    [
        ("{by: [fuson]}", "compare.by[0]: must be a parameter of the sweep, but got 'fuson'; did you mean 'fusion'?"),
        ("{by: [fusion, data.nme]}",
         "compare.by[1]: must be a parameter of the sweep, but got 'data.nme'; did you mean 'data.name'?"),
        ("{by: [fusion, backbone.name]}", "compare.by[1]: must be a parameter of the sweep, but got 'backbone.name'; "
                                          "write backbone.name under parameters, a constant for its default"),
        ("{by: [fusion, fusion]}", "compare.by[1]: must be listed once, but got 'fusion' again; remove one"),
        ("{by: [seed]}", "compare.by[0]: must leave the seed to be averaged over, but got 'seed'; remove it"),
        ("{by: []}", "compare.by: must have at least one entry, but got []; add one"),
        ("{by: fusion}",
         "compare.by: must be a list, but got 'fusion'; write [ ] around it, or one `- ` line per entry"),
        ("{by: [1]}", "compare.by[0]: must be text, but got 1; put it in quotes"),
        ("{published: t.csv}", "compare.by: must be given, but is not there; add it"),
        ("[fusion]", "compare: must be a mapping, but got [\"fusion\"]; write {key: value}"),
        ("{by: [fusion], group_by: [order]}",
         "compare.group_by: must be a key of compare, but got 'group_by'; did you mean 'by'?"),
        ("{by: [fusion], publishd: t.csv}",
         "compare.publishd: must be a key of compare, but got 'publishd'; did you mean 'published'?"),
        ("{by: [fusion], published: t.csv}",
         "compare.published: must be a CSV file that can be read, but t.csv gave 'No such file or directory'; the path "
         "is taken from the sweep file's folder"),
        ("{by: [fusion], published: sweep.yaml}",
         "compare.published: must have a column for each of compare.by, but sweep.yaml has none for 'fusion'; "),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_line(good: Any, tmp_path: Path, compare: str, problem: str) -> None:
    told = good.problems(tmp_path, text(good, compare))
    assert told[0].startswith(f"sweep.yaml:{len(good.text.splitlines()) + 1}: {problem}")


def test_several_metrics_name_no_best_setting(good, tmp_path):
    two = "metric=[{name: valid/a, goal: maximize}, {name: valid/b, goal: minimize}]"
    (problem,) = good.problems(tmp_path, text(good, "{by: [fusion]}"), two, "early_stopping=none")
    rule = "compare: must choose by one metric, but got 2; keep one metric, or remove compare"
    assert problem == f"sweep.yaml:{len(good.text.splitlines()) + 1}: {rule}"


def test_a_problem_set_on_the_command_line_is_told_as_it_was_written(good, tmp_path):
    (problem,) = good.problems(tmp_path, good.text, "compare.by=[fuson]")
    assert problem.startswith("--set compare.by=[fuson]: compare.by[0]: must be a parameter of the sweep, but got")
