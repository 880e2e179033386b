"""A sweep is held against its trainable before anything runs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from platform.errors import InvalidSweep
from platform.space.check import check, notes, open_sweep, space_of
from platform.space.space import UNBUILDABLE
from platform.sweepfile.spec import FloatRange, IntRange, load

ROOT = Path(__file__).parents[3]


def test_a_sound_sweep_gives_its_spec_and_space(sweeps: Any) -> None:
    path = sweeps.write(
        """
        fit.dropout: {min: 0.0, max: 0.5, step: 0.1}
        adapter.name:
          values: [none, spectral]
          when:
            spectral: {adapter.order: {min: 1, max: 5}}
        """,
        "constraints: ['adapter.order <= 3 or fit.dropout >= 0.1']\n"
        "initial_points: [{adapter.name: spectral, adapter.order: 3}]\n",
    )
    spec, space = open_sweep(path)
    assert spec.name == "s"
    assert space.swept == ("fit.dropout", "adapter.name", "adapter.order")
    assert check(load(path)).canonical() == space.canonical() == space_of(spec).canonical()
    assert space.violations({"fit.dropout": 0.0, "adapter.name": "none"}) == {
        UNBUILDABLE: 0.0,
        "adapter.order <= 3 or fit.dropout >= 0.1": 0.0,
        "shallow + deep <= layers": 0.0,
    }


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("fit.droput: 0.1", "6: parameters.fit.droput: must be a field of Fit, but got 0.1; did you mean fit.dropout?"),
        ("dropout: 0.1", "6: parameters.dropout: must be a field of Config, but got 0.1; did you mean fit.dropout?"),
        ("adapter: spectral", "6: parameters.adapter: a part is set through its fields, but got 'spectral'; write "
                              "adapter.<field>, for example adapter.name"),
        ("adapter.name: spectrl", "6: parameters.adapter.name: must be one of none, spectral, but got "
                                  "'spectrl'; did you "
                                  "mean 'spectral'?"),
        ("adapter.name: none\nadapter.order: {min: 1, max: 5}",
         "7: parameters.adapter.order: must be a field of adapter.name: none, which has none of that name, but "
         "got 1; it "
         "belongs to adapter.name: spectral"),
        ("adapter.name: {values: [none, spectral], when: {none: {adapter.order: 3}}}",
         "6: parameters.adapter.name.when.none.adapter.order: must be a field of adapter.name: none, which has none of "
         "that name, but got 3; it belongs to adapter.name: spectral"),
        ("fit.dropout: {min: 0.0, max: 1.0}",
         "6: parameters.fit.dropout: must be at least 0 and below 1, but got 1.0; choose a value inside"),
        ("fit.rate: {min: 0.0, max: 0.5}",
         "6: parameters.fit.rate: must be above 0 and at most 1, but got 0.0; choose a value inside"),
        ("fit.rate: {values: [0.1, '0.2', 3]}\nseed: 0",
         "6: parameters.fit.rate: must be a number, but got '0.2'; write the number without quotes"),
        ("adapter.order: {min: 1.0, max: 5.0}",
         "6: parameters.adapter.order: must be a whole number, but got 1.0; write 1"),
        ("fit.dropout: {min: 0, max: 1}",
         "6: parameters.fit.dropout: must be at least 0 and below 1, but got 1.0; choose a value inside"),
        ("heads: 3", "6: parameters.heads: must make a config with some setting of the others, but got none for "
                     "3: heads "
                     "must divide dim, but got heads 3 and dim 64; change one"),
        ("adapter.name: {values: [none, spectral]}\nadapter.order: 3",
         "6: parameters.adapter.name: must make a config with some setting of the others, but got none for 'none': "
         "adapter.order: must be a field of adapter.name: none, which has none of that name, but got 3; it belongs to "
         "adapter.name: spectral (put it under `when` of adapter.name)"),
        ("shallow: {min: 5, max: 8}\ndeep: {min: 2, max: 4}",
         "5: parameters: must be met by some point, but none of 12 points meets 'shallow + deep <= layers'; "
         "widen a range "
         "or change the condition"),
        ("data.name: missing", "6: parameters.data.name: must be a folder, but missing is none; make it"),
        ("data.name: odd", "5: parameters: something: else is wrong"),
    ],
)  # fmt: skip
def test_each_problem_of_the_parameters_is_told_at_its_line(sweeps: Any, parameters: str, problem: str) -> None:
    assert sweeps.problems(parameters)[0] == problem


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("0.1,0.2", "{values: [0.1, 0.2]}"),
        ("choice(0.1, 0.2)", "{values: [0.1, 0.2]}"),
        ("uniform(0,0.5)", "{min: 0.0, max: 0.5}"),
    ],
)
def test_a_text_that_is_another_tools_range_gets_ours(sweeps: Any, typed: str, ours: str) -> None:
    override = f"parameters.fit.dropout={typed}"
    rule = f"must be a number, but got {typed!r}"
    with pytest.raises(InvalidSweep) as caught:
        open_sweep(sweeps.write("seed: 0"), [override])
    assert caught.value.problems == (f"--set {override}: parameters.fit.dropout: {rule}; write {ours}",)


def test_a_list_of_data_sets_gets_our_form_too(sweeps: Any) -> None:
    (problem,) = sweeps.problems("data.name: missing-a,missing-b")
    assert problem.endswith("; write {values: [missing-a, missing-b]}")


def test_a_value_that_fits_only_with_some_settings_of_the_others_is_fine(sweeps: Any) -> None:
    _, space = open_sweep(sweeps.write("heads: {values: [1, 3]}\ndim: {values: [64, 96]}"))
    assert len(list(space.grid())) == 3  # heads 3 with dim 64 makes no config and is never run


def test_a_range_of_a_whole_number_with_step_as_number_is_fine(sweeps: Any) -> None:
    open_sweep(sweeps.write("fit.rate: {min: 0.5, max: 1.0, step: 0.5}\ntick: {min: 0, max: 9}"))


@pytest.mark.parametrize(
    ("typed", "parameter"),
    [
        ("{min: 1, max: 5}", FloatRange(1.0, 5.0)),
        ("{min: 1, max: 8, log: true}", FloatRange(1.0, 8.0, log=True)),
        ("{min: 1, max: 5, step: 1}", FloatRange(1.0, 5.0, step=1.0)),
        ("{min: 1, max: 5, step: 2}", FloatRange(1.0, 5.0, step=2.0)),
    ],
)
def test_whole_ends_of_a_field_with_fractions_are_taken(sweeps: Any, typed: str, parameter: FloatRange) -> None:
    text = f"objective.temperature: {typed}\nfit.epochs: {{min: 1, max: 2}}"
    spec, space = open_sweep(sweeps.write(text, trainable="spectran"))
    assert spec.parameters == {"objective.temperature": parameter, "fit.epochs": IntRange(1, 2)}
    assert space.places[0].parameter == check(load(sweeps.path)).places[0].parameter == parameter
    assert space_of(load(sweeps.path)).canonical() == space.canonical()


def test_whole_ends_of_a_field_with_fractions_are_no_grid_and_are_taken_in_a_branch(sweeps: Any) -> None:
    keys = {"trainable": "tests.trainables.curve", "metric": "{name: valid/ndcg_10, goal: maximize}"}
    (problem,) = sweeps.problems("x: {min: 0, max: 1}", "method: grid\n", **keys)
    assert problem.startswith(
        "6: parameters.x: a grid must have countable points, but got every number from 0.0 to 1.0"
    )
    _, space = open_sweep(sweeps.write("width: {values: [8, 16], when: {8: {x: {min: 0, max: 1}}}}", **keys))
    assert space.places[1].parameter == FloatRange(0.0, 1.0)


def test_a_metric_that_is_not_reported_is_told(sweeps: Any) -> None:
    assert sweeps.problems("seed: 0", metric="{name: valid/ndcg_10, goal: maximize}") == [
        f"3: metric.name: must be a metric that {sweeps.package} reports, but got 'valid/ndcg_10'; did you mean "
        "'valid/ndcg_20'?"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("spectrn", "but got 'spectrn'; did you mean 'spectran'?"),
        ("no.such.package", "but got 'no.such.package'; "),
    ],
)
def test_an_unknown_trainable_is_told(sweeps: Any, name: str, problem: str) -> None:
    [text] = sweeps.problems("seed: 0", trainable=name)
    assert text.startswith("2: trainable: a trainable must be a folder with config.py and run.py")
    assert problem in text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda _: "import nothing_of_that_name",
            "must import, but got ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        (lambda _: "class Config: ...", "must have a dataclass Config, but got none; add it"),
        (
            lambda text: text.replace("METRICS =", "OTHER ="),
            "must list what it reports in METRICS, but got nothing; add it",
        ),
    ],
)
def test_a_broken_config_module_is_told(
    sweeps: Any, tmp_path: Path, change: Callable[[str], str], problem: str
) -> None:
    module = tmp_path / sweeps.package.replace(".", "/") / "config.py"
    module.write_text(change(module.read_text()))
    [text] = sweeps.problems("seed: 0")
    assert text.startswith(f"2: trainable: config.py of {sweeps.package} ")
    assert problem in text


def test_problems_of_the_file_and_of_the_space_are_told_together(sweeps: Any) -> None:
    problems = sweeps.problems(
        "fit.droput: 0.1\nseed: {min: 5, max: 1}\nfit.rate: 7.0",
        "num_trial: 3\n",
        metric="{name: ndcg@20, goal: maximize}",
    )
    assert [problem.split(": ")[0] + problem.split(":")[1] for problem in problems] == [
        "3 metric.name", "6 parameters.fit.droput", "7 parameters.seed", "8 parameters.fit.rate", "9 num_trial",
    ]  # fmt: skip


def test_a_parameter_that_cannot_be_read_brings_no_further_complaints(sweeps: Any) -> None:
    problems = sweeps.problems("seed: [1, 2]", "initial_points: [{seed: 1}]\nconstraints: [seed < 3]\n")
    assert len(problems) == 1
    assert "bare list" in problems[0]


def test_the_trainables_own_check_is_asked_once_for_each_setting_of_its_data(sweeps: Any) -> None:
    import importlib

    open_sweep(
        sweeps.write(
            "data.rows: {values: [last, all]}\nfit.rate: {min: 0.1, max: 0.5}\nadapter.order: {min: 1, max: 9}"
        )
    )
    asked = importlib.import_module(f"{sweeps.package}.config").ASKED
    assert sorted(asked) == [("synthetic", "all"), ("synthetic", "last")]


def test_every_data_set_of_a_choice_is_checked(sweeps: Any) -> None:
    problems = sweeps.problems("data.name: {values: [synthetic, missing-a, missing-b]}")
    assert [problem.split("but ")[1] for problem in problems] == [
        "missing-a is none; make it", "missing-b is none; make it",
    ]  # fmt: skip


def test_what_stops_nothing_is_noted_once(sweeps: Any) -> None:
    path = sweeps.write("data.name: {values: [new, old]}\ndata.rows: {values: [last, all]}")
    assert notes(*open_sweep(path)) == ["no line has a time"]


@pytest.mark.parametrize("name", ["spectran_taylor", "spectran_vs_ids"])
def test_shipped_sweeps_pass(name: str) -> None:
    overrides = ["parameters.data.name=synthetic", "parameters.data.text=tfidf"]
    spec, space = open_sweep(ROOT / "sweeps" / f"{name}.yaml", overrides)
    assert spec.name == name.replace("_", "-")
    assert space.feasible(space.suggest(_first()))


def _first():
    import optuna

    return optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()


def test_a_check_imports_no_engine() -> None:
    code = (
        "import sys; from platform.space.check import open_sweep; "
        f"open_sweep({str(ROOT / 'sweeps' / 'spectran_taylor.yaml')!r}); "
        "print([m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_several_ranks_are_refused_for_a_trainable_that_does_not_say_it_can(sweeps: Any) -> None:
    (problem,) = sweeps.problems("seed: 0", "resources: {workers: 2}\n")
    assert problem.endswith(
        f"resources.workers: must be 1, as {sweeps.package} trains on one rank, but got 2; leave it out, or write "
        "SEVERAL_RANKS = True in its config.py if its run trains on several ranks"
    )


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("", "early_stopping.max_reports: must be known under hyperband, but {package} does not say its reports; write "
         "max_reports: 12 or another number, or add reports(config) to its config.py"),
        (", min_reports: 4, max_reports: 3", "early_stopping.min_reports: must be at most the 3 reports of a whole "
         "trial, but got 4; lower it"),
    ],
)  # fmt: skip
def test_hyperband_without_brackets_is_refused(sweeps: Any, settings: str, problem: str) -> None:
    (told,) = sweeps.problems("seed: 0", f"early_stopping: {{type: hyperband{settings}}}\n")
    assert told.endswith(problem.format(package=sweeps.package))
