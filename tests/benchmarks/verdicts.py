"""The worth of the setting that a search reports: its true value, its regret, and the worst cell's regret.

    python -m tests.benchmarks.verdicts --recording ../curves.csv
    python -m tests.benchmarks.verdicts --only cells seeds gp cmaes

No search trains: four workers replay curves, one epoch a turn (`curves.py`). Of each setting a search sees the curve of
one seed of the training, drawn anew for each search. The setting's true value is the mean best value with the others.
All searches have the same space, TPE, and successive halving with a first rung after 4 epochs and a third going on,
unless their names say otherwise. Searches are compared with the last of their group, intervals are 95 % over the
searches' seeds, by bootstrap.

- `ray`: the sweep's own ledger over its study, which reports the best complete trial. Ray Tune reports the trial with
  the best last value, which may still run or be stopped, and is therefore shown by our rule, too. A search that never
  reports one of the best 5 % counts with all epochs that it had. `best value` is the best that any epoch met.
- `cells`: the five Taylor orders are compared. A cell's regret is its best true value less that of its best complete
  trial, or less its worst where it has none.
- `seeds`: without early stopping, on invented curves with much noise between seeds, of which a search may see five.
  The peer searches the seed as one more parameter: a field without effect stands in for it, as sweeps refuse this.
- `gp`, `cmaes`: under early stopping, against themselves without.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.curves import Table, invent, read, tables
from tests.searches import BUDGETS, GROUPS, SEEDS, Verdict

HORIZON, NOISE = 864, 0.02
ORDER = 1
"""The place of the Taylor order in a setting: the cell."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run of a search: the epochs until it reports one of the best 5 %, and what it reports after the budgets."""

    table: Table
    epochs: int
    reports: Mapping[int, tuple[float, list[Verdict]]]

    def is_top(self, budget: int) -> bool:
        """True if one of the true best 5 % is reported."""
        return self.reports[budget][1][:1] != [] and self.reports[budget][1][0][0] in self.table.top

    def met(self, budget: int) -> float:
        """The best value of any epoch."""
        return self.reports[budget][0]

    def value(self, budget: int) -> float:
        """The true value of what is reported, NaN where that is nothing."""
        return next((self.table.truth[setting] for setting, _ in self.reports[budget][1]), math.nan)

    def regret(self, budget: int) -> float:
        """The best true value less that of what is reported, or less the worst where that is nothing."""
        truth, best = self.table.truth, self.reports[budget][1]
        return max(truth.values()) - (truth[best[0][0]] if best else min(truth.values()))

    def excess(self, budget: int) -> float:
        """The value that is shown of it, less the true one."""
        return next((shown - self.table.truth[setting] for setting, shown in self.reports[budget][1]), math.nan)

    def worst(self, budget: int) -> float:
        """The greatest regret of a cell."""
        truth, regrets = self.table.truth, []
        for cell in {setting[ORDER] for setting in truth}:
            values = [value for setting, value in truth.items() if setting[ORDER] == cell]
            known = (truth[setting] for setting, _ in self.reports[budget][1] if setting[ORDER] == cell)
            regrets.append(max(values) - next(known, min(values)))
        return max(regrets)


def run(group: str, name: str, table: Table, seed: int) -> Outcome:
    """Run a search of a group with one seed."""
    horizon = HORIZON if group == "ray" else BUDGETS[-1]
    reports: list[tuple[float, list[Verdict]]] = []
    with tempfile.TemporaryDirectory(prefix="verdicts-") as folder:
        for epoch, (met, best) in enumerate(GROUPS[group][name](table, seed, Path(folder)), 1):
            is_read = group == "ray" or epoch in BUDGETS
            reports.append((met, best() if is_read else []))
            if epoch == horizon:
                break
        else:
            reports[-1] = (met, best())
    top = set(table.top)
    epochs = next((epoch for epoch, (_, best) in enumerate(reports, 1) if best and best[0][0] in top), HORIZON)
    reached = {budget: reports[min(budget, len(reports)) - 1] for budget in BUDGETS}
    return Outcome(table=table, epochs=epochs, reports=reached)


def ceiling(tables: Sequence[Table]) -> str:
    """The outcome of having seen all curves and reporting the setting with the best value in them."""
    chosen = [max(table.curves, key=lambda setting: max(table.curves[setting][0])) for table in tables]
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
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="groups to run")
    options = parser.parse_args()
    every = tables(read(options.recording) if options.recording else invent(), options.seeds)
    noisy = tables(invent(4 * SEEDS, NOISE), options.seeds, SEEDS)
    print(f"{len(every[0].truth)} settings, {'recorded' if options.recording else 'invented'}; {ceiling(every)}")
    with ProcessPoolExecutor() as pool:
        begun = {
            (group, name): pool.map(
                partial(run, group, name), noisy if group == "seeds" else every, range(options.seeds)
            )
            for group in options.only
            for name in GROUPS[group]
        }
        for group in options.only:
            compare(group, {name: list(begun[group, name]) for name in GROUPS[group]})


def compare(group: str, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Print the measures of a group's searches, each beside those of the last."""
    last = BUDGETS[-1:]
    kinds: dict[str, list[tuple[str, int, Callable[..., float], Sequence[int]]]] = {
        "ray": [("best value", 4, Outcome.met, BUDGETS), ("true value", 4, Outcome.value, BUDGETS)],
        "cells": [("worst cell's regret", 4, Outcome.worst, BUDGETS), ("true value", 4, Outcome.value, last)],
        "seeds": [("true value", 4, Outcome.value, last), ("shown less true value", 4, Outcome.excess, last)],
    }
    measures: dict[str, tuple[int, Callable[[Outcome], float]]] = {
        f"{what} after {budget} epochs": (digits, partial(of, budget=budget))
        for what, digits, of, budgets in kinds.get(group, [("regret", 4, Outcome.regret, BUDGETS)])
        for budget in budgets
    }
    if group == "ray":
        measures["epochs until one of the best 5 % is reported"] = (0, lambda each: each.epochs)
    *others, peer = outcomes
    print(group)
    for name in (peer, *others):
        own = outcomes[name]
        times = ", ".join(str(sum(each.is_top(budget) for each in own)) for budget in BUDGETS)
        print(f" {name}: one of the best 5 % is reported after {BUDGETS} epochs by {times} of {len(own)}")
        for measure, (digits, of) in measures.items():
            show(measure, list(map(of, own)), list(map(of, outcomes[peer])) if name != peer else None, digits)


if __name__ == "__main__":
    main()
