"""Every problem of a sweep file is told at once, with file and line, the rule, the value and a remedy."""

from pathlib import Path
from typing import Any

import pytest

from platform.errors import InvalidSweep
from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from platform.sweepfile.spec import IntRange, load, read


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
        ("trainable.x=1", "--set trainable.x=1: trainable.x: trainable must be a mapping to be set in, but got "
                          "'some.trainable'; set trainable as a whole"),
        ("limit.max_hours=3", "--set limit.max_hours=3: limit: must be a key of a sweep, but got 'limit'; did you mean "
                              "'limits'?"),
        ("gpus=1", "--set gpus=1: gpus: must be a key of a sweep, but got 'gpus'; did you mean 'resources.gpu'?"),
        ("max_minutes_per_trial=1", "--set max_minutes_per_trial=1: max_minutes_per_trial: must be a key of a sweep, "
                                    "but got 'max_minutes_per_trial'; did you mean 'limits.max_minutes_per_trial'?"),
        ("fit.lr=1", "--set fit.lr=1: fit.lr: a field of the trainable stands below parameters; write --set "
                     "parameters.fit.lr=1"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_told_as_it_was_written(good: Any, tmp_path: Path, override: str, problem: str) -> None:
    assert good.problems(tmp_path, good.text, override) == [problem]


@pytest.mark.parametrize("key", ["fit.epochs", "epochs", "fit.epoch", "fti.epochs", "parameter.fit.epochs"])
def test_an_overridden_field_is_told_to_stand_below_parameters(good: Any, tmp_path: Path, key: str) -> None:
    text = good.replaced("trainable", "trainable: spectran")
    remedy = "write --set parameters.fit.epochs=3"
    assert good.problems(tmp_path, text, f"{key}=3") == [
        f"--set {key}=3: {key}: a field of the trainable stands below parameters; {remedy}"
    ]


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
         "3: metric: must be a mapping of name and goal, but got 'valid/hr_10'; write `metric: {name: valid/hr_10, "
         "goal: maximize}`"),
        ("metric", "metric: NDCG@10",
         "3: metric: must be a mapping of name and goal, but got 'NDCG@10'; write `metric: {name: valid/ndcg_10, goal: "
         "maximize}`"),
        ("metric", "metric: valid/loss",
         "3: metric: must be a mapping of name and goal, but got 'valid/loss'; write `metric: {name: valid/loss, goal: "
         "minimize}`"),
        ("metric", "metric: [valid/hr_10]",
         "3: metric[0]: must be a mapping of name and goal, but got 'valid/hr_10'; write `{name: valid/hr_10, goal: "
         "maximize}`"),
        ("metric", "metric: {valid/hr_10: max}",
         "3: metric.valid/hr_10: must be a mapping of name and goal, but got the key 'valid/hr_10'; write `metric: "
         "{name: valid/hr_10, goal: maximize}`"),
        ("metric", "metric: 3",
         "3: metric: must be a mapping of name and goal, but got 3; write `metric: {name: valid/ndcg_20, goal: "
         "maximize}`"),
        ("metric", "metric: []", "3: metric: must have at least one entry, but got []; add one"),
        ("num_trials", "num_trials: 0", "4: num_trials: must be at least 1, but got 0; raise it"),
        ("num_trials", "num_trials: '64'",
         "4: num_trials: must be a whole number, but got '64'; write a number without quotes"),
        ("num_trials", "num_trials: true",
         "4: num_trials: must be a whole number, but got True; write a number"),
        ("num_trials", "num_trials: 3.5",
         "4: num_trials: must be a whole number, but got 3.5; write it without a point or an exponent"),
        ("early_stopping", "early_stopping: {type: ashaa}",
         f"5: early_stopping.type: must be one of {', '.join(EARLY_STOPPINGS)}, but got 'ashaa'; did you mean 'asha'?"),
        ("early_stopping", "early_stopping: null",
         "5: early_stopping: must be a mapping, but got None; write {key: value}"),
        ("early_stopping", "early_stopping: {min_reports: 0, type: asha}",
         "5: early_stopping.min_reports: must be at least 1, but got 0; raise it"),
        ("early_stopping", "early_stopping: {type: asha, grace_period: 3}",
         "5: early_stopping.grace_period: must be a key of early_stopping, but got 'grace_period'; did you mean "
         "'min_reports'?"),
        ("early_stopping", "early_stopping: {type: median, percentile: 30}",
         "5: early_stopping.percentile: median must have only type, min_reports, min_trials, but got percentile as "
         "well; remove it, or take a type that reads it: percentile"),
        ("early_stopping", "early_stopping: {reduction_factor: 4}",
         "5: early_stopping.reduction_factor: none must have only type, but got reduction_factor as well; remove it, "
         "or take a type that reads it: asha, hyperband"),
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
        ("resources", "resources: {workers: 2, gpu: 0.5}",
         "18: resources: gpu must be a whole number where a trial has several workers, as two ranks cannot share a "
         "GPU, but got 0.5 for 2 workers; write gpu: 1, or 0"),
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
         "19: deterministic: must have a fixed number of trials per batch, but got max_concurrent_trials "
         "auto; write max_concurrent_trials: 4 or another number, the same on every machine"),
        ("limits", "population: 12", "19: population: must be of nsga2, but got 12 under method tpe; remove it"),
        ("limits", "seed: -1", "19: seed: must be at least 0, but got -1; raise it"),
        ("limits", "max_concurrent_trials: 0", "19: max_concurrent_trials: must be at least 1, but got 0; raise it"),
        ("limits", "sed: 3", "19: sed: must be a key of a sweep, but got 'sed'; did you mean 'seed'?"),
        ("limits", "fit.dropout: 3",
         "19: fit.dropout: must be a key of a sweep, but got 'fit.dropout'; fields of the trainable stand below "
         "`parameters:`"),
        ("limits", "text: 3", "19: text: must be a key of a sweep, but got 'text'; remove it"),
        ("limits", "study: runs/study.journal",
         "19: study: must be the URL of a database, but got 'runs/study.journal'; write "
         "postgresql+psycopg://user@host/database or similar, or remove it: the study's journal then lies in the "
         "sweep's folder"),
        ("limits", "storage: s3://bucket/x",
         "1: study: must be a database URL where storage is s3://bucket/x, but got None; write "
         "postgresql+psycopg://user@host/database or similar"),
        ("limits", "method: nsga2",
         "19: method: nsga2 must have a list of two or more metrics, but got one; list them, or take tpe"),
        ("limits", "method: grid",
         "9: parameters.rate: a grid must have countable points, but got every number from 0.0001 to 0.01; add a step, "
         "list values, or take method: tpe"),
        ("limits", "name: twice", "19: name: must stand once, but got it again (first on line 1); remove one"),
    ],
)  # fmt: skip
def test_each_problem_names_file_line_rule_value_and_remedy(
    good: Any, tmp_path: Path, key: str, line: str, problem: str
) -> None:
    assert good.problems(tmp_path, good.replaced(key, line)) == [f"sweep.yaml:{problem}"]


def test_under_a_wrong_type_the_other_keys_are_held_against_the_nearest_one(good: Any, tmp_path: Path) -> None:
    text = good.replaced("early_stopping", "early_stopping: {type: ashaa, min_reports: 0, foo: 3}")
    kind, least, unknown = good.problems(tmp_path, text)
    assert kind.endswith("but got 'ashaa'; did you mean 'asha'?")
    assert least == "sweep.yaml:5: early_stopping.min_reports: must be at least 1, but got 0; raise it"
    assert unknown.startswith(
        "sweep.yaml:5: early_stopping.foo: must be a key of early_stopping, but got 'foo'; choose"
    )


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
def test_names_of_other_tools_get_ours(good: Any, tmp_path: Path, theirs: str, ours: str) -> None:
    assert good.problems(tmp_path, good.text + f"{theirs}: 3\n") == [
        f"sweep.yaml:20: {theirs}: must be a key of a sweep, but got {theirs!r}; did you mean {ours!r}?"
    ]


def test_a_required_key_under_another_name_is_not_called_missing_as_well(good: Any, tmp_path: Path) -> None:
    assert good.problems(tmp_path, good.replaced("num_trials", "n_trials: 24")) == [
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
def test_a_file_that_holds_no_sweep_is_told(good: Any, tmp_path: Path, text: str, problem: str) -> None:
    assert good.problems(tmp_path, text) == [problem]


def test_a_python_tag_builds_nothing(good: Any, tmp_path: Path) -> None:
    text = good.replaced("name", f"name: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert good.problems(tmp_path, text)[0] == (
        "sweep.yaml:1: name: must be plain YAML, but got the tag !!python/object/apply:os.mkdir; remove the tag"
    )
    assert not (tmp_path / "made").exists()


def test_a_file_that_is_not_there_names_those_that_are(good: Any, tmp_path: Path) -> None:
    good.write(tmp_path, good.text)
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


def test_every_problem_is_told_at_once_in_the_order_of_the_file(good: Any, tmp_path: Path) -> None:
    text = good.text.replace("name: a-sweep", "name: ../x").replace("min: 1, max: 5", "min: 5, max: 1")
    text = text.replace("num_trials: 24", "num_trials: 0").replace("cpu: 2", "cpus: 2") + "method: nsga2\n"
    found = good.problems(tmp_path, text, "limits.max_hour=1")
    assert [problem.split(": ")[1] for problem in found] == [
        "name", "num_trials", "parameters.order", "resources.cpus", "method", "limits.max_hour",
    ]  # fmt: skip
    assert [problem.split(":")[1] for problem in found[:-1]] == ["1", "4", "8", "18", "20"]
    assert found[-1].startswith("--set limits.max_hour=1: ")


def test_what_can_be_read_of_a_broken_file_is_kept_for_further_checks(good: Any, tmp_path: Path) -> None:
    reading = read(good.write(tmp_path, good.replaced("metric", "metric: {name: ndcg@20, goal: maximize}")))
    assert reading.spec is not None
    assert reading.unread == {"metric"}
    assert reading.spec.parameters["order"] == IntRange(1, 5)
    assert len(reading.problems) == 1


def test_a_problem_in_a_list_of_metrics_names_its_place(good: Any, tmp_path: Path) -> None:
    text = good.replaced(
        "metric", "metric:\n  - {name: valid/hr_10, goal: maximize}\n  - {name: hr@20, goal: maximize}"
    )
    assert good.problems(tmp_path, text.replace("asha, min_reports: 4", "none")) == [
        "sweep.yaml:5: metric[1].name: must be written split/name_k, but got 'hr@20'; did you mean 'valid/hr_20'?"
    ]


@pytest.mark.parametrize("method", ["cmaes", "qmc"])
def test_methods_over_ranges_need_one(good: Any, tmp_path: Path, method: str) -> None:
    text = good.text[: good.text.index("parameters:")] + "parameters: {a: {values: [1, 2]}}\n" + f"method: {method}\n"
    assert good.problems(tmp_path, text) == [
        f"sweep.yaml:7: method: {method} must have a range (min, max) outside branches, but got none; add one, or take "
        "tpe"
    ]
