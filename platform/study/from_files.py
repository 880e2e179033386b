"""Optuna trials made from trials' own files, for a study that is rebuilt or takes in the trials of an earlier sweep.

Samplers and pruners look at more than values: at attributes that the sampler wrote, at rungs, at points that were
forbidden or still wait. A trial's record therefore holds all that the study has of the trial at its start, and of the
trials around it that have no files. Rungs follow from the reports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from platform.space.space import Space
from platform.storage.trial_end import State
from platform.storage.trial_record import TrialHistory, TrialRecord
from platform.study import search
from platform.study.identity import differences, seeded
from platform.study.opening import END
from platform.study.pruning import judge
from platform.study.settings import OF, STARTED, with_seed
from platform.sweepfile.spec import SweepSpec

_PICKLED = "cma:"
"""The start of the names under which CMA-ES keeps pickles, which no file of ours may hold."""
_COUNTER = "qmc:"
"""The start of the name under which a study counts the points of its sequence."""
_PARENTS = ":parent:"
"""A part of the names under which a study has the trials that a generation descends from, by their ids."""
_GENERATIONS = 2  # that a sampler still reads


def search_record(study: optuna.Study, number: int) -> dict[str, Any]:
    """All that a study has of a trial that starts, and of trials around it without files, as `trial.json` holds it."""
    trials = study.get_trials(deepcopy=False)
    first = number
    while first and STARTED not in trials[first - 1].user_attrs:
        first -= 1
    others = [
        trial
        for trial in trials[first:]
        if trial.number != number and not (STARTED in trial.user_attrs and trial.state.is_finished())
    ]
    attributes = study._storage.get_study_system_attrs(study._study_id)
    counters = {name: value for name, value in attributes.items() if name.startswith(_COUNTER)}
    numbers = {trial._trial_id: trial.number for trial in trials}
    newest = sorted((name for name in attributes if _PARENTS in name), key=lambda name: int(name.split(":")[-1]))
    parents = {name: [numbers[trial_id] for trial_id in attributes[name]] for name in newest[-_GENERATIONS:]}
    around = {"counters": counters, "parents": parents, "others": [_plain(trial) for trial in others]}
    return _plain(trials[number]) | around


def restore_study(study: optuna.Study, record: TrialRecord) -> None:
    """Give a study that has its trials again what `record`, of its newest trial, has of the study itself."""
    ids = {trial.number: trial._trial_id for trial in study.get_trials(deepcopy=False)}
    parents = record.search.get("parents", {}).items()
    known = {name: [ids[number] for number in numbers if number in ids] for name, numbers in parents}
    for name, value in {**record.search.get("counters", {}), **known}.items():
        study._storage.set_study_system_attr(study._study_id, name, value)


def frozen_trial(history: TrialHistory, spec: SweepSpec, space: Space, rungs: Rungs) -> FrozenTrial:
    """The trial that a study holds of these files; its state is RUNNING where it has not ended.

    Args:
        history: the trial's own files; it may be of another sweep.
        spec: the sweep of the study.
        space: its compiled parameters.
        rungs: of the study's early stopping.

    Raises:
        ValueError: the values are no point of the space; it says which.
    """
    record, known, end = history.record, history.record.search, history.final_end(spec.metrics)
    params = known["params"] if "params" in known else space.to_storage(record.values)
    fixed = FixedTrial(params)
    user = {STARTED: record.started, **known.get("user", {})}
    point = json.loads(json.dumps(with_seed(space.suggest(fixed), user)))
    if changes := differences(seeded({**record.values}), seeded(point)):
        raise ValueError(", ".join(changes))
    curve = history.curve(spec.metrics)
    single = len(spec.metrics) == 1
    told = {n: values[0] for n, values in enumerate(curve, 1) if single and math.isfinite(values[0])}
    state = TrialState.RUNNING
    if end:
        state = TrialState.FAIL if end.state is State.CANCELLED else TrialState[end.state.name]
    values: Sequence[float] | None = None
    if state is TrialState.COMPLETE:
        values = max(curve, key=lambda values: spec.metrics[0].sign * values[0])
    elif state is TrialState.PRUNED and told:
        values = [told[max(told)]]  # as Optuna does
    trial = create_trial(
        state=state,
        values=values,
        params=fixed.params,
        distributions=fixed.distributions,
        user_attrs={**user, **({END: end.to_json()} if end else {})},
        system_attrs={**known.get("system", {}), **({} if OF in user else rungs.of(record.number, told, state))},
        intermediate_values=told,
    )
    trial.number, trial.datetime_start = record.number, datetime.fromtimestamp(record.started)
    trial.datetime_complete = datetime.fromtimestamp(end.time) if end else None
    return trial


def others_of(history: TrialHistory, space: Space) -> Iterator[FrozenTrial]:
    """The trials without files that a trial's record knows, as the study had them when the trial started."""
    for known in history.record.search.get("others", ()):
        fixed = FixedTrial(known["params"])
        if known["params"]:
            space.suggest(fixed)
        trial = create_trial(
            state=TrialState[known["state"]],
            values=known["values"],
            params=fixed.params,
            distributions=fixed.distributions,
            user_attrs=known["user"],
            system_attrs=known["system"],
            intermediate_values=dict(known["curve"]),
        )
        trial.number = known["number"]
        yield trial


class Rungs:
    """The rungs of early stopping that trials reach by their reports; trials come in the order of their numbers.

    Args:
        spec: the sweep.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self._lasts: list[int] = []
        """The last report of each trial so far, 0 where it is not complete."""

    def of(self, number: int, curve: Mapping[int, float], state: TrialState) -> dict[str, float]:
        """The rungs of the next trial; that of the newest report is left to the judge while the trial runs."""
        place = len(self._lasts)
        ended = self._lasts[: place - place % (self._spec.batch or 1)]
        self._lasts.append(max(curve, default=0) if state is TrialState.COMPLETE else 0)
        if self._spec.early_stopping.type not in ("asha", "hyperband"):
            return {}
        # no peer outdoes it, so it reaches every rung; Hyperband counts its brackets by the longest trial
        alone = optuna.create_study(
            study_name=self._spec.name,
            direction=self._spec.metrics[0].goal,
            pruner=search.pruner(self._spec.early_stopping),
        )
        if longest := max(ended, default=0):
            alone.add_trial(create_trial(value=0.0, intermediate_values={longest: 0.0}))
        rungs: dict[str, float] = {}
        reports = sorted(curve) if state.is_finished() else sorted(curve)[:-1]
        for report in reports:
            until = {n: value for n, value in curve.items() if n <= report}
            trial = create_trial(state=TrialState.RUNNING, intermediate_values=until, system_attrs=rungs)
            trial.number = number
            rungs |= judge(alone, trial, report, lambda peer: True).rungs
        return rungs


def _plain(trial: FrozenTrial) -> dict[str, Any]:
    """A trial of a study as JSON values."""
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "user": trial.user_attrs,
        "system": {name: value for name, value in trial.system_attrs.items() if not name.startswith(_PICKLED)},
        "curve": list(trial.intermediate_values.items()),
    }
