"""The conditions of a space: which points break them, and what they read."""

from pathlib import Path
from typing import Any

from platform.space.space import UNBUILDABLE, Space
from platform.sweepfile.parameters import Choice, Constant, IntRange
from platform.sweepfile.spec import load


def test_violations_are_positive_where_a_condition_is_broken() -> None:
    space = Space({"a": IntRange(1, 5), "b": IntRange(1, 5)}, ["a <= 3", "a + b <= 6"])
    assert space.violations({"a": 4, "b": 1}) == {"a <= 3": 1.0, "a + b <= 6": 0.0}
    assert space.violations({"a": 3, "b": 3}) == {"a <= 3": 0.0, "a + b <= 6": 0.0}
    assert not space.feasible({"a": 4, "b": 1})


def test_a_condition_that_cannot_be_worked_out_is_broken() -> None:
    assert Space({"a": Constant("x")}, ["a < 3"]).violations({"a": "x"}) == {"a < 3": 1.0}


def test_conditions_read_the_trainables_defaults_for_fields_that_the_sweep_does_not_name() -> None:
    def resolve(values: Any) -> dict[str, Any]:
        if values.get("a") == 9:
            raise ValueError("no config")
        return {"a": 1, "layers": 4, "width": 8, **values}

    space = Space(
        {"a": IntRange(1, 9), "f": Choice((0, 1), {1: {"width": IntRange(1, 9)}})},
        ["a <= layers", "width > 100"],
        ["a <= width"],
        resolve,
    )
    assert space.violations({"a": 3, "f": 0}) == {
        UNBUILDABLE: 0.0,
        "a <= layers": 0.0,
        "width > 100": 0.0,  # the sweep's own condition, on a parameter of another branch
        "a <= width": 0.0,  # the trainable's condition holds for the whole config
    }
    assert space.violations({"a": 5, "f": 1, "width": 4}) == {
        UNBUILDABLE: 0.0,
        "a <= layers": 1.0,
        "width > 100": 1.0,
        "a <= width": 1.0,
    }
    assert space.violations({"a": 9, "f": 0})[UNBUILDABLE] == 1.0


def test_of_a_spec_takes_its_constraints_and_those_of_the_trainable(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ntrainable: t\nnum_trials: 1\nmetric: {name: valid/x, goal: maximize}\n"
        "parameters: {a: {min: 1, max: 9}}\nconstraints: [a < 5]\n"
    )
    space = Space.of(load(path), ["a > 1"])
    assert space.violations({"a": 1}) == {"a < 5": 0.0, "a > 1": 1.0}
    assert space.canonical()["constraints"] == ["a < 5"]  # the trainable's own may change with its code
