"""Kinds of parameters of a sweep (constant, choice, range), and the operations on each."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Constant:
    """One value for all trials."""

    value: Any


@dataclass(frozen=True)
class Choice:
    """One of `values` (scalars or lists); `when` maps a value to the parameters that exist only under it."""

    values: tuple[Any, ...]
    when: Mapping[Any, Mapping[str, Parameter]] = field(default_factory=dict)


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `min` to `max`, both included, in steps of `step` or evenly in the logarithm."""

    min: int
    max: int
    step: int = 1
    log: bool = False
    has_step: bool = field(default=False, compare=False)
    """True if the file gives the step."""


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `min` to `max`, both included; without `step` every number in between."""

    min: float
    max: float
    step: float | None = None
    log: bool = False


Parameter: TypeAlias = Constant | Choice | IntRange | FloatRange
Branch: TypeAlias = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Occurrence:
    """A parameter at one place of the file; `branch` holds the choices, outermost first, under which it exists."""

    name: str
    parameter: Parameter
    branch: Branch
    path: str


def occurrences(
    parameters: Mapping[str, Parameter], branch: Branch = (), path: str = "parameters"
) -> Iterator[Occurrence]:
    """Every parameter of every branch, in file order, a choice before what it opens."""
    for name, parameter in parameters.items():
        yield Occurrence(name, parameter, branch, f"{path}.{name}")
        if isinstance(parameter, Choice):
            for value, below in parameter.when.items():
                yield from occurrences(below, (*branch, (name, value)), f"{path}.{name}.when.{value}")


def opened(parameter: Parameter, value: Any) -> Mapping[str, Parameter]:
    """Parameters that exist only because a parameter has this value; mostly none."""
    if not isinstance(parameter, Choice):
        return {}
    return next((below for opens, below in parameter.when.items() if opens == value), {})


def stored(value: Any) -> Any:
    """A choice as Optuna holds it: scalars as they are, lists as their JSON text."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def varies(parameter: Parameter) -> bool:
    """True if a parameter can differ between trials."""
    return not isinstance(parameter, Constant) and not (isinstance(parameter, Choice) and len(parameter.values) == 1)


def described(parameter: Parameter) -> Any:
    """A parameter as JSON values, the same for the same set of values."""
    match parameter:
        case Constant():
            return parameter.value
        case Choice():
            when = {
                str(value): {name: described(below[name]) for name in sorted(below)}
                for value, below in parameter.when.items()
                if below
            }
            return {"values": list(parameter.values), **({"when": when} if when else {})}
        case IntRange():
            return {"min": parameter.min, "max": parameter.max, "step": parameter.step, "log": parameter.log}
        case FloatRange():
            return {"min": parameter.min, "max": parameter.max, "step": parameter.step, "log": parameter.log}


def range_text(parameter: Parameter) -> str:
    """The values of a parameter, as a person reads them."""
    match parameter:
        case Constant():
            return f"the constant {parameter.value!r}"
        case Choice():
            return f"one of {', '.join(map(str, parameter.values))}"
        case IntRange() | FloatRange():
            step = "" if parameter.step in (None, 1) else f" in steps of {parameter.step}"
            return f"between {parameter.min} and {parameter.max}{step}"


def with_fractions(parameters: Mapping[str, Parameter], takes: Callable[[str], bool]) -> dict[str, Parameter]:
    """Parameters in which `{min: 0, max: 1}` of a field with fractions is a range of all numbers between.

    Args:
        parameters: by name.
        takes: called with a name; True if that field takes fractions.
    """
    made: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        if isinstance(parameter, IntRange) and takes(name):
            step = float(parameter.step) if parameter.has_step else None
            parameter = FloatRange(float(parameter.min), float(parameter.max), step, parameter.log)
        elif isinstance(parameter, Choice):
            when = {value: with_fractions(below, takes) for value, below in parameter.when.items()}
            parameter = Choice(parameter.values, when)
        made[name] = parameter
    return made


def contains(parameter: Parameter, value: Any) -> bool:
    """True if a parameter can be `value`."""
    match parameter:
        case Constant():
            return bool(stored(parameter.value) == stored(value))
        case Choice():
            return any(
                stored(value) == stored(known) and isinstance(value, bool) is isinstance(known, bool)
                for known in parameter.values
            )
        case IntRange():
            inside = type(value) is int and parameter.min <= value <= parameter.max
            return inside and (value - parameter.min) % parameter.step == 0
        case FloatRange():
            if type(value) not in (int, float) or not parameter.min <= value <= parameter.max:
                return False
            steps: float = (value - parameter.min) / parameter.step if parameter.step else 0.0
            return abs(steps - round(steps)) < 1e-6


def restored(choice: Choice, text: Any) -> Any:
    """The value of a choice that Optuna holds as `text`; `True` and `1` are told apart.

    Raises:
        ValueError: it is none of the values.
    """
    same = [value for value in choice.values if stored(value) == text]
    exact = [value for value in same if type(stored(value)) is type(text)]
    if not same:
        raise ValueError(f"must be {range_text(choice)}, but got {text!r}")
    return (exact or same)[0]


def draw(parameter: Parameter, rng: random.Random) -> Any:
    """A value drawn evenly (in the logarithm where `log`)."""
    match parameter:
        case Constant():
            return parameter.value
        case Choice():
            return rng.choice(parameter.values)
        case IntRange():
            if parameter.log:
                drawn = math.exp(rng.uniform(math.log(parameter.min - 0.5), math.log(parameter.max + 0.5)))
                return min(max(round(drawn), parameter.min), parameter.max)
            return rng.randrange(parameter.min, parameter.max + 1, parameter.step)
        case FloatRange():
            if parameter.step is not None:
                return nth(parameter, rng.randrange(size(parameter) or 1))
            if parameter.log:
                drawn = math.exp(rng.uniform(math.log(parameter.min), math.log(parameter.max)))
                return min(max(drawn, parameter.min), parameter.max)
            return rng.uniform(parameter.min, parameter.max)


def size(parameter: Parameter) -> int | None:
    """The number of a parameter's values; None for a range without step."""
    match parameter:
        case Constant():
            return 1
        case Choice():
            return len(parameter.values)
        case IntRange():
            return (parameter.max - parameter.min) // parameter.step + 1
        case FloatRange():
            return None if parameter.step is None else round((parameter.max - parameter.min) / parameter.step) + 1


def nth(parameter: Parameter, index: int) -> Any:
    """The value at a place, from 0, of a parameter that is not a range without step."""
    match parameter:
        case Constant():
            return parameter.value
        case Choice():
            return parameter.values[index]
        case IntRange():
            return parameter.min + index * parameter.step
        case FloatRange():
            assert parameter.step is not None
            return clean(parameter.min + index * parameter.step, parameter)


def steps(parameter: Parameter) -> Iterator[Any]:
    """Every value of a parameter that is not a range without step."""
    return (nth(parameter, index) for index in range(size(parameter) or 0))


def ends(parameter: Parameter) -> tuple[Any, ...]:
    """The values that stand for a parameter in a check: all of a choice, both ends of a range."""
    match parameter:
        case Constant():
            return (parameter.value,)
        case Choice():
            return parameter.values
        case IntRange() | FloatRange():
            return (parameter.min, parameter.max)


def clean(value: float, parameter: FloatRange) -> float:
    """Round 0.30000000000000004, the sum of steps of 0.1, to 0.3, and keep it inside the range."""
    if parameter.step is None:
        return value
    value = 0.0 if abs(value) < 1e-9 * parameter.step else float(f"{value:.12g}")  # -3.6 + 6 * 0.6 is not 0
    return min(max(value, parameter.min), parameter.max)
