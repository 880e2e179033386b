"""`--set key=value`: entries of a sweep file replaced on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from platform.errors import InvalidSweep
from platform.sweepfile.fields import keys_of
from platform.sweepfile.notations import of_key
from platform.sweepfile.yaml_lines import join, read

_BETWEEN = re.compile(r",(?=\s*[\w.]+\s*=)")


def apply(data: dict[str, Any], overrides: Sequence[str], origins: dict[str, int | str]) -> list[tuple[str, str]]:
    """Replace entries of `data` in place, note each one's origin, and return the problems as (origin, message).

    Args:
        data: the file as plain data.
        overrides: `key=value` each; the key is dotted, what follows `parameters.` is one name, the value is YAML.
        origins: path -> line or `--set key=value`; entries below a replaced one are dropped.
    """
    problems: list[tuple[str, str]] = []
    for override in overrides:
        origin = f"--set {override}"
        key, equals, text = override.partition("=")
        steps = _steps(key.strip())
        if not equals or not all(steps):
            problems.append((origin, f"must be key=value, but got {override!r}; write --set num_trials=6"))
            continue
        if len(steps) > 1 and steps[0] not in keys_of(""):
            meant = of_key(key.strip(), keys_of(""))
            rule = f"must begin with a key of the file, but got {steps[0]!r}"
            problems.append((origin, f"{key}: {rule}; a field of the trainable is set by --set {meant}={text}"))
            continue
        document = read(text)
        if document.problems:
            problems += [(origin, message) for _, message in document.problems]
            continue
        problem = _put(data, steps, document.data)
        if problem:
            problems.append((origin, f"{key}: {problem}"))
            continue
        path = ""
        for step in steps:
            path = join(path, step)
        for known in [known for known in origins if known.startswith((f"{path}.", f"{path}["))]:
            del origins[known]
        origins[path] = origin
    return problems


def point(text: str) -> dict[str, Any]:
    """The point that `fit.dropout=0.3,adapter.taylor_order=2` names: parameter -> value, each value YAML.

    Raises:
        InvalidSweep: it names none.
    """
    found: dict[str, Any] = {}
    for word in _BETWEEN.split(text):
        name, equals, value = word.partition("=")
        document = read(value)
        if not equals or document.problems or isinstance(document.data, dict | list):
            rule = f"--enqueue: must be name=value with commas between, but got {word!r}"
            raise InvalidSweep([f"{rule}; write --enqueue fit.dropout=0.3,fit.epochs=5"])
        found[name.strip().removeprefix("parameters.")] = document.data
    return found


def _steps(key: str) -> list[str]:
    head, dot, rest = key.partition(".")
    if head == "parameters" and dot:
        return [head, rest]
    return key.split(".")


def _put(data: dict[str, Any], steps: list[str], value: Any) -> str | None:
    """Set one entry, making the mappings on the way; a problem where something else stands in the way."""
    for index, step in enumerate(steps[:-1]):
        inner = data.setdefault(step, {})
        if not isinstance(inner, dict):
            around = ".".join(steps[: index + 1])
            return f"{around} must be a mapping to be set in, but got {inner!r}; set {around} as a whole"
        data = inner
    data[steps[-1]] = value
    return None
