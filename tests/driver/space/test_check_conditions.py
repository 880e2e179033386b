"""The conditions and the initial points of a sweep are held against its space before anything runs."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        ("[tick > 5]", "7: constraints[0]: must be met by some point, but none of 6 points meets 'tick > 5'; widen a "
                       "range or change the condition"),
        ("[tikc > 2]", "7: constraints[0]: must read parameters of {package}, but got 'tikc' in 'tikc > 2'; did "
                       "you mean "
                       "'tick'?"),
        ("[dropout > 2]", "7: constraints[0]: must read parameters of {package}, but got 'dropout' in 'dropout "
                          "> 2'; did "
                          "you mean 'fit.dropout'?"),
        ("[tick >]", "7: constraints[0]: must be a condition such as 'a <= 3 or b >= 0.1', but got 'tick >', "
                     "which does "
                     "not parse; rewrite it"),
        ("[tick > 3, tick < 3]", "7: constraints: must be met together by some point, but none of 6 points "
                                 "meets 'tick > "
                                 "3' and 'tick < 3' and 'shallow + deep <= layers'; widen a range or change a "
                                 "condition"),
        ("[layers > 9]", "7: constraints[0]: must be met by some point, but none of 6 points meets 'layers > "
                         "9'; widen a "
                         "range or change the condition"),
    ],
)  # fmt: skip
def test_a_condition_that_cannot_hold_is_told(sweeps: Any, constraints: str, problem: str) -> None:
    found = sweeps.problems("tick: {min: 0, max: 5}", f"constraints: {constraints}\n")
    assert found[0] == problem.replace("{package}", sweeps.package)


def test_a_condition_over_an_endless_space_is_tried_on_many_points(sweeps: Any) -> None:
    [problem] = sweeps.problems("fit.rate: {min: 0.1, max: 0.5}", "constraints: [fit.rate > 0.5]\n")
    assert "none of 2000 points meets 'fit.rate > 0.5'" in problem


def test_a_condition_of_the_wrong_kind_is_told(sweeps: Any) -> None:
    [problem] = sweeps.problems("adapter.fusion: {values: [add, null_space]}", "constraints: [adapter.fusion < 3]\n")
    assert problem.startswith(
        "7: constraints[0]: must be met by some point, but 'adapter.fusion < 3': must compute with "
    )
    assert problem.endswith("; compare it by ==")


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("{tick: 9}", "10: initial_points[0].tick: must be between 0 and 5, but got 9; choose a value inside"),
        ("{tikc: 1}", "10: initial_points[0].tikc: must be one of the sweep's parameters, but got 1; add tikc under "
                      "parameters"),
        ("{adapter.order: 1}", "10: initial_points[0].adapter.order: must stand beside adapter.name: spectral, "
                               "but got it "
                               "without; add that to the point"),
        ("{tick: 5}", "10: initial_points[0]: must be feasible, but breaks 'tick < 5'; change a value of it"),
    ],
)  # fmt: skip
def test_an_initial_point_outside_the_space_is_told(sweeps: Any, point: str, problem: str) -> None:
    parameters = """
    tick: {min: 0, max: 5}
    adapter.name:
      values: [none, spectral]
      when: {spectral: {adapter.order: {min: 1, max: 5}}}
    """
    rest = f"initial_points: [{point}]\nconstraints: [tick < 5]\n"
    assert sweeps.problems(parameters, rest) == [problem]
