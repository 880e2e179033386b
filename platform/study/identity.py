"""Identity of a sweep: the space and the search, which stay the same from one run of the command to the next."""

from __future__ import annotations

import json
import math
from typing import Any

from platform.errors import InvalidSweep
from platform.space import points
from platform.space.space import Space
from platform.sweepfile.early_stopping import EarlyStopping, Hyperband
from platform.sweepfile.spec import SweepSpec

OPTUNAS = {"startup_trials": 10, "population": 50}
"""Optuna's own defaults, which studies have that started before sweeps had these keys."""


def seeded(values: dict[str, Any]) -> dict[str, Any]:
    """Values or parameters with the seed that training has where they name none."""
    return {"seed": 0, **values}


def as_started(spec: SweepSpec, space: Space, stored: str | None) -> SweepSpec:
    """The sweep with the values of its study's start where the file leaves them open.

    Args:
        spec: the sweep as its file says it now; `num_trials` may have grown since.
        space: its compiled parameters.
        stored: the identity of the study; None: it starts now.
    """
    before: dict[str, Any] = {
        "startup_trials": min(10, max(4, spec.num_trials // 5)),
        "population": min(50, max(8, spec.num_trials // 10)),
    }
    if stored:
        before = {**OPTUNAS, **json.loads(stored)}
    stopping = spec.early_stopping
    if isinstance(stopping, Hyperband) and stopping.max_reports is None:
        reports = before["early_stopping"].get("max_reports") if stored else points.most_reports(space)
        stopping = stopping.model_copy(update={"max_reports": reports})
    fixed = {key: getattr(spec, key) or before[key] for key in OPTUNAS}
    return spec.model_copy(update={"early_stopping": stopping, **fixed})


def identity(spec: SweepSpec, space: Space) -> str:
    """All that the study's trials depend on, as JSON."""
    parts = {
        "trainable": spec.trainable,
        "metrics": [[metric.name, metric.goal] for metric in spec.metrics],
        "space": space.canonical(),
        "method": spec.method,
        "early_stopping": spec.early_stopping.model_dump(),
        "seed": spec.seed,
        "startup_trials": spec.startup_trials,
        "population": spec.population,
        **({"deterministic": f"in batches of {spec.batch}"} if spec.batch else {}),
    }
    return json.dumps(parts, sort_keys=True)


def refuse_changed(stored: str | None, spec: SweepSpec, space: Space) -> None:
    """Compare the identity that a study has with that of the sweep file.

    Raises:
        InvalidSweep: the study is of another sweep, one problem per difference. `stored` None: it is of no sweep.
    """
    if stored is None:
        rule = f"must be new or a sweep's own, but {spec.name!r} there has trials of another program"
        raise InvalidSweep([spec.problem("study", f"{rule}; name another storage, or this sweep: --set name=...")])
    spec, before = as_started(spec, space, stored), {**OPTUNAS, **json.loads(stored)}
    before["early_stopping"] = _in_keys_of(spec.early_stopping, before["early_stopping"])
    now = json.loads(identity(spec, space))
    for each in (before, now):  # `seeds` may be added to a study that has run with its first one
        each["space"]["parameters"] = seeded(each["space"]["parameters"])
    changes = differences(before, now)
    if changes:
        raise InvalidSweep(
            [
                f"{spec.at('name')}: name: a sweep must keep its space and search, but {spec.name!r} "
                f"has trials of another ({difference}); {_warm_start(difference, spec)}"
                "run this one under its own name: --set name=..."
                for difference in changes
            ]
        )


def _warm_start(difference: str, spec: SweepSpec) -> str:
    """The remedy for a space that has changed, before that of a new name."""
    known = f"write warm_start: [{spec.name}], so that the search knows those that fit, and "
    return known if difference.startswith("space.") else ""


def _in_keys_of(stopping: EarlyStopping, stored: dict[str, Any]) -> dict[str, Any]:
    """Stored settings in the keys that `stopping` reads: an absent key has its default, other keys are dropped.

    A key that was left open, as `max_reports` in older studies, may be set now.
    """
    defaults = type(stopping).model_validate({"type": stopping.type}).model_dump()
    before = {key: stored.get(key, default) for key, default in defaults.items()}
    return {key: getattr(stopping, key) if value is None else value for key, value in before.items()}


def differences(stored: Any, current: Any, path: str = "") -> list[str]:
    """Differences of two JSON values, one line each: `parameters.x: was 1, is 2`."""
    if isinstance(stored, dict) and isinstance(current, dict):
        return [
            line
            for key in sorted(stored.keys() | current.keys())
            for line in differences(stored.get(key), current.get(key), f"{path}.{key}" if path else key)
        ]
    same = stored == current or (
        isinstance(stored, float) and isinstance(current, float) and math.isclose(stored, current)
    )
    return [] if same else [f"{path}: was {json.dumps(stored)}, is {json.dumps(current)}"]
