"""The settings that a study has: no setting is run twice, unless its trial failed and is retried.

A setting is the whole config. A trial that would repeat one is told to the study at once, with the attribute
`same_as`. Samplers see it. It is never started, so that nothing else counts, shows or tracks it, and pruners are not
shown it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from platform.space.space import Space

STARTED = "started"
"""Attribute of a trial that was handed to a runner: when, in seconds since 1970."""
SAME_AS = "same_as"
"""Attribute of a trial that repeats a setting: the number of the trial that has it."""
FROM = "from"
"""Attribute of a trial that an earlier sweep ran: `<its sweep>/<its number there>`. It has no `started`."""
RETRIES = "retries"
"""Attribute of a trial that runs the setting of a failed one again: the failed one's number."""
REQUEST = "request"
"""Attribute of a trial that a person asked for: the id of the request."""
OF = "of"
"""Attribute of a trial that runs a setting with a further seed: the number of the setting's own trial."""
SEED = "seed"
"""Attribute of such a trial, and of every trial of a sweep with `seeds`: its seed."""
CELL = "cell"
"""Attribute of a trial of a sweep with cells: its cell, for people."""
PAGE = "mlflow"
"""Attribute of a trial: the address of its run, for people."""


def with_seed(values: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a trial: those of its point, with the seed that its attributes name."""
    return {**values, **({SEED: attributes[SEED]} if OF in attributes else {})}


def shown(axes: Sequence[str], values: Mapping[str, Any], *, seeds: bool) -> dict[str, Any]:
    """The attributes of a trial that starts, for people alone: its cell, and with `seeds` its seed.

    Args:
        axes: the parameters that tell cells apart.
        values: the trial's.
        seeds: True if the sweep has `seeds`.
    """
    cell = ", ".join(f"{name}={values[name]}" for name in axes if name in values)
    return {**({CELL: cell} if cell else {}), **({SEED: values[SEED]} if seeds and SEED in values else {})}


class Settings:
    """The settings of the trials that were started, but for failed ones that are retried.

    Args:
        space: it makes whole configs of points.
        repeatable: False if a second run of a setting gives other numbers: no setting is then a repeat.
    """

    def __init__(self, space: Space, repeatable: bool) -> None:
        self._space = space
        self._repeatable = repeatable
        self._numbers: dict[str, int] = {}

    def add(self, number: int, values: Mapping[str, Any]) -> None:
        """Take in a trial; of several with one setting, the first counts."""
        if self._repeatable:
            with contextlib.suppress(ValueError):  # the trainable has changed and takes it no more
                self._numbers.setdefault(self._space.setting(values), number)

    def forget(self, number: int) -> None:
        """Let the setting of a trial be new again."""
        self._numbers = {setting: each for setting, each in self._numbers.items() if each != number}

    def number(self, values: Mapping[str, Any]) -> int | None:
        """The number of the trial that has the setting of a feasible point."""
        return self._numbers.get(self._space.setting(values)) if self._repeatable else None

    def is_new(self, values: Mapping[str, Any]) -> bool:
        """True if a point is feasible and no trial has its setting."""
        return self._space.feasible(values) and self.number(values) is None


def tell_again(study: optuna.Study, trial: Trial, earlier: FrozenTrial) -> None:
    """Tell a trial that repeats the setting of an `earlier` one as that one ended.

    A repeat of a trial that runs, or that failed, is told as failed: samplers pass over it.
    """
    trial.set_user_attr(SAME_AS, earlier.number)
    if earlier.state == TrialState.PRUNED:
        for report, value in earlier.intermediate_values.items():
            trial.report(value, report)
    state = earlier.state if earlier.state.is_finished() else TrialState.FAIL
    study.tell(trial, earlier.values if state == TrialState.COMPLETE else None, state=state)
