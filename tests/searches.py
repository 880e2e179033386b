"""Searches that replay recorded curves, in groups that are compared: what `verdicts.py` judges.

Four workers take turns, an epoch each.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias
from unittest import mock

from tests.benchmarks.curves import EPOCHS, METRIC, Setting, Table, key, open_space

WORKERS = 4
BUDGETS = (108, 216, 432)
SEEDS = 5
Verdict: TypeAlias = tuple[Setting, float]
"""A setting with the value that is shown of it."""
Verdicts: TypeAlias = tuple[float, Callable[[], list[Verdict]]]
"""The best value of any epoch so far, and what gives the settings that would be reported now, the best first."""
Search: TypeAlias = Callable[[Table, int, Path], Iterator[Verdicts]]
"""One search with a seed in a folder: yields after each epoch."""


def ours(
    table: Table, seed: int, folder: Path, *changes: str, says_last: bool = True, repeats: bool = False
) -> Iterator[Verdicts]:
    """The sweep's own search.

    Args:
        table: the curves.
        seed: of the sweep.
        folder: where the study lies.
        changes: of the sweep file.
        says_last: False judges the last report as any other.
        repeats: True runs a setting again where the sampler proposes it again.
    """
    from platform.runners.ledger import Decision, Ledger
    from platform.study.seeds import competing, shown
    from platform.study.settings import OF, SEED, Settings
    from platform.study.study import Study
    from platform.study.view import is_peer

    spec, space = open_space(folder, seed, *changes)
    study = Study(spec, space, folder, lambda text: None)
    ledger = Ledger(spec, study, folder, folder / "stages")

    def start() -> tuple[int, Sequence[float]] | None:
        task = ledger.next_task(cpus=1.0, gpus=0.0)
        if task is None:
            return None
        run = task.values.get("seed", 0) if spec.seeds else task.values["fit.patience"] - EPOCHS
        return task.number, table.curves[key(space, task.values)][run]

    def report(number: int, epoch: int, value: float) -> bool:
        last = epoch == EPOCHS
        go_on = ledger.report(number, epoch, {METRIC: value}, last and says_last) is Decision.CONTINUE
        if go_on and last:
            ledger.finish(number, {})
        return go_on and not last

    def best() -> list[Verdict]:
        done = [trial for trial in study.trials() if trial.state.name == "COMPLETE"]
        if not spec.seeds:
            ranked = sorted(done, key=lambda trial: -trial.values[0])
            return [(key(space, study.values(trial)), trial.values[0]) for trial in ranked]
        groups = {trial.number: {0: trial.values[0]} for trial in done if is_peer(trial)}
        for trial in done:
            if OF in trial.user_attrs:
                groups[trial.user_attrs[OF]][trial.user_attrs[SEED]] = trial.values[0]
        chosen = [(study.optuna.trials[number], groups[number]) for number in competing(spec.seeds, groups, 1)]
        return [
            (key(space, study.values(trial)), fmean(group[seed] for seed in shown(spec.seeds, group)))
            for trial, group in chosen
        ]

    with mock.patch.object(Settings, "number", return_value=None) if repeats else contextlib.nullcontext():
        yield from play(start, report, best)


def rays(table: Table, seed: int, folder: Path, *, complete: bool = False) -> Iterator[Verdicts]:
    """Ray's OptunaSearch and ASHAScheduler, called as Tune calls them.

    Args:
        table: the curves.
        seed: of the search.
        folder: where the sweep file lies.
        complete: True reports the best value of trials that ran all epochs; False is Tune's own rule.
    """
    import optuna
    from ray.tune.experiment import Trial
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _, space = open_space(folder)
    probe = optuna.create_study().ask()
    space.suggest(probe)
    searcher = OptunaSearch(probe.distributions, metric=METRIC, mode="max", seed=seed)
    scheduler = ASHAScheduler(metric=METRIC, mode="max", grace_period=4, max_t=EPOCHS, reduction_factor=3)
    values: dict[str, float] = {}
    settings: dict[str, Setting] = {}

    def start() -> tuple[Trial, Sequence[float]]:
        trial = Trial("verdicts", stub=True)
        settings[trial.trial_id] = key(space, space.from_storage(searcher.suggest(trial.trial_id)))
        scheduler.on_trial_add(None, trial)
        return trial, table.curves[settings[trial.trial_id]][0]

    def report(trial: Trial, epoch: int, value: float) -> bool:
        if not complete:
            values[trial.trial_id] = value
        elif epoch == EPOCHS:
            values[trial.trial_id] = max(table.curves[settings[trial.trial_id]][0])
        result = {"training_iteration": epoch, METRIC: value}
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE:
            searcher.on_trial_result(trial.trial_id, result)
            return True
        scheduler.on_trial_complete(None, trial, result)
        searcher.on_trial_complete(trial.trial_id, result=result)
        return False

    def best() -> list[Verdict]:
        return [(settings[trial], values[trial]) for trial in sorted(values, key=lambda trial: -values[trial])]

    yield from play(start, report, best)


def changed(*changes: str) -> Search:
    """The sweep's own search by a changed file."""
    return lambda table, seed, folder: ours(table, seed, folder, *changes)


WHOLE = "early_stopping=none"
_BUDGET = BUDGETS[-1] // EPOCHS
"""Whole trials in the last budget, of which the group `seeds` spends its settings and its runs with further seeds."""
GROUPS: dict[str, dict[str, Search]] = {
    "ray": {
        "ours": ours,
        "ours, last reports judged and settings repeated": partial(ours, says_last=False, repeats=True),
        "OptunaSearch + ASHAScheduler, by complete trials": partial(rays, complete=True),
        "OptunaSearch + ASHAScheduler": rays,
    },
    "cells": {"cells": changed("compare={by: [adapter.taylor_order]}"), "no cells": ours},
    "seeds": {
        f"best: {best}": changed(f"seeds={{values: [0, 1, 2, 3, 4], best: {best}}}", f"num_trials={settings}", WHOLE)
        for best, settings in ((1, _BUDGET - SEEDS + 1), (3, _BUDGET - 3 * (SEEDS - 1)), ("all", _BUDGET // SEEDS))
    }
    | {
        "the first seed alone": changed(WHOLE),
        "the seed is searched": changed(WHOLE, f"parameters.fit.patience={{min: {EPOCHS}, max: {EPOCHS + SEEDS - 1}}}"),
    },
    **{
        method: {method: changed(f"method={method}"), "without early stopping": changed(f"method={method}", WHOLE)}
        for method in ("gp", "cmaes", "tpe")
    },
}
"""By name; every other of a group is compared with the last."""


def play(
    start: Callable[[], tuple[Any, Sequence[float]] | None],
    report: Callable[[Any, int, float], bool],
    best: Callable[[], list[Verdict]],
) -> Iterator[Verdicts]:
    """Let the workers take turns, an epoch each, until no trial is left."""
    slots: list[tuple[Any, Sequence[float], int] | None] = [None] * WORKERS
    met = 0.0
    for place in itertools.cycle(range(WORKERS)):
        if slots[place] is None and (started := start()):
            slots[place] = (*started, 0)
        if (slot := slots[place]) is None:
            if not any(slots):
                return
            continue
        trial, curve, epoch = slot
        met = max(met, curve[epoch])
        slots[place] = (trial, curve, epoch + 1) if report(trial, epoch + 1, curve[epoch]) else None
        yield met, best
