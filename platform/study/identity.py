"""Identity of a sweep: the space and the search, which stay the same from one run of the command to the next."""

from __future__ import annotations

import json
import math
from typing import Any

from platform.errors import InvalidSweep
from platform.space.space import Space
from platform.sweepfile.early_stopping import EarlyStopping
from platform.sweepfile.spec import SweepSpec


def identity(spec: SweepSpec, space: Space) -> str:
    """All that the study's trials depend on, as JSON."""
    parts = {
        "trainable": spec.trainable,
        "metrics": [[metric.name, metric.goal] for metric in spec.metrics],
        "space": space.canonical(),
        "method": spec.method,
        "early_stopping": spec.early_stopping.model_dump(),
        "seed": spec.seed,
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
    before = json.loads(stored)
    before["early_stopping"] = _in_keys_of(spec.early_stopping, before["early_stopping"])
    changes = differences(before, json.loads(identity(spec, space)))
    if changes:
        raise InvalidSweep(
            [
                f"{spec.at('name')}: name: a sweep must keep its space and search, but {spec.name!r} "
                f"has trials of another ({difference}); run this one under its own name: --set name=..."
                for difference in changes
            ]
        )


def _in_keys_of(stopping: EarlyStopping, stored: dict[str, Any]) -> dict[str, Any]:
    """Stored settings in the keys that `stopping` reads: an absent key has its default, other keys are dropped."""
    defaults = type(stopping).model_validate({"type": stopping.type}).model_dump()
    return {key: stored.get(key, default) for key, default in defaults.items()}


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
