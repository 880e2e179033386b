"""`--set key=value`: entries of a sweep file replaced on the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from platform.errors import InvalidSweep, nearest
from platform.sweepfile.error_texts import own_key
from platform.sweepfile.fields import keys_of
from platform.sweepfile.yaml_lines import join, read
from trainables.config import field_names
from trainables.runtime import registry

_BETWEEN = re.compile(r",(?=\s*[\w.]+\s*=)")
_FIELDS = {
    "lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "dataset": "data.name", "optimizer": "optimiser",
}  # fmt: skip
"""Another tool's word -> a field of a trainable."""


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
        document = read(text)
        if document.problems:
            problems += [(origin, message) for _, message in document.problems]
            continue
        meant = key_meant(key.strip(), data.get("trainable"))
        if meant and meant.startswith("parameters.") and steps[0] != "parameters":
            rule = "a field of the trainable stands below parameters"
            problems.append((origin, f"{key}: {rule}; write --set {shlex.quote(f'{meant}={text}')}"))
            continue
        problem = _put(data, steps, document.data)
        if problem:
            problems.append((origin, f"{key}: {problem}"))
            continue
        path = ""
        for step in steps:
            path = join(path, step)
            origins.setdefault(path, origin)
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


def key_meant(key: str, trainable: object) -> str | None:
    """The key of a sweep file that `key` stands for: itself, another tool's word for it, or a field of the trainable.

    Args:
        key: as typed, dotted.
        trainable: the name in the file, if it could be read.
    """
    head, dot, rest = key.partition(".")
    keys, fields = keys_of(""), _fields(trainable)
    if head in keys:
        return key
    words = (key, f"{key}.name", _FIELDS.get(key))
    same = [name for name in fields if name in words or name.rpartition(".")[2] in words]
    if own := own_key(key, sections_too=not same):
        return own
    if same:
        return f"parameters.{same[0]}"
    is_part = any(name.startswith(f"{head}.") for name in fields)
    if dot and not is_part and (section := nearest(head, keys)):
        return f"{section}.{rest}"
    if near := nearest(key, [*keys, *fields]):
        return near if near in keys else f"parameters.{near}"
    return f"parameters.{key}" if dot else None


def _fields(trainable: object) -> list[str]:
    """The dotted fields of a trainable, those of every choice first; none if it cannot be loaded."""
    try:
        fields = field_names(registry.load(str(trainable)).config).values()
        return [field.name for field in sorted(fields, key=lambda field: bool(field.choices))]
    except Exception:  # a user's own module may fail in any way
        return []


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
