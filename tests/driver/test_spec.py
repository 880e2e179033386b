"""A sweep file becomes a SweepSpec, or every problem is told at once with file and line."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from platform.errors import InvalidSweep
from platform.spec import Choice, Constant, EarlyStopping, FloatRange, IntRange, Limits, Metric, Resources, load, read

GOOD = """\
name: a-sweep
trainable: some.trainable
metric: {name: valid/ndcg_20, goal: maximize}
num_trials: 24
early_stopping: {type: asha, min_reports: 4}
parameters:
  data.name: synthetic
  order: {min: 1, max: 5}
  rate: {min: 1e-4, max: 1e-2, log: true}
  dropout: {min: 0.0, max: 0.5, step: 0.1}
  fusion:
    values: [add, null_space]
    when:
      null_space:
        width: {values: [32, 64]}
constraints: ["order <= 3 or dropout >= 0.1"]
initial_points: [{order: 3, dropout: 0.3}]
resources: {cpu: 2, gpu: 0.25, memory: 2GiB, label: {zone: a}}
limits: {max_hours: 8}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """The problems of a file, without the folder it is in."""
    with pytest.raises(InvalidSweep) as caught:
        load(write(folder, text), overrides)
    assert caught.value.exit_code == 2
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def replaced(key: str, line: str) -> str:
    """GOOD with the line of a one-line key replaced; an empty `line` removes it."""
    lines = [line if old.startswith(f"{key}:") else old for old in GOOD.splitlines()]
    assert lines != GOOD.splitlines()
    return "\n".join(lines) + "\n"


def test_a_file_becomes_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEP_STORAGE", raising=False)
    spec = load(write(tmp_path, GOOD))
    assert (spec.name, spec.trainable, spec.method, spec.num_trials) == ("a-sweep", "some.trainable", "tpe", 24)
    assert spec.metrics == (Metric(name="valid/ndcg_20", goal="maximize"),)
    assert spec.early_stopping == EarlyStopping(type="asha", min_reports=4, reduction_factor=3)
    assert spec.parameters == {
        "data.name": Constant("synthetic"),
        "order": IntRange(1, 5),
        "rate": FloatRange(1e-4, 1e-2, log=True),
        "dropout": FloatRange(0.0, 0.5, step=0.1),
        "fusion": Choice(("add", "null_space"), {"null_space": {"width": Choice((32, 64))}}),
    }
    assert spec.constraints == ("order <= 3 or dropout >= 0.1",)
    assert spec.initial_points == ({"order": 3, "dropout": 0.3},)
    assert spec.resources == Resources(cpu=2.0, gpu=0.25, memory=2 * 1024**3, label={"zone": "a"})
    assert spec.limits == Limits(max_hours=8.0)
    assert (spec.limits.max_failures_per_trial, spec.limits.max_failed_trials) == (2, None)
    assert (spec.max_concurrent_trials, spec.seed, spec.deterministic) == (None, 0, False)
    assert (spec.storage, spec.study, spec.tracking.uri, spec.tracking.checkpoints) == ("runs", None, None, "best")
    assert (spec.text, spec.overrides, spec.path) == (GOOD, (), tmp_path / "sweep.yaml")


def test_a_spec_cannot_be_changed(tmp_path: Path) -> None:
    spec = load(write(tmp_path, GOOD))
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"


def test_storage_comes_from_the_environment_unless_the_file_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_STORAGE", "/elsewhere")
    assert load(write(tmp_path, GOOD)).storage == "/elsewhere"
    assert load(write(tmp_path, GOOD + "storage: here\n")).storage == "here"


def test_lines_are_found_again(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    spec = load(path, ["limits.max_hours=1", "parameters.order={min: 1, max: 3}"])
    assert spec.line_of("parameters.dropout") == 10
    assert spec.line_of("parameters.dropout.step") == 10
    assert spec.line_of("parameters.fusion.when.null_space.width") == 15
    assert spec.line_of("parameters.not.there") == 6
    assert spec.line_of("initial_points[0].order") == 17
    assert spec.line_of("seed") == 1
    assert spec.at("parameters.rate") == f"{path}:9"
    assert spec.at("limits.max_hours") == "--set limits.max_hours=1"
    assert spec.at("parameters.order.min") == "--set parameters.order={min: 1, max: 3}"
    assert spec.problem("name", "text") == f"{path}:1: name: text"


def test_overrides_replace_entries(tmp_path: Path) -> None:
    overrides = [
        "name=other",
        "num_trials=6",
        "metric.name=valid/hr_10",
        "limits.max_hours=1",
        "tracking.uri=http://x:5000",
        "parameters.data.name=office",
        "parameters.fit.epochs={values: [1, 2]}",
        "parameters.rate=1e-3",
        "initial_points=[]",
    ]
    spec = load(write(tmp_path, GOOD), overrides)
    assert (spec.name, spec.num_trials, spec.metrics[0].name) == ("other", 6, "valid/hr_10")
    assert (spec.limits.max_hours, spec.tracking.uri, spec.initial_points) == (1.0, "http://x:5000", ())
    assert spec.parameters["data.name"] == Constant("office")
    assert spec.parameters["fit.epochs"] == Choice((1, 2))
    assert spec.parameters["rate"] == Constant(0.001)
    assert spec.overrides == tuple(overrides)
    assert spec.text == GOOD


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("num_trials", "--set num_trials: must be key=value, but got 'num_trials'; write --set num_trials=6"),
        ("=3", "--set =3: must be key=value, but got '=3'; write --set num_trials=6"),
        (
            "name.x=3",
            "--set name.x=3: name.x: name must be a mapping to be set in, but got 'a-sweep'; set name as a whole",
        ),
        ("n_trials=3", "--set n_trials=3: n_trials: must be a key of a sweep, but got 'n_trials'; did you mean "
                       "'num_trials'?"),
        ("num_trials=x", "--set num_trials=x: num_trials: must be a whole number, but got 'x'; write a number without "
                         "quotes"),
        ("parameters.a=[1]", "--set parameters.a=[1]: parameters.a: must be a scalar, {values: ...} or {min: ..., max: "
                             "...}, but got the bare list [1]; write {values: [1]} to choose from it, or {values: "
                             "[[1]]} for one value that is a list"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_told_as_it_was_written(tmp_path: Path, override: str, problem: str) -> None:
    assert problems(tmp_path, GOOD, override) == [problem]


@pytest.mark.parametrize(
    ("key", "line", "problem"),
    [
        ("name", "name: ../x", "1: name: must be a plain name (letters, digits, . _ -, starting with a letter or a "
                               "digit, at most 100), but got '../x'; rename it"),
        ("name", "name: 3", "1: name: must be text, but got 3; put it in quotes"),
        ("name", "", "2: name: must be given, but is not there; write `name: my-sweep`"),
        ("trainable", "trainable: ''",
         "2: trainable: must be a name such as spectran, or a dotted module path, but got ''; rename it"),
        ("trainable", "trainable: ../x",
         "2: trainable: must be a name such as spectran, or a dotted module path, but got '../x'; rename it"),
        ("limits", "storage: ''", "19: storage: must not be empty, but got ''; remove the line, or write a value"),
        ("limits", "1: 2", "19: 1: a key must be text, but got 1; rename it"),
        ("limits", "tracking: {1: 2}", "19: tracking.1: a key must be text, but got 1; rename it"),
        ("initial_points", "initial_points: [{1: 2}]",
         "17: initial_points[0].1: must be text, but got 1; put it in quotes"),
        ("num_trials", "num_trials: 1e3",
         "4: num_trials: must be a whole number, but got 1000.0; write it without a point or an exponent"),
        ("metric", "metric: {name: ndcg@20, goal: maximize}",
         "3: metric.name: must be written split/name_k, but got 'ndcg@20'; did you mean 'valid/ndcg_20'?"),
        ("metric", "metric: {name: valid/recall@10, goal: maximize}",
         "3: metric.name: must be written split/name_k, but got 'valid/recall@10'; did you mean 'valid/hr_10'?"),
        ("metric", "metric: {name: test/hr_10, goal: maximize}",
         "3: metric.name: an objective must be of the validation split, but got 'test/hr_10'; write 'valid/hr_10' (the "
         "test split is evaluated once, at the best validation step, and never searched on)"),
        ("metric", "metric: {name: train/loss, goal: minimize}",
         "3: metric.name: an objective must be of the validation split, but got 'train/loss'; write 'valid/loss' (the "
         "test split is evaluated once, at the best validation step, and never searched on)"),
        ("metric", "metric: {name: valid/hr_10, goal: max}",
         "3: metric.goal: must be one of maximize, minimize, but got 'max'; did you mean 'maximize'?"),
        ("metric", "metric: {name: valid/hr_10, mode: max}",
         "3: metric.mode: must be a key of metric, but got 'mode'; did you mean 'goal'?"),
        ("metric", "metric: {name: valid/hr_10}",
         "3: metric.goal: must be given, but is not there; write `metric: {name: valid/ndcg_20, goal: maximize}`"),
        ("metric", "metric: valid/hr_10",
         "3: metric: must be a list, but got 'valid/hr_10'; write [ ] around it, or one `- ` line per entry"),
        ("metric", "metric: []", "3: metric: must have at least one entry, but got (); add one"),
        ("num_trials", "num_trials: 0", "4: num_trials: must be at least 1, but got 0; raise it"),
        ("num_trials", "num_trials: '64'",
         "4: num_trials: must be a whole number, but got '64'; write a number without quotes"),
        ("num_trials", "num_trials: true",
         "4: num_trials: must be a whole number, but got True; write a number"),
        ("num_trials", "num_trials: 3.5",
         "4: num_trials: must be a whole number, but got 3.5; write it without a point or an exponent"),
        ("early_stopping", "early_stopping: {type: ashaa}",
         "5: early_stopping.type: must be one of asha, hyperband, median, percentile, patient, none, but got 'ashaa'; "
         "did you mean 'asha'?"),
        ("early_stopping", "early_stopping: {type: asha, grace_period: 3}",
         "5: early_stopping.grace_period: must be a key of early_stopping, but got 'grace_period'; did you mean "
         "'min_reports'?"),
        ("early_stopping", "early_stopping: {type: median, percentile: 30}",
         "5: early_stopping: median must have only min_reports, type, but got percentile as well; remove percentile, "
         "or take a type that reads it"),
        ("constraints", "constraints: ['order <=']",
         "16: constraints[0]: must be a condition such as 'a <= 3 or b >= 0.1', but got 'order <=', which does not "
         "parse; rewrite it"),
        ("constraints", "constraints: order < 3",
         "16: constraints: must be a list, but got 'order < 3'; write [ ] around it, or one `- ` line per entry"),
        ("initial_points", "initial_points: [3]",
         "17: initial_points[0]: must be a mapping, but got 3; write {key: value}"),
        ("resources", "resources: {cpu: 0}", "18: resources.cpu: must be above 0.0, but got 0; raise it"),
        ("resources", "resources: {gpus: 1}",
         "18: resources.gpus: must be a key of resources, but got 'gpus'; did you mean 'gpu'?"),
        ("resources", "resources: {gpu: -1}",
         "18: resources.gpu: must be auto or a number of at least 0, but got -1; write auto, 0, 0.25 or 1"),
        ("resources", "resources: {memory: 2 gigs}",
         "18: resources.memory: must be an amount of memory above 0, but got '2 gigs'; write 2GiB, or a number "
         "of bytes"),
        ("resources", "resources: {workers: 3, nodes: 2}",
         "18: resources: workers must be a multiple of nodes, but got 3 workers on 2 nodes; write workers: 4"),
        ("resources", "resources: 3", "18: resources: must be a mapping, but got 3; write {key: value}"),
        ("limits", "limits: {max_hours: .nan}",
         "19: limits.max_hours: must be a finite number, but got nan; write a plain number"),
        ("limits", "limits: {max_hours: -1}", "19: limits.max_hours: must be above 0.0, but got -1; raise it"),
        ("limits", "tracking: {checkpoints: all}",
         "19: tracking.checkpoints: must be one of best, last, none, but got 'all'; choose one of them"),
        ("limits", "method: bayes",
         "19: method: must be one of tpe, random, grid, gp, cmaes, nsga2, qmc, but got 'bayes'; did you mean 'tpe'?"),
        ("limits", "method: CMA-ES",
         "19: method: must be one of tpe, random, grid, gp, cmaes, nsga2, qmc, but got 'CMA-ES'; did you mean "
         "'cmaes'?"),
        ("limits", "deterministic: yes",
         "19: deterministic: must be true or false, but got 'yes'; write true or false"),
        ("limits", "deterministic: true",
         "19: deterministic: must run one trial at a time, so that their order is fixed, but got max_concurrent_trials "
         "auto; write max_concurrent_trials: 1"),
        ("limits", "seed: -1", "19: seed: must be at least 0, but got -1; raise it"),
        ("limits", "max_concurrent_trials: 0", "19: max_concurrent_trials: must be at least 1, but got 0; raise it"),
        ("limits", "sed: 3", "19: sed: must be a key of a sweep, but got 'sed'; did you mean 'seed'?"),
        ("limits", "fit.dropout: 3",
         "19: fit.dropout: must be a key of a sweep, but got 'fit.dropout'; fields of the trainable stand below "
         "`parameters:`"),
        ("limits", "text: 3", "19: text: must be a key of a sweep, but got 'text'; remove it"),
        ("limits", "storage: s3://bucket/x",
         "1: study: must be a database URL where storage is s3://bucket/x, but got None; write "
         "postgresql://user@host/database or similar"),
        ("limits", "method: nsga2",
         "19: method: nsga2 must have a list of two or more metrics, but got one; list them, or take tpe"),
        ("limits", "method: grid",
         "9: parameters.rate: a grid must have countable points, but got every number from 0.0001 to 0.01; add a step, "
         "list values, or take method: tpe"),
        ("limits", "name: twice", "19: name: must stand once, but got it again (first on line 1); remove one"),
    ],
)  # fmt: skip
def test_each_problem_names_file_line_rule_value_and_remedy(tmp_path: Path, key: str, line: str, problem: str) -> None:
    assert problems(tmp_path, replaced(key, line)) == [f"sweep.yaml:{problem}"]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("n_trials", "num_trials"),
        ("num_samples", "num_trials"),
        ("run_cap", "num_trials"),
        ("search_alg", "method"),
        ("sampler", "method"),
        ("scheduler", "early_stopping"),
        ("pruner", "early_stopping"),
        ("early_terminate", "early_stopping"),
        ("search_space", "parameters"),
        ("param_space", "parameters"),
        ("mode", "metric.goal"),
        ("direction", "metric.goal"),
        ("n_jobs", "max_concurrent_trials"),
        ("points_to_evaluate", "initial_points"),
        ("timeout", "limits.max_hours"),
    ],
)
def test_names_of_other_tools_get_ours(tmp_path: Path, theirs: str, ours: str) -> None:
    assert problems(tmp_path, GOOD + f"{theirs}: 3\n") == [
        f"sweep.yaml:20: {theirs}: must be a key of a sweep, but got {theirs!r}; did you mean {ours!r}?"
    ]


def test_a_required_key_under_another_name_is_not_called_missing_as_well(tmp_path: Path) -> None:
    assert problems(tmp_path, replaced("num_trials", "n_trials: 24")) == [
        "sweep.yaml:4: n_trials: must be a key of a sweep, but got 'n_trials'; did you mean 'num_trials'?"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "sweep.yaml:1: a sweep must be a mapping of keys such as name and trainable, but got an empty file; see "
             "sweeps/"),
        ("[1, 2]", "sweep.yaml:1: a sweep must be a mapping of keys such as name and trainable, but got [1, 2]; see "
                   "sweeps/"),
        ("name:\n\tx: 1", "sweep.yaml:2: must be indented with spaces, but got a tab; replace it by spaces"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_sweep_is_told(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [problem]


def test_a_python_tag_builds_nothing(tmp_path: Path) -> None:
    text = replaced("name", f"name: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert problems(tmp_path, text)[0] == (
        "sweep.yaml:1: name: must be plain YAML, but got the tag !!python/object/apply:os.mkdir; remove the tag"
    )
    assert not (tmp_path / "made").exists()


def test_a_file_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(InvalidSweep, match=r"must be a sweep file, but there is none; there are .*sweep\.yaml"):
        load(tmp_path / "sweeep.yaml")
    with pytest.raises(InvalidSweep, match="is a folder; name a file in it"):
        load(tmp_path)
    with pytest.raises(InvalidSweep, match=r"must be a sweep file, but there is none; .*/none holds no \.yaml file"):
        load(tmp_path / "none" / "x.yaml")


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(InvalidSweep, match="must be UTF-8 text, but byte 6 is not; save it as UTF-8"):
        load(path)


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("name: a-sweep", "name: ../x").replace("min: 1, max: 5", "min: 5, max: 1")
    text = text.replace("num_trials: 24", "num_trials: 0").replace("cpu: 2", "cpus: 2") + "method: nsga2\n"
    found = problems(tmp_path, text, "limits.max_hour=1")
    assert [problem.split(": ")[1] for problem in found] == [
        "name", "num_trials", "parameters.order", "resources.cpus", "method", "limits.max_hour",
    ]  # fmt: skip
    assert [problem.split(":")[1] for problem in found[:-1]] == ["1", "4", "8", "18", "20"]
    assert found[-1].startswith("--set limits.max_hour=1: ")


def test_what_can_be_read_of_a_broken_file_is_kept_for_further_checks(tmp_path: Path) -> None:
    reading = read(write(tmp_path, replaced("metric", "metric: {name: ndcg@20, goal: maximize}")))
    assert reading.spec is not None
    assert reading.unread == {"metric"}
    assert reading.spec.parameters["order"] == IntRange(1, 5)
    assert len(reading.problems) == 1


def test_a_list_of_metrics_is_multi_objective(tmp_path: Path) -> None:
    two = "metric: [{name: valid/ndcg_20, goal: maximize}, {name: valid/loss, goal: minimize}]"
    text = replaced("metric", two).replace("early_stopping: {type: asha, min_reports: 4}\n", "")
    spec = load(write(tmp_path, text + "method: nsga2\n"))
    assert [(metric.name, metric.goal) for metric in spec.metrics] == [
        ("valid/ndcg_20", "maximize"),
        ("valid/loss", "minimize"),
    ]
    assert problems(tmp_path, replaced("metric", two)) == [
        "sweep.yaml:5: early_stopping: must be none with several metrics, but got asha; remove it, or keep one metric"
    ]
    assert problems(tmp_path, text + "method: cmaes\n") == [
        "sweep.yaml:19: method: cmaes must have one metric, but got 2; keep one, or take tpe or nsga2"
    ]
    same = two.replace("valid/loss, goal: minimize", "valid/ndcg_20, goal: maximize")
    assert problems(tmp_path, text.replace(two, same)) == [
        "sweep.yaml:3: metric: must name each metric once, but got valid/ndcg_20 2 times; remove one"
    ]


def test_a_problem_in_a_list_of_metrics_names_its_place(tmp_path: Path) -> None:
    text = replaced("metric", "metric:\n  - {name: valid/hr_10, goal: maximize}\n  - {name: hr@20, goal: maximize}")
    assert problems(tmp_path, text.replace("asha, min_reports: 4", "none")) == [
        "sweep.yaml:5: metric[1].name: must be written split/name_k, but got 'hr@20'; did you mean 'valid/hr_20'?"
    ]


@pytest.mark.parametrize("method", ["cmaes", "qmc"])
def test_methods_over_ranges_need_one(tmp_path: Path, method: str) -> None:
    text = GOOD[: GOOD.index("parameters:")] + "parameters: {a: {values: [1, 2]}}\n" + f"method: {method}\n"
    assert problems(tmp_path, text) == [
        f"sweep.yaml:7: method: {method} must have a range (min, max) outside branches, but got none; add one, or take "
        "tpe"
    ]


def test_remote_storage_with_a_database_is_fine(tmp_path: Path) -> None:
    text = GOOD + "storage: s3://bucket/x\nstudy: postgresql://u@h/d\n"
    assert load(write(tmp_path, text)).study == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("2GiB", 2**31), ("1.5 GB", 1_500_000_000), ("512mib", 2**29), ("1024", 1024), ("4096b", 4096)],
)
def test_memory_is_read_in_its_unit(tmp_path: Path, written: str, meant: int) -> None:
    assert load(write(tmp_path, replaced("resources", f"resources: {{memory: {written}}}"))).resources.memory == meant


def test_auto_and_none_have_short_forms(tmp_path: Path) -> None:
    text = replaced("early_stopping", "early_stopping: none") + "max_concurrent_trials: auto\n"
    spec = load(write(tmp_path, text))
    assert (spec.early_stopping.type, spec.max_concurrent_trials) == ("none", None)
    assert load(write(tmp_path, replaced("resources", "resources: {cpu: 1}"))).resources.gpu == "auto"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(GOOD.splitlines()), st.text(max_size=30))
def test_any_line_replaced_by_any_text_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, line: str, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "sweep.yaml"
    path.write_bytes(GOOD.replace(line, text).encode("utf-8", "surrogatepass"))
    try:
        spec = load(path)
    except InvalidSweep as error:
        told = error.problems
    else:
        told = (spec.name,)
    assert all(told)
