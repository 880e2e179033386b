"""A sweep is held against its trainable before anything runs."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from platform.check import check, open_sweep, space_of
from platform.errors import InvalidSweep
from platform.space import UNBUILDABLE
from platform.spec import load

ROOT = Path(__file__).parents[2]

CONFIG = """
from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least, between

METRICS = ("train/loss", "valid/hr_10", "valid/ndcg_20", "test/hr_10")
CONSTRAINTS = ("shallow + deep <= layers",)


@dataclass(frozen=True, kw_only=True)
class Data:
    name: str = "synthetic"
    rows: Literal["last", "all"] = "last"


@dataclass(frozen=True, kw_only=True)
class Plain:
    name: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Spectral:
    name: Literal["spectral"] = "spectral"
    order: Annotated[int, at_least(1)] = 3
    fusion: Literal["add", "null_space"] = "add"
    width: Annotated[int, at_least(1)] = 8


@dataclass(frozen=True, kw_only=True)
class Fit:
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.1
    rate: Annotated[float, between(0, 1, open_low=True)] = 1e-3


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    dim: int = 64
    heads: int = 2
    layers: int = 6
    shallow: int = 1
    deep: int = 1
    data: Data = Data()
    adapter: Plain | Spectral = Spectral()
    fit: Fit = Fit()

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"heads must divide dim, but got heads {self.heads} and dim {self.dim}; change one")


ASKED = []


def check(config):
    ASKED.append((config.data.name, config.data.rows))
    if config.data.name.startswith("missing"):
        return [f"data.name: must be a folder, but {config.data.name} is none; make it"]
    return ["something: else is wrong"] if config.data.name == "odd" else []
"""

SWEEP = """\
name: s
trainable: {package}
metric: {{name: valid/hr_10, goal: maximize}}
num_trials: 4
parameters:
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A trainable of a user's own, under a name of its own for each test."""
    name = f"own_{abs(hash(request.node.nodeid))}"
    folder = tmp_path / name / "method"
    folder.mkdir(parents=True)
    for file, text in (("config.py", CONFIG), ("run.py", "def run(config, trial): ...\n"), ("__init__.py", "")):
        (folder / file).write_text(text)
    (folder.parent / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{name}.method"


class Sweeps:
    """Writes sweep files of one trainable and checks them."""

    def __init__(self, folder: Path, package: str) -> None:
        self.path, self.package = folder / "s.yaml", package

    def write(self, parameters: str, rest: str = "", **keys: str) -> Path:
        head = SWEEP.format(package=self.package)
        for key, value in keys.items():
            head = (
                "\n".join(f"{key}: {value}" if line.startswith(f"{key}:") else line for line in head.splitlines())
                + "\n"
            )
        self.path.write_text(head + textwrap.indent(textwrap.dedent(parameters).strip("\n"), "  ") + "\n" + rest)
        return self.path

    def problems(self, parameters: str, rest: str = "", **keys: str) -> list[str]:
        with pytest.raises(InvalidSweep) as caught:
            open_sweep(self.write(parameters, rest, **keys))
        return [problem.removeprefix(f"{self.path}:") for problem in caught.value.problems]


@pytest.fixture
def sweeps(tmp_path: Path, package: str) -> Sweeps:
    return Sweeps(tmp_path, package)


def test_a_sound_sweep_gives_its_spec_and_space(sweeps: Sweeps) -> None:
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
    assert check(load(path)).fingerprint == space.fingerprint == space_of(spec).fingerprint
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
         "6: parameters.fit.dropout: must have ends with a point, as the field has fractions, but got the whole "
         "numbers "
         "0 and 1; write 0.0 and 1.0 (and step: 1.0 where only whole numbers were meant)"),
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
def test_each_problem_of_the_parameters_is_told_at_its_line(sweeps: Sweeps, parameters: str, problem: str) -> None:
    assert sweeps.problems(parameters)[0] == problem


def test_a_value_that_fits_only_with_some_settings_of_the_others_is_fine(sweeps: Sweeps) -> None:
    _, space = open_sweep(sweeps.write("heads: {values: [1, 3]}\ndim: {values: [64, 96]}"))
    assert len(list(space.grid())) == 3  # heads 3 with dim 64 makes no config and is never run


def test_a_range_of_a_whole_number_with_step_as_number_is_fine(sweeps: Sweeps) -> None:
    open_sweep(sweeps.write("fit.rate: {min: 0.5, max: 1.0, step: 0.5}\nseed: {min: 0, max: 9}"))


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        ("[seed > 5]", "7: constraints[0]: must be met by some point, but none of 6 points meets 'seed > 5'; widen a "
                       "range or change the condition"),
        ("[sede > 2]", "7: constraints[0]: must read parameters of {package}, but got 'sede' in 'sede > 2'; did "
                       "you mean "
                       "'seed'?"),
        ("[dropout > 2]", "7: constraints[0]: must read parameters of {package}, but got 'dropout' in 'dropout "
                          "> 2'; did "
                          "you mean 'fit.dropout'?"),
        ("[seed >]", "7: constraints[0]: must be a condition such as 'a <= 3 or b >= 0.1', but got 'seed >', "
                     "which does "
                     "not parse; rewrite it"),
        ("[seed > 3, seed < 3]", "7: constraints: must be met together by some point, but none of 6 points "
                                 "meets 'seed > "
                                 "3' and 'seed < 3' and 'shallow + deep <= layers'; widen a range or change a "
                                 "condition"),
        ("[layers > 9]", "7: constraints[0]: must be met by some point, but none of 6 points meets 'layers > "
                         "9'; widen a "
                         "range or change the condition"),
    ],
)  # fmt: skip
def test_a_condition_that_cannot_hold_is_told(sweeps: Sweeps, constraints: str, problem: str) -> None:
    found = sweeps.problems("seed: {min: 0, max: 5}", f"constraints: {constraints}\n")
    assert found[0] == problem.replace("{package}", sweeps.package)


def test_a_condition_over_an_endless_space_is_tried_on_many_points(sweeps: Sweeps) -> None:
    [problem] = sweeps.problems("fit.rate: {min: 0.1, max: 0.5}", "constraints: [fit.rate > 0.5]\n")
    assert "none of 2000 points meets 'fit.rate > 0.5'" in problem


def test_a_condition_of_the_wrong_kind_is_told(sweeps: Sweeps) -> None:
    [problem] = sweeps.problems("adapter.fusion: {values: [add, null_space]}", "constraints: [adapter.fusion < 3]\n")
    assert problem.startswith(
        "7: constraints[0]: must be met by some point, but 'adapter.fusion < 3': must compute with "
    )
    assert problem.endswith("; compare it by ==")


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("{seed: 9}", "10: initial_points[0].seed: must be between 0 and 5, but got 9; choose a value inside"),
        ("{sede: 1}", "10: initial_points[0].sede: must be one of the sweep's parameters, but got 1; add sede under "
                      "parameters"),
        ("{adapter.order: 1}", "10: initial_points[0].adapter.order: must stand beside adapter.name: spectral, "
                               "but got it "
                               "without; add that to the point"),
        ("{seed: 5}", "10: initial_points[0]: must be feasible, but breaks 'seed < 5'; change a value of it"),
    ],
)  # fmt: skip
def test_an_initial_point_outside_the_space_is_told(sweeps: Sweeps, point: str, problem: str) -> None:
    parameters = """
    seed: {min: 0, max: 5}
    adapter.name:
      values: [none, spectral]
      when: {spectral: {adapter.order: {min: 1, max: 5}}}
    """
    rest = f"initial_points: [{point}]\nconstraints: [seed < 5]\n"
    assert sweeps.problems(parameters, rest) == [problem]


def test_a_metric_that_is_not_reported_is_told(sweeps: Sweeps) -> None:
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
def test_an_unknown_trainable_is_told(sweeps: Sweeps, name: str, problem: str) -> None:
    [found] = sweeps.problems("seed: 0", trainable=name)
    assert found.startswith("2: trainable: a trainable must be a folder with config.py and run.py")
    assert problem in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "import nothing_of_that_name",
            "must import, but got ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("class Config: ...", "must have a dataclass Config, but got none; add it"),
        (CONFIG.replace("METRICS =", "OTHER ="), "must list what it reports in METRICS, but got nothing; add it"),
    ],
)
def test_a_broken_config_module_is_told(sweeps: Sweeps, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / sweeps.package.replace(".", "/") / "config.py").write_text(text)
    [found] = sweeps.problems("seed: 0")
    assert found.startswith(f"2: trainable: config.py of {sweeps.package} ")
    assert problem in found


def test_problems_of_the_file_and_of_the_space_are_told_together(sweeps: Sweeps) -> None:
    found = sweeps.problems(
        "fit.droput: 0.1\nseed: {min: 5, max: 1}\nfit.rate: 7.0",
        "num_trial: 3\n",
        metric="{name: ndcg@20, goal: maximize}",
    )
    assert [problem.split(": ")[0] + problem.split(":")[1] for problem in found] == [
        "3 metric.name", "6 parameters.fit.droput", "7 parameters.seed", "8 parameters.fit.rate", "9 num_trial",
    ]  # fmt: skip


def test_a_parameter_that_cannot_be_read_brings_no_further_complaints(sweeps: Sweeps) -> None:
    found = sweeps.problems("seed: [1, 2]", "initial_points: [{seed: 1}]\nconstraints: [seed < 3]\n")
    assert len(found) == 1
    assert "bare list" in found[0]


def test_the_trainables_own_check_is_asked_once_for_each_setting_of_its_data(sweeps: Sweeps) -> None:
    import importlib

    open_sweep(
        sweeps.write(
            "data.rows: {values: [last, all]}\nfit.rate: {min: 0.1, max: 0.5}\nadapter.order: {min: 1, max: 9}"
        )
    )
    asked = importlib.import_module(f"{sweeps.package}.config").ASKED
    assert sorted(asked) == [("synthetic", "all"), ("synthetic", "last")]


def test_every_data_set_of_a_choice_is_checked(sweeps: Sweeps) -> None:
    found = sweeps.problems("data.name: {values: [synthetic, missing-a, missing-b]}")
    assert [problem.split("but ")[1] for problem in found] == [
        "missing-a is none; make it", "missing-b is none; make it",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["spectran_taylor", "spectran_vs_ids"])
def test_shipped_sweeps_pass(name: str) -> None:
    overrides = ["parameters.data.name=synthetic", "parameters.data.text=tfidf"]
    spec, space = open_sweep(ROOT / "sweeps" / f"{name}.yaml", overrides)
    assert spec.name == name.replace("_", "-")
    assert space.feasible(space.suggest(_first()))


def _first():  # type: ignore[no-untyped-def]
    import optuna

    return optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()


def test_a_check_is_quick_and_imports_no_engine(tmp_path: Path) -> None:
    code = (
        "import sys, time; start = time.perf_counter(); from platform.check import open_sweep; "
        f"open_sweep({str(ROOT / 'sweeps' / 'spectran_taylor.yaml')!r}); "
        "print(time.perf_counter() - start, [m for m in ('torch', 'ray', 'mlflow', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    seconds, _, modules = done.stdout.partition(" ")
    assert modules.strip() == "[]", done.stderr
    assert float(seconds) < 2
