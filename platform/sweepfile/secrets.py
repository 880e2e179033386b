"""Secrets in the data of a sweep file: texts under a key that says so, `study`, `tracking.uri` and `notify.url`.

Each may be written `${NAME}`, or hold it: driver and workers then read the environment (`trainables.references`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from platform.sweepfile.parameters import Choice, Constant, Parameter, occurrences
from platform.sweepfile.yaml_lines import join
from trainables.redaction import holds_secret, is_secret, redact, remember
from trainables.references import problem, variables

_HOOK = "notify.url"
"""The entry with a URL that takes messages from everybody who knows it."""
_URLS = ("study", "tracking.uri", _HOOK)
_PLACE = re.compile(r"(?:\.values)?(?:\[\d+\])*$")
_USER = re.compile(r"(?<=://)[^\s/:@]*@")
"""A user in a URL without a password."""


def remember_all(data: Any, overrides: Sequence[str]) -> None:
    """Hide the secrets of a file and its overrides from here on, in this process."""
    for override in overrides:  # also one that is no YAML
        key, _, text = override.partition("=")
        remember({key: text})
    for path, text in _texts(data):
        remember({_PLACE.sub("", path): text, **({"token": text} if path == _HOOK and not variables(text) else {})})


def references(data: Any) -> tuple[tuple[str, str], ...]:
    """Path and text of each entry that refers to variables."""
    return tuple((path, text) for path, text in _texts(data) if variables(text))


def misplaced(found: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Problems of references in what is no secret, as (path, `rule, but got value; remedy`)."""
    for path, text in found:
        name = _PLACE.sub("", path)
        if not is_secret(name) and name not in _URLS:
            rule = "must be a secret (study, tracking.uri, notify.url or a field such as hub.api_key)"
            yield path, f"{rule} to be read from the environment, but got {text!r}; write the text itself"


def missing(found: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Problems of references to variables that are not set on this machine."""
    return ((path, wrong) for path, text in found if (wrong := problem(text)))


def held(data: Any) -> list[str]:
    """Paths of the entries that hold a secret themselves."""
    entries = ((path, _PLACE.sub("", path), _USER.sub("", text)) for path, text in _texts(data))
    return [path for path, name, text in entries if holds_secret({name: text}) or redact(text) != text]


def are_private(parameters: Mapping[str, Parameter]) -> bool:
    """True if a value of the parameters is a secret itself."""
    for here in occurrences(parameters):
        match here.parameter:
            case Choice(values=values):
                if any(holds_secret({here.name: value}) for value in values):
                    return True
            case Constant(value=value) if holds_secret({here.name: value}):
                return True
    return False


def _texts(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text and number of a file with its path."""
    if isinstance(data, dict | list):
        for key, inner in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _texts(inner, join(path, key))
    elif isinstance(data, str | int | float) and not isinstance(data, bool):
        yield path, str(data)
