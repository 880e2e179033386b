"""References to environment variables, ``${NAME}``, in the place of secrets.

The reference stands in every file, key and message. Driver and workers read its value from their own environments,
where they use it, and hide it from then on.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from trainables.redaction import is_secret, remember, take_over

_REFERENCE = re.compile(r"\$\{(\w+)\}")

_written: dict[str, str] = {}
"""Text with a variable's value -> the text that was written for it, of all that this process has read."""


def variables(text: str) -> list[str]:
    """Names of the variables that ``text`` refers to."""
    return _REFERENCE.findall(text)


def problem(text: str) -> str | None:
    """``rule, but got value; remedy`` where ``text`` refers to a variable that is not set here, or empty."""
    for name in variables(text):
        if not os.environ.get(name):
            rule = f"must name a variable that is set here, but ${name} is not"
            return f"{rule}; set it in the environment of driver and workers"
    return None


def resolve(text: str) -> str:
    """``text`` with the value of each variable that it refers to.

    Raises:
        ValueError: a variable is not set, or empty.
    """
    if not variables(text):
        return text
    if wrong := problem(text):
        raise ValueError(wrong)
    take_over(os.environ[name] for name in variables(text))
    value = _REFERENCE.sub(lambda reference: os.environ[reference[1]], text)
    remember({"": value})  # the password of a URL
    _written[value] = text
    return value


def resolve_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values by name, those that are named like a secret resolved.

    Raises:
        ValueError: a variable is not set, or empty.
    """
    resolved = dict(values)
    for name, value in values.items():
        if isinstance(value, str) and variables(value) and is_secret(name):
            try:
                resolved[name] = resolve(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return resolved


def as_written(value: Any) -> Any:
    """A JSON value in which each text that was read from the environment stands as it was written."""
    match value:
        case str():
            return _written.get(value, value)
        case list() | tuple():
            return [as_written(each) for each in value]
        case dict():
            return {name: as_written(each) for name, each in value.items()}
    return value
