"""The points of a sweep: parameters, branches and constraints as Optuna sees them, and back.

A *value* is what the trainable gets, under its dotted name. Optuna holds it under a *storage name*: the same, unless
two branches have a parameter of that name (`adapter.null_width@adapter.fusion=null_space`), and lists as JSON text.
Only the parameters of the active branches exist in a point; constants are part of every point.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from platform.sweepfile.expression import Expression, ExpressionError, parse
from platform.sweepfile.parameters import (
    Choice,
    Constant,
    FloatRange,
    IntRange,
    Occurrence,
    Parameter,
    clean,
    contains,
    described,
    draw,
    occurrences,
    opened,
    range_text,
    restored,
    size,
    steps,
    stored,
    varies,
)
from platform.sweepfile.spec import SweepSpec

Values: TypeAlias = dict[str, Any]
Resolve: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Values -> all fields of the config under dotted names; raises ValueError where they make no config."""

UNBUILDABLE = "the values make a config"


class Suggests(Protocol):
    """The part of an Optuna trial that a space needs (`Trial` and `FixedTrial` have it)."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class Space:
    """The search space of one sweep."""

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        constraints: Sequence[str] = (),
        extra_constraints: Sequence[str] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self.reports: Callable[[Values], int | None] | None = None
        """Values -> the most reports of a trial that hold the objective, None if unknown; `check.space_of` sets it."""
        self._parameters = parameters
        self._conditions: tuple[Expression, ...] = tuple(parse(text) for text in dict.fromkeys(constraints))
        self._asked = list(self._conditions)
        self._extra: tuple[Expression, ...] = tuple(parse(text) for text in dict.fromkeys(extra_constraints))
        self._resolve = resolve
        self.places: tuple[Occurrence, ...] = tuple(occurrences(parameters))
        names = [here.name for here in self.places]
        self._names = frozenset(names)
        self._storage_names = {
            (here.name, here.branch): here.name if names.count(here.name) == 1 else _storage_name(here)
            for here in self.places
        }

    @classmethod
    def of(cls, spec: SweepSpec, extra_constraints: Sequence[str] = (), resolve: Resolve | None = None) -> Space:
        """The space of a sweep file.

        Args:
            spec: the sweep.
            extra_constraints: conditions of the trainable itself, its `CONSTRAINTS`, which hold for the whole config.
            resolve: the trainable's defaults, so that conditions can read fields that the sweep does not set, and
                points that make no config are infeasible; `check.space_of` passes it.
        """
        return cls(spec.parameters, spec.constraints, extra_constraints, resolve)

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the parameters that differ between trials, in file order."""
        places: dict[str, list[Parameter]] = {}
        for here in self.places:
            places.setdefault(here.name, []).append(here.parameter)
        return tuple(name for name, found in places.items() if len(found) > 1 or varies(found[0]))

    def canonical(self) -> dict[str, Any]:
        """The space as JSON values: parameters by name, and conditions."""
        return {
            "parameters": {name: described(self._parameters[name]) for name in sorted(self._parameters)},
            "constraints": sorted(condition.text for condition in self._conditions),
        }

    def suggest(self, trial: Suggests) -> Values:
        """One point, asked of an Optuna trial by storage names; also the way back from a `FixedTrial(trial.params)`."""

        def ask(name: str, parameter: Parameter) -> Any:
            match parameter:
                case Choice():
                    texts = [stored(value) for value in parameter.values]
                    return restored(parameter, trial.suggest_categorical(name, texts))
                case IntRange():
                    return trial.suggest_int(name, parameter.min, parameter.max, step=parameter.step, log=parameter.log)
                case FloatRange():
                    low, high, step = parameter.min, parameter.max, parameter.step
                    return clean(trial.suggest_float(name, low, high, step=step, log=parameter.log), parameter)
            raise AssertionError(f"no parameter: {parameter!r}")

        return self._walk(ask)

    def from_storage(self, params: Mapping[str, Any], draws: random.Random | None = None) -> Values:
        """The point that Optuna holds as `params` (`FrozenTrial.params`).

        Args:
            params: by storage name.
            draws: draws what `params` lacks; None: it may lack nothing.

        Raises:
            KeyError: a parameter of the point is not in `params`.
            ValueError: a choice that the sweep does not have.
        """

        def look_up(name: str, parameter: Parameter) -> Any:
            if draws and name not in params:
                return draw(parameter, draws)
            match parameter:
                case Choice():
                    return restored(parameter, params[name])
                case FloatRange():
                    return clean(params[name], parameter)
            return params[name]

        return self._walk(look_up)

    def to_storage(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A whole or partial point as `study.enqueue_trial` takes it; constants are left out."""
        found: dict[str, Any] = {}
        for here in self.places:
            if isinstance(here.parameter, Constant) or here.name not in values:
                continue
            if any(choice in values and stored(values[choice]) != stored(needed) for choice, needed in here.branch):
                continue
            value = values[here.name]
            if isinstance(here.parameter, FloatRange) and isinstance(value, int):
                value = float(value)
            found[self._storage_names[here.name, here.branch]] = stored(value)
        return found

    def misfit(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Problems that keep a whole or partial point out of the space: name -> `rule, but got value; remedy`."""
        wrong: dict[str, str] = {}
        for name, value in values.items():
            places = [here for here in self.places if here.name == name]
            if not places:
                wrong[name] = f"must be one of the sweep's parameters, but got {value!r}; add {name} under parameters"
                continue
            open_places = [here for here in places if all(stored(values.get(c)) == stored(v) for c, v in here.branch)]
            if not open_places:
                needed = " or ".join(
                    ", ".join(f"{choice}: {needed}" for choice, needed in here.branch) for here in places
                )
                wrong[name] = f"must stand beside {needed}, but got it without; add that to the point"
            elif not any(contains(here.parameter, value) for here in open_places):
                wrong[name] = (
                    f"must be {range_text(open_places[0].parameter)}, but got {value!r}; choose a value inside"
                )
        return wrong

    def violations(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Condition -> 1.0 where a point breaks it, else 0.0 (more than 0 is infeasible, for `trial.set_constraint`).

        A condition of the sweep that reads a parameter of an inactive branch holds. Where the space knows the
        trainable, fields that the sweep does not name have their defaults. One more entry is then 1.0 if no config can
        be built from the point.
        """
        config: Mapping[str, Any] = {}
        found: dict[str, float] = {}
        if self._resolve is not None:
            try:
                config = self._resolve(values)
                found[UNBUILDABLE] = 0.0
            except ValueError:
                found[UNBUILDABLE] = 1.0
        defaults = {name: value for name, value in config.items() if name not in self._names}
        for conditions, known in ((self._conditions, {**defaults, **values}), (self._extra, {**config, **values})):
            for condition in conditions:
                found[condition.text] = 0.0 if holds(condition, known) else 1.0
        return found

    def setting(self, values: Mapping[str, Any]) -> str:
        """The whole config of a feasible point as JSON: equal texts train alike, whatever the sweep names."""
        resolved = dict(values) if self._resolve is None else self._resolve(values)
        return json.dumps(resolved, sort_keys=True, default=str)

    def feasible(self, values: Mapping[str, Any]) -> bool:
        """True if a point breaks no condition; conditions over its own values are asked first, which is quick."""
        return not self.breaks(values) and not any(self.violations(values).values())

    def breaks(self, values: Mapping[str, Any]) -> bool:
        """True if these values alone break a condition of the sweep; the condition broken last is asked first."""
        for place, condition in enumerate(self._asked):
            if all(name in values for name in condition.names) and not holds(condition, values):
                self._asked.insert(0, self._asked.pop(place))
                return True
        return False

    def size(self, fixed: Mapping[str, Any] | None = None) -> int | None:
        """The number of points, infeasible ones too; None where a range has no step.

        Args:
            fixed: values of parameters that stay as they are, by name.
        """
        fixed = fixed or {}

        def count(group: Mapping[str, Parameter]) -> int | None:
            product = 1
            for name, parameter in group.items():
                if name in fixed:
                    sizes = [count(opened(parameter, fixed[name]))]
                elif isinstance(parameter, Choice) and parameter.when:
                    sizes = [count(opened(parameter, value)) for value in parameter.values]
                else:
                    sizes = [size(parameter)]
                if None in sizes:
                    return None
                product *= sum(each or 0 for each in sizes)
            return product

        return count(self._parameters)

    def sample(self, rng: random.Random, fixed: Mapping[str, Any] | None = None) -> Values:
        """A point drawn evenly from each range and choice; it may be infeasible.

        Args:
            rng: where the randomness comes from.
            fixed: values that are not drawn, by name.
        """
        fixed = fixed or {}

        def pick(name: str, parameter: Parameter) -> Any:
            plain = name.partition("@")[0]
            return fixed[plain] if plain in fixed else draw(parameter, rng)

        return self._walk(pick)

    def grid(self) -> Iterator[Values]:
        """Every feasible point once, the last parameter varying fastest.

        Raises:
            ValueError: a range without step has no countable points.
        """
        for here in self.places:
            if size(here.parameter) is None:
                raise ValueError(
                    f"{here.name}: a grid must have countable points, but got a range without step; add one"
                )
        return (values for values in self.points() if self.feasible(values))

    def points(self, fixed: Mapping[str, Any] | None = None) -> Iterator[Values]:
        """Every point of a countable space, infeasible ones too, with these values `fixed`."""
        return self._points(list(self._parameters.items()), {}, fixed or {})

    def storage_names(self, name: str) -> tuple[str, ...]:
        """The names under which Optuna holds a parameter, one per branch that has it."""
        return tuple(stored_as for (own, _), stored_as in self._storage_names.items() if own == name)

    def combinations(self, names: Sequence[str]) -> Iterator[Values]:
        """Every combination of the values of some parameters, whose opening choices must be among them."""

        def walk(left: list[tuple[str, Parameter]], values: Values) -> Iterator[Values]:
            if not left:
                yield dict(values)
                return
            (name, parameter), rest = left[0], left[1:]
            if name not in names:
                yield from walk(rest, values)
                return
            for value in steps(parameter):
                yield from walk([*opened(parameter, value).items(), *rest], {**values, name: value})

        return walk(list(self._parameters.items()), {})

    def _walk(self, pick: Callable[[str, Parameter], Any]) -> Values:
        """A point, each parameter of its active branches picked by (storage name, parameter)."""
        values: Values = {}

        def visit(group: Mapping[str, Parameter], branch: tuple[tuple[str, Any], ...]) -> None:
            for name, parameter in group.items():
                if isinstance(parameter, Constant):
                    values[name] = parameter.value
                    continue
                value = values[name] = pick(self._storage_names[name, branch], parameter)
                visit(opened(parameter, value), (*branch, (name, value)))

        visit(self._parameters, ())
        return values

    def _points(self, left: list[tuple[str, Parameter]], values: Values, fixed: Mapping[str, Any]) -> Iterator[Values]:
        if not left:
            yield dict(values)
            return
        (name, parameter), rest = left[0], left[1:]
        for value in [fixed[name]] if name in fixed else steps(parameter):
            yield from self._points([*opened(parameter, value).items(), *rest], {**values, name: value}, fixed)


def holds(condition: Expression, values: Mapping[str, Any]) -> bool:
    """True if a condition holds or reads a name without a value; False if it cannot be evaluated."""
    if any(name not in values for name in condition.names):
        return True
    try:
        return condition.evaluate(values)
    except ExpressionError:
        return False


def _storage_name(here: Occurrence) -> str:
    return "@".join([here.name, *(f"{choice}={value}" for choice, value in here.branch)])
