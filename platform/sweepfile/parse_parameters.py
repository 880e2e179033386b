"""`parameters` of a sweep file -> constants, choices and ranges, with every problem on the way."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from platform.errors import did_you_mean, short
from platform.sweepfile.foreign_forms import SYNONYMS, UNEVEN, form, kind, shown
from platform.sweepfile.parameters import (
    Branch,
    Choice,
    Constant,
    FloatRange,
    IntRange,
    Occurrence,
    Parameter,
    occurrences,
    stored,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_CHOICE_KEYS, _RANGE_KEYS = ("values", "when"), ("min", "max", "step", "log")
_LARGEST_INTEGER = 2**53
MOST_PARAMETERS, MOST_VALUES = 200, 1000
"""Parameters of a sweep, in all branches, and values of one choice. The check builds a config for each value, and a
config for each parameter of each: both together stay within seconds."""
Problem: TypeAlias = Callable[[str, str], None]
"""Called with a path and `rule, but got value; remedy`."""


def read_parameters(raw: object, problem: Problem) -> dict[str, Parameter]:
    """The parameters that `raw` (plain data) describes; what is wrong goes to `problem`, the rest is returned."""
    found = _read_group(raw, "parameters", problem)
    seen: list[Occurrence] = []
    for here in occurrences(found):
        for other in seen:
            if other.name == here.name and not _exclude(other.branch, here.branch):
                problem(
                    here.path,
                    f"must not be active together with {other.path}, but got it in both; keep one of them, or put each "
                    "under its own value in one `when`",
                )
        seen.append(here)
    if len(seen) > MOST_PARAMETERS:
        rule = f"must be at most {MOST_PARAMETERS} parameters, those of all branches together"
        problem("parameters", f"{rule}, but got {len(seen)}; leave out those that keep their defaults")
        return {}
    return found


def _exclude(one: Branch, other: Branch) -> bool:
    """True if two places are never active in one trial: they need different values of one parameter."""
    needed = dict(one)
    return any(name in needed and needed[name] != value for name, value in other)


def _read_group(raw: object, path: str, problem: Problem) -> dict[str, Parameter]:
    if not isinstance(raw, dict):
        problem(
            path, f"must be a mapping of dotted names, but got {short(raw)}; write `fit.dropout: 0.1` lines below it"
        )
        return {}
    found: dict[str, Parameter] = {}
    for name, value in raw.items():
        if name == "<<":
            problem(
                f"{path}.{name}", "a key must be a field, but got a merge (<<), which is not taken; write its lines"
            )
            continue
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            problem(f"{path}.{name}", f"must be a dotted name such as fit.dropout, but got {name!r}; rename it")
            continue
        parameter = _read(value, f"{path}.{name}", name, problem)
        if parameter is not None:
            found[name] = parameter
    return found


def _read(raw: object, path: str, name: str, problem: Problem) -> Parameter | None:
    if isinstance(raw, list):
        problem(
            path,
            f"must be a scalar, {{values: ...}} or {{min: ..., max: ...}}, but got the bare list {short(raw)}; write "
            f"{{values: {short(raw)}}} to choose from it, or {{values: [{short(raw)}]}} for one value that is a list",
        )
        return None
    if not isinstance(raw, dict):
        if isinstance(raw, float) and not math.isfinite(raw):
            problem(path, f"must be a finite number, but got {raw!r}; write a plain number")
            return None
        return Constant(raw)
    unknown = [key for key in raw if key not in (*_CHOICE_KEYS, *_RANGE_KEYS)]
    if unknown:
        whole = form(raw)
        if whole and not (len(unknown) == 1 and unknown[0] in ("value", *SYNONYMS)):
            remedy = f"write {whole}"
            if kind(raw.get("distribution")).startswith("log"):
                remedy += " (min and max are the values themselves, no exponents)"
            problem(f"{path}.{unknown[0]}", f"{_rule(unknown[0])}; {remedy}")
            return None
        for key in unknown:
            problem(f"{path}.{key}", f"{_rule(key)}; {_unknown(key, raw, name, len(unknown) == len(raw))}")
        return None
    if "values" in raw or "when" in raw:
        mixed = [key for key in _RANGE_KEYS if key in raw]
        if mixed:
            problem(
                path,
                f"must be a choice (values) or a range (min, max), but got both values and {mixed[0]}; remove one",
            )
            return None
        return _read_choice(raw, path, problem)
    return _read_range(raw, path, problem)


def _rule(key: object) -> str:
    return f"must be one of {', '.join((*_CHOICE_KEYS, *_RANGE_KEYS))}, but got {key!r}"


def _unknown(key: object, raw: dict[Any, Any], name: str, alone: bool) -> str:
    """The remedy for a key that no parameter has."""
    if key == "value":
        return f"write the value itself for a constant: `{name}: {shown(raw[key])}`"
    words = (str(word).removeprefix("_").lower().replace("_", "") for word in (key, raw[key]))
    if key in ("probabilities", "mu", "sigma") or any(word in UNEVEN for word in words):
        return "choices and ranges are drawn evenly, " + ("write {min: ..., max: ...}" if alone else "leave it out")
    if key == "distribution":
        return "leave it out"
    if key == "parameters" or (alone and isinstance(key, str) and key not in SYNONYMS):
        lines = _dotted(name, raw[key] if key == "parameters" else {key: raw[key]})
        return f"a field of a part is written with dots: {', '.join(f'`{line}`' for line in lines)}"
    if key in SYNONYMS:
        return f"did you mean {SYNONYMS[str(key)]!r}?"
    return did_you_mean(key, (*_CHOICE_KEYS, *_RANGE_KEYS))


def _dotted(name: str, raw: object) -> list[str]:
    """The lines that a nested part stands for, one per field of it."""
    if isinstance(raw, dict) and (text := form(raw)):
        return [f"{name}: {text}"]
    if not isinstance(raw, dict) or not raw or any(key in raw for key in (*_CHOICE_KEYS, *_RANGE_KEYS)):
        return [f"{name}: {shown(raw)}"]
    return [line for key, inner in raw.items() for line in _dotted(f"{name}.{key}", inner)]


def _read_choice(raw: dict[str, Any], path: str, problem: Problem) -> Choice | None:
    values = raw.get("values")
    if not isinstance(values, list) or not values:
        what = "is not there" if "values" not in raw else f"got {short(values)}"
        problem(f"{path}.values", f"must be a list with at least one value, but {what}; write `values: [a, b]`")
        return None
    if len(values) > MOST_VALUES:
        rule = f"must be a list of at most {MOST_VALUES} values, but got {len(values)}"
        problem(f"{path}.values", f"{rule}; write a range (min, max), or list fewer")
        return None
    fine = True
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if not _plain(value):
            problem(
                f"{path}.values[{index}]",
                f"must be a number, a text, true, false, null or a list of them, but got {short(value)}; replace it",
            )
            fine = False
        elif not _exact(value):
            problem(
                f"{path}.values[{index}]",
                f"must be a whole number up to 2^53, which samplers hold exactly, but got {short(value)}; shrink it",
            )
            fine = False
        elif stored(value) in seen:
            problem(f"{path}.values[{index}]", f"must be listed once, but got {short(value)} again; remove one")
            fine = False
        else:
            seen.add(stored(value))
    if not fine:
        return None
    return Choice(tuple(values), _read_when(raw.get("when", {}), values, f"{path}.when", problem))


def _read_when(raw: object, values: list[Any], path: str, problem: Problem) -> dict[Any, Mapping[str, Parameter]]:
    if not isinstance(raw, dict):
        problem(
            path,
            f"must be a mapping from a value to its parameters, but got {short(raw)}; write `when: {{a: {{...}}}}`",
        )
        return {}
    when: dict[Any, Mapping[str, Parameter]] = {}
    for value, below in raw.items():
        if not any(type(value) is type(known) and value == known for known in values):
            texts = [str(known) for known in values]
            problem(
                f"{path}.{value}",
                f"must be one of the values {', '.join(texts)}, but got {value!r}; {did_you_mean(value, texts)}",
            )
            continue
        when[value] = _read_group(below, f"{path}.{value}", problem)
    return when


def _read_range(raw: dict[str, Any], path: str, problem: Problem) -> IntRange | FloatRange | None:
    fine = True
    for key in ("min", "max", "step"):
        if key not in raw:
            if key != "step":
                problem(path, f"must have both min and max, but {key} is not there; add it, or list `values`")
                fine = False
        elif not _number(raw[key]):
            problem(f"{path}.{key}", f"must be a finite number, but got {short(raw[key])}; write a plain number")
            fine = False
        elif not _exact(raw[key]):
            problem(
                f"{path}.{key}",
                f"must be a whole number up to 2^53, which samplers hold exactly, but got {short(raw[key])}; shrink it",
            )
            fine = False
    log = raw.get("log", False)
    if not isinstance(log, bool):
        problem(f"{path}.log", f"must be true or false, but got {short(log)}; write true for a logarithmic range")
        fine = False
    if not fine:
        return None
    low, high, step = raw["min"], raw["max"], raw.get("step")
    if low >= high:
        remedy = f"write `{low}` alone for a constant" if low == high else "swap them"
        problem(path, f"min must be below max, but got min {low} and max {high}; {remedy}")
        fine = False
    if log and low <= 0:
        problem(f"{path}.min", f"must be above 0 with log: true, but got {low}; raise it, or remove log")
        fine = False
    if step is not None:
        fine = _check_step(low, high, step, log, path, problem) and fine
    if not fine:
        return None
    if isinstance(low, int) and isinstance(high, int) and not isinstance(step, float):
        return IntRange(low, high, step or 1, log, has_step=step is not None)
    return FloatRange(float(low), float(high), None if step is None else float(step), log)


def _check_step(low: float, high: float, step: float, log: bool, path: str, problem: Problem) -> bool:
    if log:
        problem(f"{path}.step", f"must not stand beside log: true, but got {step}; remove one of the two")
        return False
    if step <= 0:
        problem(f"{path}.step", f"must be above 0, but got {step}; remove the sign, or the step")
        return False
    if low >= high:
        return False
    steps = (high - low) / step
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        last = float(f"{low + math.floor(steps + 1e-9) * step:.12g}")
        last = int(last) if all(isinstance(number, int) for number in (low, high, step)) else last
        remedy = f"end at {last}" if last > low else "take a smaller step"
        problem(path, f"max must be reached from min in whole steps, but got {low}, {high} and step {step}; {remedy}")
        return False
    return True


def _exact(value: object) -> bool:
    """True if floats, and so samplers and databases, hold a number exactly."""
    return not isinstance(value, int) or abs(value) <= _LARGEST_INTEGER


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)
