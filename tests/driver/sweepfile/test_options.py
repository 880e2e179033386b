"""Words that are no option of a command: each gets the option, or the `--set`, that does what was meant."""

import argparse
import re
from pathlib import Path

import pytest

from platform.sweepfile.options import parse

FILE = "sweeps/spectran_taylor.yaml"
PARSER = argparse.ArgumentParser(prog="sweep")
PARSER.add_argument("file", type=Path, nargs="?")
PARSER.add_argument("--set", dest="overrides", action="append", default=[])
PARSER.add_argument("--plan", action="store_true")
PARSER.add_argument("--end")


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        parse(PARSER, words)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_what_a_command_takes_is_parsed() -> None:
    options = parse(PARSER, [FILE, "--plan", "--set", "num_trials=3", "--end", "7"])
    assert (options.file, options.plan, options.overrides, options.end) == (Path(FILE), True, ["num_trials=3"], "7")
    assert parse(PARSER, ["runs/a=b.yaml"]).file == Path("runs/a=b.yaml")


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("fit.epochs=3", "write --set parameters.fit.epochs=3"),
        ("parameters.fit.epochs=3", "write --set parameters.fit.epochs=3"),
        ("epochs=3", "write --set parameters.fit.epochs=3"),
        ("n_trials=3", "write --set num_trials=3"),
        ("limits.max_hours=3", "write --set limits.max_hours=3"),
        ("--resume", "leave it out: the same command carries a sweep on where it stopped"),
        ("--continue", "leave it out: the same command carries a sweep on where it stopped"),
        ("--overwrite", "write --set name=another for a sweep of its own: the same command carries this one on"),
        ("--trials 3", "write --set num_trials=3"),
        ("--trials=3", "write --set num_trials=3"),
        ("--num-trials 3", "write --set num_trials=3"),
        ("--num-samples 3", "write --set num_trials=3"),
        ("-n 3", "write --set num_trials=3"),
        ("-n", "write --plan, or --check for the file alone"),
        ("--dry-run", "write --plan, or --check for the file alone"),
        ("--validate", "write --check"),
        ("--epochs 3", "write --set parameters.fit.epochs=3"),
        ("--fit.epochs 3", "write --set parameters.fit.epochs=3"),
        ("--lr 0.1", "write --set parameters.fit.learning_rate=0.1"),
        ("--dropout 0.1", "write --set parameters.fit.dropout=0.1"),
        ("--dataset synthetic", "write --set parameters.data.name=synthetic"),
        ("--backbone hstu", "write --set parameters.backbone.name=hstu"),
        ("--gpus 1", "write --set resources.gpu=1"),
        ("--max-hours 2", "write --set limits.max_hours=2"),
        ("--timeout 3600", "write --set limits.max_hours=HOURS"),
        ("--seed 3", "write --set seed=3"),
        ("--sampler random", "write --set method=random"),
        ("--workers 4", "write --set max_concurrent_trials=4"),
        ("--output out", "write --set storage=out"),
        ("--local", "write --address inline"),
        ("--kill 7", "write --end 7 for trial 7; Ctrl-C ends the sweep so that it resumes"),
        ("--plann", "did you mean --plan?"),
        ("--xyz", "--help has them all; a key of the file follows --set"),
    ],
)
def test_each_other_word_has_its_remedy_wherever_it_stands(
    words: str, remedy: str, place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [FILE]
    line[place:place] = words.split()
    text = told(line, capsys)
    assert text.endswith(f"; {remedy}\n")
    assert re.match(rf"{re.escape(words.split('=')[0].split()[0])}", text)
    assert text.count("\n") == 1


def test_all_of_them_are_told_at_once_and_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = told(["--resume", "--trials", "3", "fit.epochs=3"], capsys).splitlines()
    assert first.startswith("--resume: must be an option of sweep, but got '--resume'; leave it out")
    assert second == "--trials: must be an option of sweep, but got '--trials 3'; write --set num_trials=3"
    assert third == "fit.epochs=3: a key of the file must follow --set; write --set parameters.fit.epochs=3"


def test_a_second_file_is_refused_and_a_value_is_quoted_for_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert told([FILE, "b.yaml"], capsys) == "b.yaml: there must be one sweep file, but got a second word; remove it\n"
    assert told([FILE, "fit.dropout={min: 0, max: 1}"], capsys).endswith(
        "; write --set 'parameters.fit.dropout={min: 0, max: 1}'\n"
    )
