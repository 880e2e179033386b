"""Points of a space, built before anything runs: the ends of every range, conditions, first points.

A problem is a path in the sweep file and `rule, but got value; remedy`. The caller's `build` tries to make a config of
a point and returns the problems that prevent it. Each problem starts with the name of its field.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from platform.space.space import UNBUILDABLE, Space, Values
from platform.sweepfile.expression import ExpressionError, parse
from platform.sweepfile.parameters import Choice, Occurrence, ends, varies
from platform.sweepfile.spec import SweepSpec

Build: TypeAlias = Callable[[Mapping[str, Any]], Sequence[str]]
Problem: TypeAlias = tuple[str, str]

DRAWS, _FIRST = 20_000, 200
"""Points drawn before a search is given up, and before a countable space of no more points is enumerated instead."""
FEWEST_SOURCES = 20
"""Trials of earlier sweeps from which CMA-ES begins at the best tenth: of fewer that is one point."""
_TOLD = 3
"""Infeasible first points that are told: to find that no setting completes one costs all draws."""
_FEW, _SAMPLES = 12, 2000
"""Settings of the other parameters tried for a value's own rules; points that an error about conditions speaks of."""


def find(
    space: Space, wanted: Callable[[Values], bool], draws: random.Random, fixed: Mapping[str, Any] | None = None
) -> Values | None:
    """A random point that is `wanted`, or None. The check and the study look for points by this function alone.

    Args:
        space: the space; a countable one of few points is searched whole.
        wanted: such as `space.feasible`.
        draws: where the randomness comes from.
        fixed: values that are not drawn, by name.
    """
    points = space.size(fixed)
    is_small = points is not None and points <= DRAWS
    for _ in range(_FIRST if is_small else DRAWS):
        if wanted(point := space.sample(draws, fixed)):
            return point
    left = [point for point in space.points(fixed) if wanted(point)] if is_small else []
    return draws.choice(left) if left else None


def values(space: Space, build: Build, valueless: str) -> Iterator[Problem]:
    """Values that their own field takes in no setting of the other parameters.

    Args:
        space: the space.
        build: what keeps a point from being a config.
        valueless: a text that is in problems which do not depend on the value; such a problem is told once.
    """
    for here in space.places:
        for value in ends(here.parameter):
            own: list[str] = []
            for point in completions(space, here, value, _FEW):
                own = [text for text in build(point) if text.startswith(f"{here.name}: ")]
                if not own:
                    break
            for text in own:
                yield here.path, text.removeprefix(f"{here.name}: ")
            if any(valueless in text for text in own):
                break


def combinations(space: Space, build: Build, valueless: str) -> Iterator[Problem]:
    """Ends and choices with which no setting of the other parameters makes a config; arguments as of `values`."""
    found: dict[str, list[tuple[Occurrence, Any]]] = {}
    for here in space.places:
        for value in ends(here.parameter):
            fixed = {**dict(here.branch), here.name: value}
            if find(space, lambda point: not build(point), random.Random(0), fixed) is None:
                for text in build(next(completions(space, here, value, 1))):
                    found.setdefault(text, []).append((here, value))
    for text, places in found.items():
        here, value = next((place for place in places if place[0].name in text), places[0])
        branch = isinstance(here.parameter, Choice) and valueless in text
        remedy = f" (put it under `when` of {here.name})" if branch else ""
        yield (
            here.path,
            f"must make a config with some setting of the others, but got none for {value!r}: {text}{remedy}",
        )


def completions(space: Space, here: Occurrence, value: Any, tries: int) -> Iterator[dict[str, Any]]:
    """Points in which one parameter has a value and its branch is open."""
    rng = random.Random(0)
    fixed = {**dict(here.branch), here.name: value}
    return (space.sample(rng, fixed) for _ in range(tries))


def conditions(spec: SweepSpec, space: Space) -> Iterator[Problem]:
    """Conditions that no point meets, each alone, else all together."""
    if find(space, space.feasible, random.Random(0)) is not None:
        return
    met: dict[str, bool] = {}
    count = 0
    for point in _points(space):
        count += 1
        for text, amount in space.violations(point).items():
            met[text] = met.get(text, False) or amount <= 0
    conditions = [text for text in met if text != UNBUILDABLE]
    never = [text for text in conditions if not met[text]]
    for text in never:
        path = f"constraints[{spec.constraints.index(text)}]" if text in spec.constraints else "parameters"
        reason = (
            _error_of(text, space) or f"none of {count} points meets {text!r}; widen a range or change the condition"
        )
        yield path, f"must be met by some point, but {reason}"
    if not never:
        together = " and ".join(repr(text) for text in conditions)
        yield (
            "constraints" if spec.constraints else "parameters",
            f"must be met together by some point, but none of {count} points meets {together}; widen a range or change "
            "a condition",
        )


def initial_points(spec: SweepSpec, space: Space) -> Iterator[Problem]:
    """First points that are outside the space, or that no setting of the parameters left out makes feasible."""
    told = 0
    for index, point in enumerate(spec.initial_points):
        for name, text in point_problems(space, point, misfits_only=told >= _TOLD):
            told += not name
            yield f"initial_points[{index}]{f'.{name}' if name else ''}", text


def point_problems(space: Space, point: Values, *, misfits_only: bool = False) -> Iterator[Problem]:
    """Problems that keep a whole or partial point from being run: (its parameter or "", text)."""
    misfit, draws = space.misfit(point), random.Random(0)
    yield from misfit.items()
    if not misfit and not misfits_only and (space.breaks(point) or find(space, space.feasible, draws, point) is None):
        broken = [text for text, amount in space.violations(space.sample(draws, point)).items() if amount > 0]
        yield "", f"must be feasible, but breaks {' and '.join(map(repr, broken))}; change a value of it"


def most_reports(space: Space) -> int | None:
    """The most reports of a whole trial, over the ends and choices of all parameters; None where one has no number."""
    counts = [space.reports(values) for values in settings(space)] if space.reports else []
    return None if None in counts else max((count for count in counts if count is not None), default=None)


def settings(space: Space) -> Iterator[Values]:
    """A feasible point for each end and choice, as far as one is found quickly; one point where there are none."""
    if not space.places:
        yield {}
    for place in space.places:
        for value in ends(place.parameter):
            yield from islice(filter(space.feasible, completions(space, place, value, 3)), 1)


def grid_size(space: Space) -> int | None:
    """The number of feasible points of a countable space; None where they are too many to be counted quickly."""
    size = space.size()
    return None if size is None or size > DRAWS else sum(1 for _ in space.grid())


def due(spec: SweepSpec, space: Space, known: int = 0) -> int:
    """The number of trials that a sweep runs in all: `num_trials`, or a grid's points where they are fewer.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        known: points that earlier sweeps ran, which a grid does not run again.
    """
    points = grid_size(space) if spec.method == "grid" else None
    return spec.num_trials if points is None else min(points - known, spec.num_trials)


def notes(spec: SweepSpec, space: Space) -> Iterator[tuple[str, str]]:
    """Facts about the search that are no problem and that few expect: (subject, sentence)."""
    if spec.method == "grid" and (points := grid_size(space)) is not None:
        left = f", {points - spec.num_trials} more than num_trials" if points > spec.num_trials else ""
        yield "grid", f"{points} points{left}"
    if spec.method == "cmaes" and spec.warm_start:
        begins = f"the first generation of cmaes begins at the best tenth of them, from {FEWEST_SOURCES} trials on"
        yield "earlier trials", f"{begins}; later generations take in no more"
    if spec.method not in ("gp", "cmaes", "qmc"):
        return
    choices = [place for place in space.places if isinstance(place.parameter, Choice) and varies(place.parameter)]
    uniform = [place for place in space.places if place.branch and varies(place.parameter)]
    uniform += [place for place in choices if spec.method != "gp" and not place.branch]
    if names := ", ".join(dict.fromkeys(place.name for place in uniform)):
        what = "what stands under `when`" if spec.method == "gp" else "choices and what stands under `when`"
        yield "drawn uniformly", f"{names} ({spec.method} does not model {what})"


def _error_of(text: str, space: Space) -> str:
    """The reason that a condition cannot be evaluated at all, "" if it can."""
    try:
        condition = parse(text)
        point = space.sample(random.Random(0))
        if all(name in point for name in condition.names):
            condition.evaluate(point)
    except ExpressionError as error:
        return str(error)
    return ""


def _points(space: Space) -> Iterator[dict[str, Any]]:
    """All points of a small countable space, else many random ones."""
    if (points := space.size()) is not None and points <= _SAMPLES:
        return space.points()
    rng = random.Random(0)
    return (space.sample(rng) for _ in range(_SAMPLES))
