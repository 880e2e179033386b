"""Seeds of training: the runs with further seeds that settings still miss, and the winner by the seeds that may choose.

The search runs with the first seed. A run with a further one is a trial with the attributes `of` and `seed`, which are
written as it is enqueued. All else is derived from the trials, so that a driver that died repeats nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from optuna.trial import FrozenTrial, TrialState

from platform.study.settings import OF, SEED
from platform.study.view import is_peer
from platform.sweepfile.fields import Seeds

Setting = TypeVar("Setting", bound=Hashable)


def missing(
    seeds: Seeds, trials: Sequence[FrozenTrial], cell: Callable[[FrozenTrial], Hashable], sign: int
) -> list[tuple[int, int]]:
    """The runs that no trial stands for, as (number of the setting, seed), as if the search were over.

    Args:
        seeds: of the sweep.
        trials: of the study.
        cell: of a trial.
        sign: of the objective, 1 or -1.
    """
    complete = [trial for trial in trials if is_peer(trial) and trial.state == TrialState.COMPLETE]
    cells: dict[Hashable, list[FrozenTrial]] = {}
    for trial in sorted(complete, key=lambda trial: -sign * trial.values[0]):
        cells.setdefault(cell(trial), []).append(trial)
    chosen = sorted(trial.number for ranked in cells.values() for trial in ranked[: seeds.best])
    there = {(trial.user_attrs[OF], trial.user_attrs[SEED]) for trial in trials if OF in trial.user_attrs}
    return [(number, seed) for number in chosen for seed in seeds.values[1:] if (number, seed) not in there]


def competing(seeds: Seeds | None, groups: Mapping[Setting, Mapping[int, float]], sign: int) -> list[Setting]:
    """The settings among which the winner is chosen, best first; of equal ones the earlier.

    Args:
        seeds: of the sweep; None: those with the most seeds compete, as under `best: all`.
        groups: setting -> seed -> objective of a complete run.
        sign: of the objective, 1 or -1.
    """
    ranked = list(groups)
    if seeds and seeds.best:
        first = seeds.values[0]
        known = (each for each in groups if first in groups[each])
        ranked = sorted(known, key=lambda each: -sign * groups[each][first]) or ranked
        if seeds.best == 1:
            return ranked
        ranked = ranked[: seeds.best]
    most = max((len(groups[each]) for each in ranked), default=0)
    whole = [each for each in ranked if len(groups[each]) == most]
    return sorted(whole, key=lambda each: -sign * statistics.fmean(groups[each][s] for s in shown(seeds, groups[each])))


def shown(seeds: Seeds | None, group: Mapping[int, float]) -> list[int]:
    """The seeds over which a setting's means are: those that did not choose it, where there are any."""
    others = [seed for seed in group if seed != seeds.values[0]] if seeds and seeds.best else []
    return others or list(group)
