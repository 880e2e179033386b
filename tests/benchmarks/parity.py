"""Proposals of a sweep's study beside those of Optuna's samplers used by hand, trial by trial: they are the same.

    python -m tests.benchmarks.parity [--seeds 20] [--trials 40]

The peer is a study in memory with Optuna's own sampler and the settings that the sweep chooses. Three trials run at
once, and one in six is pruned, but under gp, which sees such trials otherwise than in Optuna. The functions have no
constraint, none proposes a setting twice, and no early stopping ends a trial by itself.
"""

import argparse
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna import samplers
from rich.console import Console
from rich.table import Table

from platform.space.space import Space
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.study import Study
from platform.sweepfile.spec import SweepSpec, load

METHODS = ("random", "qmc", "tpe", "cmaes", "gp")
TOLERANCE = 1e-9
_AT_ONCE, _GP_TRIALS = 3, 20
_HEAD = """\
name: parity
trainable: tests.trainables.curve
metric: {name: valid/hr_10, goal: minimize}
num_trials: 25
parameters:
"""


def branin(trial: optuna.Trial) -> float:
    """Two numbers."""
    x, y = trial.suggest_float("x", -5.0, 10.0), trial.suggest_float("y", 0.0, 15.0)
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann6(trial: optuna.Trial) -> float:
    """Six numbers."""
    x = np.array([trial.suggest_float(f"x{place}", 0.0, 1.0) for place in range(6)])
    distance = (_A * (x - _P) ** 2).sum(1)
    return -float(_ALPHA @ np.exp(-distance))


def branched(trial: optuna.Trial) -> float:
    """A choice with numbers of its own under two values, stepped and logarithmic ones, beside two more numbers."""
    kind = trial.suggest_categorical("kind", ["plain", "wide", "deep"])
    own = 0.0
    if kind == "wide":
        own = trial.suggest_int("wide.size", 1, 64, log=True) / 64 + trial.suggest_float("wide.share", 0, 0.5, step=0.1)
    elif kind == "deep":
        own = trial.suggest_float("deep.rate", 1e-4, 1e-1, log=True)
    dropout, layers = trial.suggest_float("dropout", 0.0, 0.5), trial.suggest_int("layers", 1, 8)
    return (dropout - 0.2) ** 2 + (layers - 3) ** 2 / 9 + own + {"plain": 0.3, "wide": 0.0, "deep": 0.1}[kind]


FUNCTIONS: dict[str, tuple[Callable[[optuna.Trial], float], str]] = {
    "Branin": (branin, "  x: {min: -5.0, max: 10.0}\n  y: {min: 0.0, max: 15.0}\n"),
    "Hartmann6": (hartmann6, "".join(f"  x{place}: {{min: 0.0, max: 1.0}}\n" for place in range(6))),
    "branched": (
        branched,
        "  kind:\n    values: [plain, wide, deep]\n    when:\n"
        "      wide: {wide.size: {min: 1, max: 64, log: true}, wide.share: {min: 0.0, max: 0.5, step: 0.1}}\n"
        "      deep: {deep.rate: {min: 1.0e-4, max: 1.0e-1, log: true}}\n"
        "  dropout: {min: 0.0, max: 0.5}\n  layers: {min: 1, max: 8}\n",
    ),
}
"""Name -> the function as Optuna's users write it, and its `parameters` in a sweep file."""


def differing(function: str, method: str, seed: int, trials: int, folder: Path) -> int:
    """Number of trials, of so many, whose parameters differ between the two sides."""
    objective, parameters = FUNCTIONS[function]
    (folder / "parity.yaml").write_text(_HEAD + parameters)
    spec = load(folder / "parity.yaml", [f"method={method}", f"seed={seed}", f"storage={folder}"])
    ours = Study(spec, Space.of(spec), folder)
    theirs = optuna.create_study(direction="minimize", sampler=_sampler(ours.spec, branches=function == "branched"))
    running: list[tuple[int, optuna.Trial, float]] = []
    count = 0
    for number in range(trials):
        asked, trial = ours.ask(), theirs.ask()
        assert asked is not None
        value = objective(trial)
        count += not _same(asked.values, trial.params)
        running.append((asked.number, trial, value))
        if len(running) == _AT_ONCE:
            _end(ours, theirs, *running.pop(number % _AT_ONCE))
    return count


def _sampler(spec: SweepSpec, *, branches: bool) -> samplers.BaseSampler:
    seed = spec.seed * 1_000_003 % 2**31
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match spec.method:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "qmc":
                uniform = samplers.RandomSampler(seed=seed)
                return samplers.QMCSampler(seed=spec.seed, scramble=True, independent_sampler=uniform)
            case "tpe":
                return samplers.TPESampler(
                    seed=seed, multivariate=True, group=branches, n_startup_trials=spec.startup_trials or 0
                )
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed, consider_pruned_trials=True)
    return samplers.GPSampler(seed=seed, n_startup_trials=spec.startup_trials or 0)


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(
        math.isclose(ours[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        if isinstance(value, float)
        else ours[name] == value
        for name, value in theirs.items()
    )


def _end(ours: Study, theirs: optuna.Study, number: int, trial: optuna.Trial, value: float) -> None:
    """Report twice and end on both sides."""
    state = State.PRUNED if number % 6 == 5 and ours.spec.method != "gp" else State.COMPLETE
    for report in (1, 2):
        ours.store_value(number, report, value * report / 2)
        trial.report(value * report / 2, report)
    ours.tell(EndedTrial(number, TrialEnd.now(state, ""), (value,)))
    theirs.tell(trial, value if state is State.COMPLETE else None, state=optuna.trial.TrialState[state.name])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the proposals that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40, help=f"at most {_GP_TRIALS} under gp, which is slow")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = Table(title=f"proposals that differ from Optuna's own, {options.seeds} seeds")
    for name in ("method", *FUNCTIONS):
        table.add_column(name, justify="right")
    for method in options.methods:
        trials = min(options.trials, _GP_TRIALS) if method == "gp" else options.trials
        cells = []
        for function in FUNCTIONS:
            differ = 0
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory(prefix="sweep-parity-") as folder:
                    differ += differing(function, method, seed, trials, Path(folder))
            cells.append(f"{differ} of {options.seeds * trials}")
        table.add_row(method, *cells)
    Console().print(table)


_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)

if __name__ == "__main__":
    main()
