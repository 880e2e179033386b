"""The parameters of trials' runs in MLflow, which takes each once and never changes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from platform.storage.trial_record import read_json
from platform.tracking import pages
from trainables.redaction import redact_values
from trainables.runtime.worker import RESOLVED

CHANGED_TAG = "tracking.changed"
"""Parameters that a trial has with other values than its run, which keeps the first."""

_CUT = 250  # characters of a parameter that every store keeps


class RunParams:
    """The parameters that each trial's run has.

    Args:
        notify: called with one sentence where a trial has another value than its run.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._known: dict[int, dict[str, str]] = {}
        self._whole: set[int] = set()
        self._told: set[tuple[int, str]] = set()

    def learn(self, number: int, params: Mapping[str, str]) -> None:
        """Note the parameters that the run of trial `number` has."""
        self._known[number] = {**self._known.get(number, {}), **params}

    def value(self, number: int, name: str) -> str | None:
        """A parameter of a trial's run, None where it has none of this name."""
        return self._known.get(number, {}).get(name)

    def news(self, number: int, values: Mapping[str, Any], folder: Path) -> tuple[dict[str, str], dict[str, str]]:
        """The parameters that a trial's run still lacks, each once, and a tag that names those with other values.

        Its values come at once, and every other field as soon as its worker has resolved them.

        Args:
            number: of the trial.
            values: in its record.
            folder: the trial's.
        """
        resolved = {} if number in self._whole else _resolved(folder)
        self._whole |= {number} if resolved else set()
        params, known = resolved | _texts(values), self._known.get(number, {})
        new = {name: value for name, value in params.items() if name not in known}
        self.learn(number, new)
        changed = {
            name: value
            for name, value in params.items()
            if name in known and (number, name) not in self._told and not _is_same(known[name], value)
        }
        if not changed:
            return new, {}
        self._told |= {(number, name) for name in changed}
        words = "; ".join(f"{name} was {known[name]} and is {value} now" for name, value in changed.items())
        self._notify(f"MLflow keeps the first value of a parameter, but of trial {number} {words}")
        return new, {CHANGED_TAG: words[: pages.LONGEST_TAG]}


def _resolved(folder: Path) -> dict[str, str]:
    """All fields of a trial's config as its worker wrote them, defaults too."""
    config = read_json(folder / "artifacts" / RESOLVED)
    fields = config if isinstance(config, dict) else {}
    return _texts({name: value for name, value in fields.items() if name != "trainable"})


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in redact_values(values).items()}


def _is_same(known: str, value: str) -> bool:
    """True if a run's parameter is that value, which the store may have cut."""
    return known == value or (len(known) >= _CUT and value.startswith(known[:_CUT]))
