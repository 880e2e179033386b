"""Cells of a sweep that compares: the feasible combinations of `compare.by`, which search and budget go round.

A parameter of `by` may lie under a choice. That choice then belongs to the cell as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from platform.space import points
from platform.space.space import Space
from platform.sweepfile.parameters import FloatRange
from platform.sweepfile.spec import SweepSpec

Cell: TypeAlias = tuple[Any, ...]
"""The values of a cell as Optuna stores them, one for each axis; None where the cell lacks the parameter."""

MOST = 1000


class Cells:
    """The cells of a space; a sweep that compares nothing has one, without axes.

    Args:
        space: the sweep's.
        by: the names that tell cells apart; none for one cell.
    """

    def __init__(self, space: Space, by: Sequence[str] = ()) -> None:
        self.axes = axes(space, by)
        self._names = [space.storage_names(name) for name in self.axes]
        self.storage_names: frozenset[str] = frozenset(name for names in self._names for name in names)
        """The axes as Optuna knows them."""
        found = space.combinations(self.axes)
        feasible = (v for v in found if not v or points.find(space, space.feasible, random.Random(0), v) is not None)
        self.values: dict[Cell, Mapping[str, Any]] = {
            self.of(space.to_storage(values)): values for values in islice(feasible, MOST)
        }
        """The axes' values of each cell, in the order of the file."""

    def of(self, params: Mapping[str, Any]) -> Cell:
        """The cell of a point that Optuna holds as `params`."""
        return tuple(next((params[name] for name in names if name in params), None) for names in self._names)


def axes(space: Space, by: Sequence[str]) -> tuple[str, ...]:
    """The parameters that differ between cells, in the order of the file."""
    choices = {choice for here in space.places if here.name in by for choice, _ in here.branch}
    return tuple(dict.fromkeys(here.name for here in space.places if here.name in by or here.name in choices))


def notes(spec: SweepSpec, space: Space) -> Iterator[tuple[str, str]]:
    """The runs with further seeds that come on top of `num_trials`: (subject, sentence)."""
    if (rule := spec.seeds) and len(rule.values) > 1:
        settings = points.due(spec, space)
        if rule.best:
            settings = min(settings, rule.best * len(Cells(space, spec.compare.by if spec.compare else ()).values))
        yield "further seeds", f"up to {settings * (len(rule.values) - 1)} runs on top, of {settings} settings"


def refused(space: Space, by: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Problems of `compare.by`: a name with uncountable values, or too many cells."""
    for index, name in enumerate(by):
        if any(here.name == name and isinstance(here.parameter, FloatRange) for here in space.places):
            rule = f"must be a choice or whole numbers, but {name} has fractions; write its values as a choice"
            yield f"compare.by[{index}]", rule
            return
    if len(list(islice(space.combinations(axes(space, by)), MOST + 1))) > MOST:
        yield "compare.by", f"must give at most {MOST} cells, but gives more; leave a name out"
