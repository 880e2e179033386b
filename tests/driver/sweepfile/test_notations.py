"""Words that people type from habit are answered in those of a sweep file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.sweepfile import notations
from platform.sweepfile.fields import keys_of
from platform.sweepfile.parse_parameters import read_parameters
from platform.sweepfile.yaml_lines import read
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("0.1,0.2", "{values: [0.1, 0.2]}"),
        ("choice(0.1, 0.2)", "{values: [0.1, 0.2]}"),
        ("tune.choice([add, null])", "{values: [add, null]}"),
        ("uniform(0,0.5)", "{min: 0.0, max: 0.5}"),
        ("tune.loguniform(1e-4, 1e-2)", "{min: 1e-4, max: 1e-2, log: true}"),
        ("randint(1, 5)", "{min: 1, max: 5}"),
        ("a,b", None),
        ("1.5", None),
        ("model(v2)", None),
    ],
)
def test_a_text_of_another_notation_is_known(typed, meant):
    assert notations.of_text(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("{loguniform: [0.0001, 0.01]}", "{min: 0.0001, max: 0.01, log: true}"),
        ("{uniform: [0, 1]}", "{min: 0.0, max: 1.0}"),
        ("{uniform: {lower: 0, upper: 1}}", "{min: 0.0, max: 1.0}"),
        ("{randint: [1, 5]}", "{min: 1, max: 5}"),
        ("{grid_search: [1, 2]}", "{values: [1, 2]}"),
        ("{choices: [1]}", "{values: [1]}"),
        ("{choice: [1]}", "{values: [1]}"),
        ("{type: float, low: 0.001, high: 0.1}", "{min: 0.001, max: 0.1}"),
        ("{type: float, low: 0.001, high: 0.1, log: true}", "{min: 0.001, max: 0.1, log: true}"),
        ("{type: int, low: 1, high: 5}", "{min: 1, max: 5}"),
        ("{type: categorical, choices: [a, b]}", "{values: [a, b]}"),
        ("{low: 1}", None),
        ("{colour: red}", None),
    ],
)
def test_a_mapping_of_another_tool_is_told_once_with_its_numbers_typed(typed, meant):
    told: list[tuple[str, str]] = []
    found = read_parameters({"fit.rate": read(typed).data}, lambda path, text: told.append((path, text)))
    assert found == {}
    if meant:
        assert [path for path, _ in told] == ["parameters.fit.rate"]
        assert told[0][1].endswith(f"; write {meant}")
        assert read_parameters({"fit.rate": read(meant).data}, lambda path, text: told.append(("", text)))
        assert len(told) == 1


def test_a_nested_part_is_written_with_dots():
    told: list[str] = []
    read_parameters({"fit": {"dropout": {"min": 0.0, "max": 0.5}, "epochs": 3}}, lambda path, text: told.append(text))
    assert len(told) == 1
    assert told[0].endswith("; write `fit.dropout: {min: 0.0, max: 0.5}`, `fit.epochs: 3`")


@given(st.one_of(st.text(), st.text(alphabet="uniform(choce0123.,[]) e-")))
def test_no_text_breaks_it_and_what_it_says_is_a_parameter(text):
    if meant := notations.of_text(text):
        problems: list[str] = []
        read_parameters({"x": read(meant).data}, lambda path, said: problems.append(said))
        assert all("min must be below max" in said or "listed once" in said or "2^53" in said or "above 0" in said
                   for said in problems)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--resume"], "leave it out: the same command carries on"),
        (["--trials", "3"], "write --set num_trials=3"),
        (["--num-trials=3"], "write --set num_trials=3"),
        (["-n", "3"], "write --set num_trials=3"),
        (["--dry-run"], "write --plan, or --check"),
        (["--epochs", "3"], "write --set parameters.fit.epochs=3"),
        (["--gpus", "1"], "write --set resources.gpu=1"),
        (["fit.epochs=3"], "write --set parameters.fit.epochs=3"),
        (["parameters.fit.epochs=3"], "write --set parameters.fit.epochs=3"),
        (["num_trials=3"], "write --set num_trials=3"),
        (["--what"], "settings are keys of the file: write --set key=value"),
    ],
)
def test_words_that_a_command_does_not_know_have_a_remedy(words, remedy, capsys):
    from platform.sweep import main

    assert notations.of_options(words, keys_of("")) == remedy
    with pytest.raises(SystemExit) as end:
        main([str(ROOT / "sweeps" / "spectran_taylor.yaml"), *words])
    assert end.value.code == 2
    assert f"{words[0]}: no option of this command; {remedy}" in capsys.readouterr().err


def test_a_field_that_is_set_without_its_section_is_told_its_place(good, tmp_path):
    (told,) = good.problems(tmp_path, good.text, "fit.epochs=3")
    assert told == (
        "--set fit.epochs=3: fit.epochs: must begin with a key of the file, but got 'fit'; "
        "a field of the trainable is set by --set parameters.fit.epochs=3"
    )


@pytest.mark.parametrize("line", ["metric: valid/ndcg_20", "metric: [valid/ndcg_20]"])
def test_a_metric_alone_is_answered_with_the_whole_mapping(good, tmp_path, line):
    (told,) = good.problems(tmp_path, good.replaced("metric", line))
    assert told.endswith("but got 'valid/ndcg_20'; write metric: {name: valid/ndcg_20, goal: maximize}")


def test_a_merge_is_told_to_be_none_of_the_language():
    told: list[str] = []
    read_parameters({"<<": {"a": 1}, "x": 1}, lambda path, text: told.append(f"{path}: {text}"))
    assert told == ["parameters.<<: a key must be a field, but got a merge (<<), which is not taken; write its lines"]
