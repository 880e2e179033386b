"""Sweep files that are far too large, too deep or endless are refused in moments: rule, value, remedy."""

import time
from pathlib import Path

import pytest

from platform.errors import InvalidSweep
from platform.space.check import open_sweep
from platform.sweep import main
from platform.sweepfile.parse_parameters import MOST_PARAMETERS, MOST_VALUES
from platform.sweepfile.yaml_lines import DEEPEST, LARGEST_FILE, LONGEST_TEXT, MOST_ENTRIES, read

SWEEP = """\
name: hostile
trainable: spectran
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 1
parameters:
  data.name: synthetic
"""
ALIASES = "x:\n  a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
CHAIN = "x: [&a0 []" + "".join(f", &a{i} [*a{i - 1}]" for i in range(1, 90)) + "]\n"
TOO_MANY = f"the file: must have at most {MOST_ENTRIES} keys and values, each alias counted with all that it stands for"
TOO_DEEP = f"the file: must have at most {DEEPEST} lists and mappings, one in another, but got more; take brackets"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (ALIASES, 8, TOO_MANY),
        (CHAIN, 7, TOO_DEEP),
        ("x: " + "[" * 5000 + "]" * 5000, 7, TOO_DEEP),
        ("x: " + "{a: " * 5000, 7, TOO_DEEP),
        ("x:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 900)), 38, TOO_DEEP),
        ("  fit.dropout: {values: [" + "0.1, " * 200_000 + "]}", 7, TOO_MANY),
        ("".join(f"k{i}: 1\n" for i in range(20_000)), None, TOO_MANY),
        ("notes: " + "x" * 500_000, 7, f"notes: must have at most {LONGEST_TEXT} characters, but got 'xxx"),
        ('storage: "a\\0b"', 7, "storage: must be printable text, but got character #x0000; remove it"),
        ('storage: "\\ud800"', 7, "storage: must be printable text, but got character #xd800; remove it"),
        ("  fit.epochs: " + "9" * 400, 7, "parameters.fit.epochs: must be of the kind int, but got '999999999999999"),
        ("  seed: {min: 0, max: 0x" + "f" * 4000 + "}", 7, "parameters.seed.max: must be of the kind int, but got '0"),
        ("  seed: {values: [" + ", ".join(map(str, range(MOST_VALUES + 1))) + "]}", 7,
         "parameters.seed.values: must be a list of at most 1000 values, but got 1001; write a range (min, max)"),
        ("".join(f"  k{i}: {{min: 0, max: 5}}\n" for i in range(MOST_PARAMETERS)), 5,
         "parameters: must be at most 200 parameters, those of all branches together, but got 201; leave out those"),
        ("compare: {by: [data.name], published: /dev/zero}", 7,
         "compare.published: must be a CSV file of at most 1 MiB, but /dev/zero is larger; name another file"),
    ],
    ids=["aliases", "chain", "brackets", "braces", "indentation", "list", "keys", "text", "nul", "surrogate", "digits",
         "hexadecimal", "values", "parameters", "published"],
)  # fmt: skip
def test_a_file_beyond_a_limit_has_one_problem(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path, start = tmp_path / "hostile.yaml", time.process_time()
    path.write_text(SWEEP + text)
    with pytest.raises(InvalidSweep) as error:
        open_sweep(path)
    assert time.process_time() - start < 3
    [problem] = error.value.problems
    assert problem.startswith(f"{path}:{line or 4998}: {message}")


@pytest.mark.parametrize("digits", [20, 4000, 200_000])
def test_the_number_of_trials_has_a_limit(tmp_path: Path, digits: int) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(SWEEP.replace("num_trials: 1", "num_trials: " + "9" * digits))
    with pytest.raises(InvalidSweep) as error:
        open_sweep(path)
    [problem] = error.value.problems
    assert problem.startswith(f"{path}:4: num_trials: must be of the kind int, but got '99999999999999999999")
    assert problem.endswith("; write one that 64 bits hold")


def test_a_million_trials_are_taken_and_one_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(SWEEP)
    assert open_sweep(path, ["num_trials=1000000"])[0].num_trials == 10**6
    with pytest.raises(InvalidSweep, match="num_trials: must be at most 1000000, but got 1000001; lower it"):
        open_sweep(path, ["num_trials=1000001"])


def test_an_endless_or_huge_file_is_refused_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as stream:
        stream.truncate(100_000_000)
    for path in (huge, Path("/dev/zero")):
        assert main([str(path), "--check"]) == 2
        rule = "must be a sweep file of at most 1 MiB, but is larger"
        assert capsys.readouterr().err == f"{path}: {rule}; name another file, or take its comments away\n"


def test_the_largest_texts_within_the_limits_are_read() -> None:
    assert not read("# " + "x" * (LARGEST_FILE - 3)).problems
    assert not read("a: " + "x" * LONGEST_TEXT).problems
    assert not read("a: " + "[" * (DEEPEST - 2) + "1" + "]" * (DEEPEST - 2)).problems
    assert len(read("a: [" + "1, " * (MOST_ENTRIES - 3) + "]").data["a"]) == MOST_ENTRIES - 3


RATE = "  fit.dropout: {min: 0.0, max: 0.5}\n  fit.learning_rate: {min: 1.0e-4, max: 1.0e-2}\n"


@pytest.mark.parametrize(
    ("text", "problems", "message"),
    [
        ("constraints: [" + ", ".join(f"fit.dropout < {i}" for i in range(1, 100)) + ", fit.dropout > 5]", 1,
         "constraints[99]: must be met by some point, but none of 2000 points meets 'fit.dropout > 5'"),
        ("constraints: [" + ", ".join(f"fit.dropout < {i}" for i in range(1, 3000)) + "]", 1,
         "constraints: must be at most 100 conditions, but got 2999; join them with `and`, or narrow the ranges"),
        ("constraints: [fit.dropout < 0.1]\ninitial_points: [" + "{fit.dropout: 0.4}, " * 2000 + "]", 3,
         "initial_points[0]: must be feasible, but breaks 'fit.dropout < 0.1'; change a value of it"),
    ],
    ids=["never", "many", "points"],
)  # fmt: skip
def test_conditions_that_nothing_meets_are_told_in_moments(
    tmp_path: Path, text: str, problems: int, message: str
) -> None:
    path, start = tmp_path / "never.yaml", time.process_time()
    path.write_text(SWEEP + RATE + text)
    with pytest.raises(InvalidSweep) as error:
        open_sweep(path)
    assert time.process_time() - start < 3
    assert len(error.value.problems) == problems
    assert message in error.value.problems[0]


def test_names_that_no_part_has_are_told_once_and_at_once(tmp_path: Path) -> None:
    path, start = tmp_path / "other.yaml", time.process_time()
    path.write_text(SWEEP + "".join(f"  k{i}: {{min: 0, max: 5}}\n" for i in range(MOST_PARAMETERS - 1)))
    with pytest.raises(InvalidSweep) as error:
        open_sweep(path)
    assert time.process_time() - start < 3
    assert len(error.value.problems) == MOST_PARAMETERS - 1
    assert "parameters.k7: must be a field of Config, but got 0; the fields are seed, dim" in error.value.problems[7]
