"""The true value of what a search reports as best, and epochs until it is a setting of the true best 5 %.

    python -m tests.benchmarks.verdicts --recording ../curves.csv

No search trains: four workers replay curves, one epoch a turn (`curves.py`). Of each setting a search sees the curve of
one seed of the training, drawn anew for each search. The setting's true value is the mean best value with the others.
All searches have the same space, TPE, and successive halving with a first rung after 4 epochs and a third going on.
Ours is the sweep's own ledger over its study. It reports the best complete trial, Ray Tune the trial with the best last
value, which may still run or be stopped. The peer is therefore shown by our rule, too. Intervals are 95 % over the
searches' seeds, by bootstrap. A search that never reports one of the best 5 % counts with all epochs that it had.
"""

import argparse
import contextlib
import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import numpy as np

from tests.benchmarks.curves import EPOCHS, METRIC, Setting, Table, invent, key, open_space, read, tables

WORKERS, HORIZON = 4, 864
BUDGETS = (108, 216, 432)
Search: TypeAlias = Callable[[Table, int, Path], Iterator[Setting | None]]
"""One search with a seed in a folder: yields, after each epoch, the setting that it would report as best."""


def ours(
    table: Table, seed: int, folder: Path, *, says_last: bool = True, repeats: bool = False
) -> Iterator[Setting | None]:
    """The sweep's own search.

    Args:
        table: the curves.
        seed: of the sweep.
        folder: where the study lies.
        says_last: False judges the last report as any other.
        repeats: True runs a setting again where the sampler proposes it again.
    """
    from platform.runners.ledger import Decision, Ledger
    from platform.study.settings import Settings
    from platform.study.study import Study

    spec, space = open_space(folder, seed)
    study = Study(spec, space, folder)
    ledger = Ledger(spec, study, folder, folder / "stages")

    def start() -> tuple[int, Setting] | None:
        task = ledger.next_task(cpus=1.0, gpus=0.0)
        return (task.number, key(space, task.values)) if task else None

    def report(number: int, epoch: int, value: float) -> bool:
        last = epoch == EPOCHS
        go_on = ledger.report(number, epoch, {METRIC: value}, last and says_last) is Decision.CONTINUE
        if go_on and last:
            ledger.finish(number, {})
        return go_on and not last

    def best() -> Setting | None:
        return next((key(space, study.values(trial)) for trial in study.best()), None)

    with mock.patch.object(Settings, "number", return_value=None) if repeats else contextlib.nullcontext():
        yield from play(table, start, report, best)


def rays(table: Table, seed: int, folder: Path, *, complete: bool = False) -> Iterator[Setting | None]:
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

    def start() -> tuple[Trial, Setting]:
        trial = Trial("verdicts", stub=True)
        settings[trial.trial_id] = key(space, space.from_storage(searcher.suggest(trial.trial_id)))
        scheduler.on_trial_add(None, trial)
        return trial, settings[trial.trial_id]

    def report(trial: Trial, epoch: int, value: float) -> bool:
        if not complete:
            values[trial.trial_id] = value
        elif epoch == EPOCHS:
            values[trial.trial_id] = max(table.curves[settings[trial.trial_id]])
        result = {"training_iteration": epoch, METRIC: value}
        if scheduler.on_trial_result(None, trial, result) == TrialScheduler.CONTINUE:
            searcher.on_trial_result(trial.trial_id, result)
            return True
        scheduler.on_trial_complete(None, trial, result)
        searcher.on_trial_complete(trial.trial_id, result=result)
        return False

    def best() -> Setting | None:
        return settings[max(values, key=lambda trial: values[trial])] if values else None

    yield from play(table, start, report, best)


SEARCHES: dict[str, Search] = {
    "ours": ours,
    "ours, last reports judged and settings repeated": partial(ours, says_last=False, repeats=True),
    "OptunaSearch + ASHAScheduler, by complete trials": partial(rays, complete=True),
    "OptunaSearch + ASHAScheduler": rays,
}
"""By name; every other is compared with the last."""


def play(
    table: Table,
    start: Callable[[], tuple[Any, Setting] | None],
    report: Callable[[Any, int, float], bool],
    best: Callable[[], Setting | None],
) -> Iterator[Setting | None]:
    """Let the workers take turns, an epoch each, until no trial is left."""
    slots: list[tuple[Any, Setting, int] | None] = [None] * WORKERS
    for place in itertools.cycle(range(WORKERS)):
        if slots[place] is None and (started := start()):
            slots[place] = (*started, 0)
        if (slot := slots[place]) is None:
            if not any(slots):
                return
            continue
        trial, setting, epoch = slot
        go_on = report(trial, epoch + 1, table.curves[setting][epoch])
        slots[place] = (trial, setting, epoch + 1) if go_on else None
        yield best()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run of a search: the epochs until it reports one of the best 5 %, and true values after the budgets."""

    epochs: int
    values: Mapping[int, float]
    is_top: Mapping[int, bool]

    def after(self, budget: int) -> float:
        """The true value of what it reports after `budget` epochs, NaN where that is nothing."""
        return self.values.get(budget, math.nan)


def run(search: Search, table: Table, seed: int) -> Outcome:
    """Run a search with one seed."""
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        best = list(itertools.islice(search(table, seed, Path(folder)), HORIZON))
    best += best[-1:] * (HORIZON - len(best))
    top = table.top
    epochs = next((epoch for epoch, setting in enumerate(best, 1) if setting in top), HORIZON)
    reported = {budget: setting for budget in BUDGETS if (setting := best[budget - 1])}
    return Outcome(
        epochs=epochs,
        values={budget: table.truth[setting] for budget, setting in reported.items()},
        is_top={budget: best[budget - 1] in top for budget in BUDGETS},
    )


def ceiling(tables: Sequence[Table]) -> str:
    """The outcome of having seen all curves and reporting the setting with the best value in them."""
    chosen = [max(table.curves, key=lambda setting: max(table.curves[setting])) for table in tables]
    value = np.mean([table.truth[setting] for table, setting in zip(tables, chosen, strict=True)])
    count = sum(setting in table.top for table, setting in zip(tables, chosen, strict=True))
    return (
        f"who had seen all curves would report one of the best 5 % in {count} of {len(tables)}, true value {value:.4f}"
    )


def show(name: str, own: Sequence[float], peer: Sequence[float] | None, digits: int) -> None:
    """Print mean and median of a measure over seeds, and the ratio of the mean to the peer's."""
    draws = np.random.default_rng(0).integers(len(own), size=(10_000, len(own)))

    def interval(means: np.ndarray, digits: int) -> str:
        low, high = np.quantile(means, (0.025, 0.975))
        return f"({low:.{digits}f} to {high:.{digits}f})"

    means = np.array(own)[draws].mean(1)
    text = f"mean {np.mean(own):.{digits}f} {interval(means, digits)}, median {np.median(own):.{digits}f}"
    if peer is not None:
        ratios = means / np.array(peer)[draws].mean(1)
        text += f"; {np.mean(own) / np.mean(peer):.3f} x the peer's {interval(ratios, 3)}"
    print(f"  {name}: {text}", flush=True)


def main() -> None:
    """Record, replay, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, metavar="CSV", help="of curves.py; by default curves are invented")
    parser.add_argument("--seeds", type=int, default=20, help="of each search (20)")
    options = parser.parse_args()
    every = tables(read(options.recording) if options.recording else invent(), options.seeds)
    print(f"{len(every[0].truth)} settings, {'recorded' if options.recording else 'invented'}; {ceiling(every)}")
    seeds = range(options.seeds)
    with ProcessPoolExecutor() as pool:
        begun = {name: pool.map(run, [search] * len(every), every, seeds) for name, search in SEARCHES.items()}
        outcomes = {name: list(found) for name, found in begun.items()}
    measures: dict[str, tuple[int, Callable[[Outcome], float]]] = {
        "epochs until then": (0, lambda each: each.epochs),
        **{f"true value after {budget} epochs": (4, partial(Outcome.after, budget=budget)) for budget in BUDGETS},
    }
    *others, peer = outcomes
    for name in (peer, *others):
        own = outcomes[name]
        times = ", ".join(str(sum(each.is_top[budget] for each in own)) for budget in BUDGETS)
        ever = sum(each.epochs < HORIZON for each in own)
        print(
            f"{name}: one of the best 5 % is reported after {BUDGETS} epochs by {times}, ever by {ever} of {len(own)}"
        )
        for measure, (digits, of) in measures.items():
            show(measure, list(map(of, own)), list(map(of, outcomes[peer])) if name != peer else None, digits)


if __name__ == "__main__":
    main()
