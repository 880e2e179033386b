"""`method` and `early_stopping` of a sweep file as Optuna's sampler and pruner."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from platform.study.identity import OPTUNAS
from platform.sweepfile import early_stopping

if TYPE_CHECKING:
    from collections.abc import Mapping

    import optuna

    from platform.space.cells import Cell, Cells
    from platform.space.space import Space
    from platform.study.tpe import Memory
    from platform.sweepfile.spec import SweepSpec

_CELL_STRIDE = 15_485_863


def seed_of(seed: int, past: int, cell: int = 0) -> int:
    """A seed that differs from trial to trial, and from cell to cell.

    Args:
        seed: the sweep's.
        past: the number of trials before.
        cell: the place of the cell.
    """
    return (seed * 1_000_003 + past + cell * _CELL_STRIDE) % 2**31


class Samplers:
    """The samplers of a study, one a cell. In a deterministic sweep each trial has a sampler of its own.

    Args:
        spec: the sweep as its study started (`Study.spec`).
        space: its compiled parameters.
        cells: of the sweep.
        past: the number of trials when this driver began, so that a resumed sweep does not repeat its start.
    """

    def __init__(self, spec: SweepSpec, space: Space, cells: Cells, past: int) -> None:
        from platform.study.tpe import Memory

        self._spec = spec
        self._space = space
        self._cells = cells
        self._past = past
        self._order = {cell: index for index, cell in enumerate(cells.values)}
        self._memories = {cell: Memory() for cell in cells.values}
        self._made: dict[Cell, optuna.samplers.BaseSampler] = {}

    def of(self, cell: Cell, number: int, place: int | None) -> optuna.samplers.BaseSampler:
        """The sampler of trial `number`, which in a deterministic sweep is the `place`-th of its cell from 0."""
        if self._spec.batch:
            return self._make(cell, number, place)
        if cell not in self._made:
            self._made[cell] = self._make(cell, self._past)
        return self._made[cell]

    def _make(self, cell: Cell, past: int, place: int | None = None) -> optuna.samplers.BaseSampler:
        index, fixed = self._order.get(cell, 0), self._cells.values.get(cell, {})
        return sampler(self._spec, self._space, past, place, self._memories.get(cell), index, fixed)


def sampler(
    spec: SweepSpec,
    space: Space,
    past: int,
    place: int | None = None,
    memory: Memory | None = None,
    cell: int = 0,
    fixed: Mapping[str, Any] | None = None,
) -> optuna.samplers.BaseSampler:
    """The sampler that `method` names, seeded.

    `grid` is enumerated by the study itself; its sampler only fills what an enqueued point leaves open.

    Args:
        spec: the sweep as its study started (`Study.spec`).
        space: its compiled parameters.
        past: the number of trials before.
        place: of the one trial in its cell that it is to sample for; None for any trial.
        memory: what other samplers of the same cell have seen; None is nothing yet.
        cell: the place of its cell.
        fixed: the values that make the cell.
    """
    from optuna import samplers

    from platform.study import cmaes, gp, tpe

    seed = seed_of(spec.seed, past, cell)
    startup = {"n_startup_trials": spec.startup_trials or OPTUNAS["startup_trials"]}
    branches = any(getattr(parameter, "when", None) for parameter in spec.parameters.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental-API notices: the choice is ours, the user can do nothing
        match spec.method:
            case "tpe":
                return tpe.RememberingTPE(
                    memory or tpe.Memory(), seed=seed, multivariate=True, group=branches, **startup
                )
            case "gp":
                return gp.FeasibleGP(space, fixed, seed=seed, **startup)
            case "cmaes":
                return cmaes.WarmCmaEs(seed=seed, warn_independent_sampling=False, consider_pruned_trials=True)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=spec.population or OPTUNAS["population"])
            case "qmc":
                return _qmc(spec.seed + cell * _CELL_STRIDE, samplers.RandomSampler(seed=seed), place)
            case "random" | "grid":
                return samplers.RandomSampler(seed=seed)
    raise AssertionError(f"spec.py admits no method {spec.method!r}")


def _qmc(seed: int, branches: optuna.samplers.BaseSampler, place: int | None) -> optuna.samplers.BaseSampler:
    """One sequence for a whole cell; a trial that is asked for a second time, after a crash, gets its own point."""
    from optuna import samplers

    made = samplers.QMCSampler(seed=seed, scramble=True, independent_sampler=branches, warn_independent_sampling=False)
    if place is not None:
        made._find_sample_id = lambda study, search_space: place  # type: ignore[method-assign]
    return made


def pruner(stopping: early_stopping.EarlyStopping) -> optuna.pruners.BasePruner:
    """The pruner that `early_stopping` names; its axis counts the reports that hold the objective, from 1."""
    from optuna import pruners

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match stopping:
            case early_stopping.Asha():
                return pruners.SuccessiveHalvingPruner(
                    min_resource=stopping.min_reports, reduction_factor=stopping.reduction_factor
                )
            case early_stopping.Hyperband():
                return _hyperband(stopping)
            case early_stopping.Median():
                return pruners.MedianPruner(stopping.min_trials, stopping.min_reports)
            case early_stopping.Percentile():
                return pruners.PercentilePruner(stopping.percentile, stopping.min_trials, stopping.min_reports)
            case early_stopping.Patient():
                median = pruners.MedianPruner(stopping.min_trials, stopping.min_reports)
                return pruners.PatientPruner(median, patience=stopping.patience)
            case early_stopping.NoStopping():
                return pruners.NopPruner()


def _hyperband(stopping: early_stopping.Hyperband) -> optuna.pruners.BasePruner:
    """Brackets that stand from the first trial on. In older studies they follow from the first complete trial."""
    from optuna import pruners

    made = pruners.HyperbandPruner(
        min_resource=stopping.min_reports,
        max_resource=stopping.max_reports or "auto",
        reduction_factor=stopping.reduction_factor,
    )
    if stopping.max_reports:  # else TPE would ask for a trial's bracket before a report has made them
        made._try_initialization(None)  # type: ignore[arg-type]  # it reads the study only under "auto"
    return made
