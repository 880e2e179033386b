"""`python -m platform.results`: several sweeps as one table with paired tests, each only read."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from platform.results import main

ROOT = Path(__file__).parents[2]
SWEEP = """\
name: {name}
trainable: tests.trainables.curve
metric: {{name: valid/ndcg_10, goal: maximize}}
num_trials: 2
parameters:
  data.name: toys
  {name}: {{values: [one, two]}}
compare: {{by: [data.name, {name}]}}
"""


class Files:
    """Two sweep files, learned and floors, of two ways each."""

    def __init__(self, folder: Path, write_trial: Callable[..., Path]) -> None:
        self.folder, self._write = folder, write_trial
        for name in ("learned", "floors"):
            (folder / f"{name}.yaml").write_text(SWEEP.format(name=name))

    def __getitem__(self, name: str) -> str:
        return str(self.folder / f"{name}.yaml")

    def play(self, name: str, folder: str | None = None, count: int = 2) -> Path:
        """Put complete trials of a sweep into its folder, which may have another name."""
        sweep = self.folder / "runs" / (folder or name)
        for number, way in enumerate(("one", "two")[:count]):
            ranks = [1 + number, 2, 40]
            self._write(sweep, number, {"data.name": "toys", name: way}, [0.5], {"test/ndcg_10": 0.25}, ranks=ranks)
        return sweep


@pytest.fixture
def files(tmp_path, write_trial, monkeypatch) -> Files:
    monkeypatch.setenv("SWEEP_STORAGE", str(tmp_path / "runs"))
    return Files(tmp_path, write_trial)


def column(path: Path, *names: str) -> list[tuple[str, ...]]:
    with path.open() as stream:
        return [tuple(line[name] for name in names) for line in csv.DictReader(stream)]


def test_two_sweeps_are_one_table_with_all_pairs_written_beside_the_first(files, capsys):
    first, second = files.play("learned"), files.play("floors")
    assert main([files["learned"], files["floors"]]) == 0
    out = capsys.readouterr().out
    assert "test values of each cell's best setting" in out
    assert "paired differences of test/ndcg_10, 3 rows of 3 users" in out
    assert out.splitlines()[-1] == f"written: {first}/comparison.csv, {first}/pairs.csv"
    assert column(first / "comparison.csv", "sweep", "data.name", "learned", "floors") == [
        ("learned", "toys", "one", ""),
        ("learned", "toys", "two", ""),
        ("floors", "toys", "", "one"),
        ("floors", "toys", "", "two"),
    ]
    assert len(column(first / "pairs.csv", "first", "second")) == 6
    assert not (second / "pairs.csv").exists()


def test_a_format_prints_the_table_alone_and_writes_nothing(files, capsys):
    folder = files.play("learned")
    files.play("floors")
    assert main(["--format", "latex", files["learned"], files["floors"]]) == 0
    out = capsys.readouterr().out
    assert out.startswith("\\begin{table}\n")
    assert out.endswith("\\end{table}\n")
    assert not (folder / "comparison.csv").exists()


def test_a_single_sweep_needs_no_compare_and_is_drawn_while_it_runs(files, capsys):
    text = Path(files["learned"]).read_text()
    Path(files["learned"]).write_text(text.rpartition("compare")[0])
    folder = files.play("learned", count=1)
    assert main([files["learned"]]) == 0
    assert capsys.readouterr().out == f"drawn: {folder}/report.html, {folder}/pictures/\n"
    assert {path.suffix for path in (folder / "pictures").iterdir()} == {".html", ".js", ".pdf", ".svg"}


def test_one_page_on_several_sweeps_lies_where_it_is_wanted(files, tmp_path):
    first, second = files.play("learned"), files.play("floors")
    assert main([files["learned"], files["floors"], "--page", str(tmp_path / "compare.html")]) == 0
    page = (tmp_path / "compare.html").read_text()
    assert "<h2>learned</h2>" in page
    assert "<h2>floors</h2>" in page
    assert not (first / "report.html").exists()
    assert not (second / "pictures").exists()


def test_set_after_a_file_is_for_that_file_and_before_all_for_all(files, capsys):
    first = files.play("learned", "learned-office")
    files.play("floors", "floors-office")
    named = [files["learned"], "--set", "name=learned-office", files["floors"], "--set=name=floors-office"]
    assert main(["--set", "num_trials=5", *named]) == 0
    assert column(first / "comparison.csv", "sweep") == [("learned-office",)] * 2 + [("floors-office",)] * 2
    out = capsys.readouterr().out
    assert "learned-office: 2 of 5 trials have ended\n" in out
    assert "floors-office: 2 of 5 trials have ended\n" in out


def test_a_sweep_that_has_not_begun_is_said_and_the_others_are_shown(files, capsys, tmp_path):
    folder = files.play("floors", count=1)
    assert main([files["learned"], files["floors"]]) == 0
    out = capsys.readouterr().out
    assert "learned: 0 of 2 trials have ended\nlearned: no trial is complete\n" in out
    assert out.splitlines()[-1] == f"written: {folder}/comparison.csv, {folder}/pairs.csv"
    assert not (tmp_path / "runs" / "learned").exists()


def test_without_any_complete_trial_it_ends_with_1_and_writes_nothing(files, capsys, tmp_path):
    assert main([files["learned"]]) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        f"a table must have a complete trial, but got none; see: python -m platform.sweep {files['learned']}\n"
    )
    assert not (tmp_path / "runs").exists()


def test_the_problems_of_all_files_are_told_at_once_with_exit_code_2(files, capsys, tmp_path):
    Path(files["learned"]).write_text(SWEEP.format(name="learned").rpartition("compare")[0])
    floors = [files["floors"], files["floors"], "--set", "num_trials=x"]
    assert main([files["learned"], *floors, str(tmp_path / "no.yaml")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        f"{files['learned']}:1: compare: must say which parameters define a line of the table, but is not there; write "
        "compare: {by: [adapter.name]}"
    )
    assert told[1].startswith("--set num_trials=x: num_trials: must be a whole number")
    assert told[2].startswith(f"{tmp_path}/no.yaml: must be a sweep file, but there is none")
    assert len(told) == 3


def test_one_sweep_named_twice_is_refused(files, capsys):
    assert main([files["floors"], files["floors"]]) == 2
    assert capsys.readouterr().err == (
        "floors: must be named once, but is the sweep of several files; give each its name with --set name=...\n"
    )


@pytest.mark.parametrize("arguments", [[], ["--set", "name=x"], ["--sat", "x"]])
def test_a_command_line_without_a_file_shows_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "FILE [--set KEY=VALUE ...]" in capsys.readouterr().err


def test_the_command_takes_neither_ray_nor_mlflow_nor_torch(files):
    files.play("floors")
    code = (
        "import sys; from platform.results import main; code = main(sys.argv[1:]); "
        "print({'ray', 'mlflow', 'torch'} & set(sys.modules)); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, files["floors"]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "set()"
