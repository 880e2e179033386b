"""`method` and `early_stopping` of a sweep file as Optuna's sampler and pruner."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from platform.study.identity import OPTUNAS
from platform.sweepfile import early_stopping

if TYPE_CHECKING:
    import optuna

    from platform.space.space import Space
    from platform.study.tpe import Memory
    from platform.sweepfile.spec import SweepSpec


def sampler(
    spec: SweepSpec, space: Space, seed: int, number: int | None = None, memory: Memory | None = None
) -> optuna.samplers.BaseSampler:
    """The sampler that `method` names, seeded.

    `grid` is enumerated by the study itself; its sampler only fills what an enqueued point leaves open.

    Args:
        spec: the sweep as its study started (`Study.spec`).
        space: its compiled parameters.
        seed: derived from the sweep's seed and the trials there are, so that a resumed sweep does not repeat its start.
        number: of the one trial that it is to sample for; None for any trial.
        memory: what other samplers of the same study have seen; None is nothing yet.
    """
    from optuna import samplers

    from platform.study import gp, tpe

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
                return gp.FeasibleGP(space, seed=seed, **startup)
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=spec.population or OPTUNAS["population"])
            case "qmc":
                return _qmc(spec.seed, samplers.RandomSampler(seed=seed), number)
            case "random" | "grid":
                return samplers.RandomSampler(seed=seed)
    raise AssertionError(f"spec.py admits no method {spec.method!r}")


def _qmc(seed: int, branches: optuna.samplers.BaseSampler, number: int | None) -> optuna.samplers.BaseSampler:
    """One sequence for the whole sweep; a trial that is asked for a second time, after a crash, gets its own point."""
    from optuna import samplers

    made = samplers.QMCSampler(seed=seed, scramble=True, independent_sampler=branches, warn_independent_sampling=False)
    if number is not None:
        made._find_sample_id = lambda study, search_space: number  # type: ignore[method-assign]
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
