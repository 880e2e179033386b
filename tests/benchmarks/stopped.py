"""Searches that see trials that were stopped early, against the same search that does not, at equal epochs.

    python -m tests.benchmarks.stopped [--seeds 20] [--epochs 240]

Each trial is a curve of 12 reports that rises towards a known height. Curves differ in how fast they rise, so that an
early report ranks them with errors. Printed is the regret: the greatest height less that of the best complete trial,
mean over seeds with a 95 % interval by bootstrap, and its ratio to the search without early stopping. `gp` is shown
with what it sees of a trial that was stopped: a lifted value, its last value, or nothing. `cmaes` is shown with random
trials of an earlier sweep, too: at which its first generation begins, or which it passes over, as Optuna does.
"""

import argparse
import contextlib
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from platform.space.space import Space
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study import cmaes, view
from platform.study.study import Study
from platform.sweepfile.spec import load

REPORTS = 12
_HEAD = """\
name: stopped
trainable: tests.trainables.curve
metric: {name: valid/hr_10, goal: maximize}
num_trials: 100
early_stopping: {type: asha, min_reports: 2, reduction_factor: 3}
parameters:
"""
_PARAMETERS = "".join(f"  x{place}: {{min: 0.0, max: 1.0}}\n" for place in range(3))
_LIFT = view.lift
_BEST = (0.3, 0.7, 0.55)
Patch = Callable[[], AbstractContextManager[Any]]


def height(values: dict[str, Any]) -> float:
    """The height that a setting's curve rises to: a ridge with one best point, of height 1."""
    x, y, z = (values[f"x{place}"] - best for place, best in enumerate(_BEST))
    return math.exp(-6 * (x + 0.5 * y) ** 2 - 3 * y**2 - 2 * z**2)


def curve(values: dict[str, Any], report: int) -> float:
    """The value of a report: curves with a large third value rise more slowly."""
    pace = 1.5 + 3 * values["x2"]
    return height(values) * (1 - math.exp(-report / pace))


def regret(method: str, stopping: bool, patch: Patch, epochs: int, seed: int, earlier: int = 0) -> float:
    """The part of the best height that one search misses once it has spent its epochs, and knows `earlier` trials."""
    with tempfile.TemporaryDirectory(prefix="sweep-stopped-") as folder, patch():
        file = Path(folder) / "stopped.yaml"
        file.write_text(_HEAD + _PARAMETERS)
        stop = [] if stopping else ["early_stopping=none"]
        spec = load(file, [f"method={method}", f"seed={seed}", f"storage={folder}", *stop])
        study, spent, best = Study(spec, Space.of(spec), Path(folder)), 0, 0.0
        for point in np.random.default_rng(seed).random((earlier, 3)):
            values = {f"x{place}": float(x) for place, x in enumerate(point)}
            study.optuna.add_trial(
                optuna.trial.create_trial(
                    params=values,
                    distributions=dict.fromkeys(values, optuna.distributions.FloatDistribution(0.0, 1.0)),
                    value=curve(values, REPORTS),
                    intermediate_values={report: curve(values, report) for report in range(1, REPORTS + 1)},
                    system_attrs={cmaes.SOURCE: True},
                )
            )
            best = max(best, height(values))
        while spent < epochs:
            asked = study.ask()
            assert asked is not None
            for report in range(1, REPORTS + 1):
                spent += 1
                value = curve(asked.values, report)
                if study.judge(asked.number, report, value, last=report == REPORTS):
                    study.tell(EndedTrial(asked.number, TrialEnd.now(State.PRUNED, ""), None))
                    break
            else:
                study.tell(EndedTrial(asked.number, TrialEnd.now(State.COMPLETE, ""), (value,)))
                best = max(best, height(asked.values))
        return 1 - best


def _raw(trials: Sequence[Any]) -> list[Any]:
    """Trials that were stopped early as complete ones of their last value."""
    return [_LIFT([trial])[0] for trial in trials]  # without the others there is no gain


def _blind(trials: Sequence[Any]) -> list[Any]:
    return list(trials)


SEARCHES: dict[str, tuple[str, bool, Patch]] = {
    "gp, lifted value": ("gp", True, contextlib.nullcontext),
    "gp, last value": ("gp", True, partial(mock.patch.object, view, "lift", _raw)),
    "gp, nothing": ("gp", True, partial(mock.patch.object, view, "lift", _blind)),
    "gp without early stopping": ("gp", False, contextlib.nullcontext),
    "cmaes": ("cmaes", True, contextlib.nullcontext),
    "cmaes without early stopping": ("cmaes", False, contextlib.nullcontext),
    "tpe": ("tpe", True, contextlib.nullcontext),
    "tpe without early stopping": ("tpe", False, contextlib.nullcontext),
    "random": ("random", True, contextlib.nullcontext),
}


EARLIER = {
    f"{kind}, {count} earlier trials{told}": (kind, count, partial(mock.patch.object, cmaes, "FEWEST_SOURCES", fewest))
    for kind, counts in {"cmaes": (12, 20, 30, 100), "cmaes without early stopping": (20, 30)}.items()
    for count in counts
    for told, fewest in (("", 10), (", passed over", math.inf))
}
"""The search, the number of random trials of an earlier sweep, and from how many on they are taken in."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the regret of each search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=240, help="of each search, 12 a whole trial")
    parser.add_argument("--searches", nargs="+", default=[*SEARCHES, *EARLIER])
    options = parser.parse_args(arguments)
    found = {}
    for name in options.searches:
        kind, earlier, patch = EARLIER[name] if name in EARLIER else (name, 0, SEARCHES[name][2])
        method, stopping, _ = SEARCHES[kind]
        seeds = range(options.seeds)
        found[name] = np.array([regret(method, stopping, patch, options.epochs, seed, earlier) for seed in seeds])
    table = Table(title=f"regret after {options.epochs} epochs, {options.seeds} seeds")
    for name in ("search", "regret", "95 % interval", "ratio to it passed over, or without early stopping"):
        table.add_column(name)
    draws = np.random.default_rng(0).integers(options.seeds, size=(2000, options.seeds))
    for name, values in found.items():
        low, high = np.quantile(values[draws].mean(1), (0.025, 0.975))
        other = f"{name}, passed over" if name in EARLIER else f"{SEARCHES[name][0]} without early stopping"
        peer = found.get(other)
        ratio = "" if peer is None else f"{values.mean() / peer.mean():.2f}"
        table.add_row(name, f"{values.mean():.4f}", f"{low:.4f} to {high:.4f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
