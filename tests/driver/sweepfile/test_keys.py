"""`--keys` prints what the code takes: every key of `platform.sweepfile.fields`, each with its words."""

import re

from platform.sweep import main
from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from platform.sweepfile.fields import keys_of, sections
from platform.sweepfile.keys import rows


def test_every_key_is_there_once_with_what_it_takes_and_what_it_means():
    keys = [f"{section}.{key}".lstrip(".") for section in sections() for key in keys_of(section)]
    found = rows()
    assert sorted(row[0] for row in found if "*" not in row[0]) == sorted(keys)
    assert {row[0].rpartition(".")[2] for row in found if "*" in row[0]} == {
        "values", "when", "min", "max", "step", "log",
    }  # fmt: skip
    assert all(takes and meaning.endswith(".") for _, takes, _, meaning in found)
    assert [row[0] for row in found if row[2] == "required"] == [
        "name", "trainable", "metric", "metric.name", "metric.goal", "num_trials", "seeds.values", "parameters",
            "compare.by",
    ]  # fmt: skip


def test_values_bounds_and_defaults_are_those_of_the_code():
    told = {key: (takes, default) for key, takes, default, _ in rows()}
    assert told["method"] == ("tpe | random | grid | gp | cmaes | nsga2 | qmc", "tpe")
    assert told["max_concurrent_trials"] == ("auto | whole number at least 1", "auto")
    assert told["early_stopping.percentile"] == ("number above 0 and below 100", "25.0")
    assert told["early_stopping.type"] == (" | ".join(EARLY_STOPPINGS), "none")
    assert told["limits.max_failed_trials"] == ("whole number at least 0 | null", "null")
    assert told["initial_points"] == ("list of mappings", "")


def test_a_key_of_some_early_stoppings_says_which_read_it():
    meaning = {key: words for key, _, _, words in rows()}
    assert meaning["early_stopping.reduction_factor"].startswith("asha, hyperband: One trial in so many goes on")
    assert "median: Trials below the median" in meaning["early_stopping.type"]


def test_the_command_prints_them(capsys):
    assert main(["--keys"]) == 0
    said = capsys.readouterr().out
    lines = [line.split()[0] for line in said.splitlines() if re.match(r"[a-z]", line)]
    assert lines == ["key", *(row[0] for row in rows())]
    assert max(map(len, said.splitlines())) <= 160
