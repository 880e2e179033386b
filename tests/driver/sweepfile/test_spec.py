"""A sweep file becomes a SweepSpec."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from platform.errors import InvalidSweep
from platform.sweepfile.early_stopping import Asha
from platform.sweepfile.spec import (
    Choice,
    Constant,
    FloatRange,
    IntRange,
    Limits,
    Metric,
    Resources,
    load,
)


def test_a_file_becomes_a_spec(good: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWEEP_STORAGE", raising=False)
    spec = load(good.write(tmp_path, good.text))
    assert (spec.name, spec.trainable, spec.method, spec.num_trials) == ("a-sweep", "some.trainable", "tpe", 24)
    assert spec.metrics == (Metric(name="valid/ndcg_20", goal="maximize"),)
    assert spec.early_stopping == Asha(type="asha", min_reports=4, reduction_factor=3)
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
    assert (spec.text, spec.overrides, spec.path) == (good.text, (), tmp_path / "sweep.yaml")


def test_a_spec_cannot_be_changed(good: Any, tmp_path: Path) -> None:
    spec = load(good.write(tmp_path, good.text))
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"


def test_storage_comes_from_the_environment_unless_the_file_names_it(
    good: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEP_STORAGE", "/elsewhere")
    assert load(good.write(tmp_path, good.text)).storage == "/elsewhere"
    assert load(good.write(tmp_path, good.text + "storage: here\n")).storage == "here"


def test_lines_are_found_again(good: Any, tmp_path: Path) -> None:
    path = good.write(tmp_path, good.text)
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


def test_overrides_replace_entries(good: Any, tmp_path: Path) -> None:
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
    spec = load(good.write(tmp_path, good.text), overrides)
    assert (spec.name, spec.num_trials, spec.metrics[0].name) == ("other", 6, "valid/hr_10")
    assert (spec.limits.max_hours, spec.tracking.uri, spec.initial_points) == (1.0, "http://x:5000", ())
    assert spec.parameters["data.name"] == Constant("office")
    assert spec.parameters["fit.epochs"] == Choice((1, 2))
    assert spec.parameters["rate"] == Constant(0.001)
    assert spec.overrides == tuple(overrides)
    assert spec.text == good.text


def test_a_list_of_metrics_is_multi_objective(good: Any, tmp_path: Path) -> None:
    two = "metric: [{name: valid/ndcg_20, goal: maximize}, {name: valid/loss, goal: minimize}]"
    text = good.replaced("metric", two).replace("early_stopping: {type: asha, min_reports: 4}\n", "")
    spec = load(good.write(tmp_path, text + "method: nsga2\n"))
    assert [(metric.name, metric.goal, metric.sign) for metric in spec.metrics] == [
        ("valid/ndcg_20", "maximize", 1),
        ("valid/loss", "minimize", -1),
    ]
    assert good.problems(tmp_path, good.replaced("metric", two)) == [
        "sweep.yaml:5: early_stopping: must be none with several metrics, but got asha; remove it, or keep one metric"
    ]
    assert good.problems(tmp_path, text + "method: cmaes\n") == [
        "sweep.yaml:19: method: cmaes must have one metric, but got 2; keep one, or take tpe or nsga2"
    ]
    same = two.replace("valid/loss, goal: minimize", "valid/ndcg_20, goal: maximize")
    assert good.problems(tmp_path, text.replace(two, same)) == [
        "sweep.yaml:3: metric: must name each metric once, but got valid/ndcg_20 2 times; remove one"
    ]


def test_remote_storage_with_a_database_is_fine(good: Any, tmp_path: Path) -> None:
    text = good.text + "storage: s3://bucket/x\nstudy: postgresql://u@h/d\n"
    assert load(good.write(tmp_path, text)).study == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("2GiB", 2**31), ("1.5 GB", 1_500_000_000), ("512mib", 2**29), ("1024", 1024), ("4096b", 4096)],
)
def test_memory_is_read_in_its_unit(good: Any, tmp_path: Path, written: str, meant: int) -> None:
    text = good.replaced("resources", f"resources: {{memory: {written}}}")
    assert load(good.write(tmp_path, text)).resources.memory == meant


def test_auto_and_none_have_short_forms(good: Any, tmp_path: Path) -> None:
    text = good.replaced("early_stopping", "early_stopping: none") + "max_concurrent_trials: auto\n"
    spec = load(good.write(tmp_path, text))
    assert (spec.early_stopping.type, spec.max_concurrent_trials) == ("none", None)
    assert load(good.write(tmp_path, good.replaced("resources", "resources: {cpu: 1}"))).resources.gpu == "auto"


@settings(max_examples=30)
@given(st.data(), st.text(max_size=30))
def test_any_line_replaced_by_any_text_is_read_or_told(
    good: Any, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, text: str
) -> None:
    line = data.draw(st.sampled_from(good.text.splitlines()))
    path = tmp_path_factory.mktemp("any") / "sweep.yaml"
    path.write_bytes(good.text.replace(line, text).encode("utf-8", "surrogatepass"))
    try:
        spec = load(path)
    except InvalidSweep as error:
        told = error.problems
    else:
        told = (spec.name,)
    assert all(told)
