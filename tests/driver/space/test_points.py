"""The search for a feasible point: what the check passes the study finds, and the reverse."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from platform.space import points
from platform.space.space import Space
from platform.study.study import Study
from platform.sweepfile.parameters import FloatRange, IntRange, nth, size, steps

RARE = [
    ("{n: {min: 1, max: 100}, m: {min: 1, max: 100}}", "n == 37 and m == 12"),
    ("{n: {min: 1, max: 99}, m: {min: 1, max: 99}}", "n + m == 100"),
    ("{x: {min: 0.0, max: 1.0}, y: {min: 0.0, max: 1.0}, z: {min: 0.0, max: 1.0}}", "x + y + z <= 0.1"),
]


def space(raw: str, *constraints: str) -> Space:
    import yaml

    from platform.sweepfile.parse_parameters import read_parameters

    problems: list[str] = []
    parameters = read_parameters(yaml.safe_load(raw), lambda path, text: problems.append(f"{path}: {text}"))
    assert problems == []
    return Space(parameters, constraints)


@pytest.mark.parametrize(("raw", "constraint"), RARE)
def test_a_rare_feasible_point_is_found(raw: str, constraint: str) -> None:
    rare = space(raw, constraint)
    point = points.find(rare, rare.feasible, random.Random(0))
    assert point is not None
    assert rare.feasible(point)


def test_a_small_countable_space_is_searched_whole() -> None:
    none = space("{n: {min: 1, max: 100}, m: {min: 1, max: 100}}", "n * m == 8633")  # 89 * 97
    assert points.find(none, none.feasible, random.Random(0)) in ({"n": 89, "m": 97}, {"n": 97, "m": 89})
    assert points.find(none, none.feasible, random.Random(0), {"n": 3}) is None


def test_what_the_check_passes_the_study_runs(sweep: Callable[..., Any]) -> None:
    here = sweep("constraints=['x >= 0.9499 and x <= 0.95']", "method=random", "early_stopping=none")
    assert list(points.conditions(here.spec, here.space)) == []
    asked = Study(here.spec, here.space, here.folder).ask()
    assert asked is not None
    assert 0.9499 <= asked.values["x"] <= 0.95


@pytest.mark.parametrize(
    ("raw", "counted"),
    [
        ("{seed: {min: 0, max: 2147483647}}", 2**31),
        ("{rate: {min: 0.0, max: 1.0, step: 1.0e-8}}", 10**8 + 1),
        ("{n: {min: 1, max: 1000000}, m: {min: 1, max: 1000000}}", 10**12),
        ("{rate: {min: 0.0, max: 1.0}}", None),
        ("{fusion: {values: [a, b], when: {b: {width: {min: 1, max: 9}}}}}", 1 + 9),
        ("{fusion: {values: [a, b], when: {b: {rate: {min: 0.0, max: 1.0}}}}}", None),
    ],
)
def test_points_are_counted_without_listing_them(raw: str, counted: int | None) -> None:
    huge = space(raw)
    assert huge.size() == counted
    drawn = huge.sample(random.Random(0))
    assert points.find(huge, huge.feasible, random.Random(0)) == drawn


def test_fixed_values_are_counted_once() -> None:
    branched = space("{fusion: {values: [a, b], when: {b: {width: {min: 1, max: 9}}}}, n: {min: 1, max: 5}}")
    assert branched.size({"fusion": "b"}) == 45
    assert branched.size({"fusion": "a"}) == 5
    assert branched.size({"fusion": "b", "width": 2, "n": 1}) == 1
    assert list(branched.points({"fusion": "b", "n": 2}))[-1] == {"fusion": "b", "width": 9, "n": 2}


@example(-36, 6, 6, False)
@given(st.integers(-50, 50), st.integers(1, 40), st.integers(1, 7), st.booleans())
@settings(max_examples=60)
def test_each_step_is_where_its_number_says(low: int, count: int, step: int, is_whole: bool) -> None:
    high = low + count * step
    parameter: IntRange | FloatRange = FloatRange(low / 10, high / 10, step / 10)
    if is_whole:
        parameter = IntRange(low, high, step)
    listed = list(steps(parameter))
    assert len(listed) == size(parameter) == count + 1
    assert listed == [nth(parameter, index) for index in range(count + 1)]
    assert listed == sorted(set(listed))
    assert (listed[0], listed[-1]) == (parameter.min, parameter.max)


@pytest.mark.parametrize("raw", ["{min: 0, max: 9007199254740993}", "{values: [1, -9007199254740993]}"])
def test_a_whole_number_that_no_float_holds_is_refused(sweeps: Any, raw: str) -> None:
    [problem] = sweeps.problems(f"seed: {raw}")
    assert "must be a whole number up to 2^53, which samplers hold exactly, but got" in problem


@pytest.mark.parametrize("raw", ["{min: 0, max: 9007199254740992}", "{min: 0, max: 2147483647}"])
def test_a_range_of_any_width_is_checked_at_once(sweeps: Any, raw: str) -> None:
    from platform.space.check import open_sweep

    open_sweep(sweeps.write(f"tick: {raw}", "constraints: ['tick >= 5']\n"))


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("tpe", None),
        ("random", None),
        ("gp", "part.bend (gp does not model what stands under `when`)"),
        ("qmc", "part.bend, width, part.name (qmc does not model choices and what stands under `when`)"),
        ("cmaes", "part.bend, width, part.name (cmaes does not model choices and what stands under `when`)"),
    ],
)
def test_what_a_method_draws_uniformly_is_told(sweep: Any, method: str, told: str | None) -> None:
    here = sweep(f"method={method}")
    assert list(points.notes(here.spec, here.space)) == ([("drawn uniformly", told)] if told else [])


def test_the_part_of_earlier_trials_that_cmaes_takes_in_is_told(sweep: Any) -> None:
    here = sweep("method=cmaes", "warm_start=[small]")
    told = "the first generation of cmaes begins at the best tenth of them, from 20 trials on; later generations take"
    assert next(points.notes(here.spec, here.space)) == ("earlier trials", f"{told} in no more")


@pytest.mark.parametrize(
    ("trials", "told", "due"), [(6, "12 points, 6 more than num_trials", 6), (30, "12 points", 12)]
)
def test_the_size_of_a_grid_is_told_without_what_conditions_forbid(
    sweep: Any, trials: int, told: str, due: int
) -> None:
    x = "parameters.x={values: [0.3, 0.97]}"  # above .95 is forbidden
    here = sweep("method=grid", f"num_trials={trials}", x, "parameters.width={values: [16, 32]}")
    assert list(points.notes(here.spec, here.space)) == [("grid", told)]
    assert points.due(here.spec, here.space) == due
