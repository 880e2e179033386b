"""Trials of earlier sweeps that a study knows from its start: `warm_start` of a sweep file.

A finished trial fits where a trial of this sweep would train alike: the trainable, all fields that are not swept and
the data are equal, and the swept values lie in the space. It is added once, outside `num_trials`, with its curve.
Search, pruning and `same_as` see it. Only files are read: an earlier sweep may run meanwhile.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.errors import InvalidSweep
from platform.space.space import UNBUILDABLE, Space, Values
from platform.storage import earlier, trial_record
from platform.storage.folder import bring_tables, folder_of
from platform.storage.trial_end import State
from platform.storage.trial_record import TrialHistory, read_json
from platform.study import from_files
from platform.study.cmaes import SOURCE
from platform.study.identity import differences
from platform.study.settings import FROM, STARTED, Settings
from platform.sweepfile import yaml_lines
from platform.sweepfile.parameters import Constant, contains, range_text, stored
from platform.sweepfile.spec import SweepSpec
from trainables.storage import mirror

_DATA = "data."
_FINGERPRINT = "data.fingerprint"
_GENERATION = "NSGAIISampler:generation"


@dataclass(frozen=True, kw_only=True)
class _Fits:
    """A trial that fits but for its data."""

    folder: Path
    history: TrialHistory
    values: Values
    """Its point in the space of the sweep."""
    data: str
    """The fields that name data, as JSON."""
    fingerprint: str | None


def refuse_absent(spec: SweepSpec, trials: Collection[FrozenTrial] = ()) -> None:
    """Refuse names of sweeps without trials in the storage, unless the study knows `trials` of them already.

    Raises:
        InvalidSweep: one problem per name.
    """
    known = {trial.user_attrs[FROM].rpartition("/")[0] for trial in trials if FROM in trial.user_attrs}
    absent = [name for name in spec.warm_start if name not in known and not trial_record.numbers(_source(spec, name))]
    if absent:
        remedy = "correct the name, or remove it"
        raise InvalidSweep(
            [
                spec.problem(
                    f"warm_start[{spec.warm_start.index(name)}]",
                    f"must be a sweep with trials in {spec.storage}, but {name!r} has none there; {remedy}",
                )
                for name in absent
            ]
        )


def warm_start(
    study: optuna.Study, spec: SweepSpec, space: Space, settings: Settings, folder: Path, notify: Callable[[str], None]
) -> None:
    """Add the trials of earlier sweeps that fit and that the study does not have yet.

    Args:
        study: Optuna's.
        spec: the sweep as its study started.
        space: its compiled parameters.
        settings: those that the study has; the new ones are added.
        folder: the sweep's in the storage.
        notify: called with a sentence for each sweep, and for each reason to leave trials out.

    Raises:
        InvalidSweep: a name has no trials in the storage.
    """
    if not spec.warm_start:
        return
    trials = study.get_trials(deepcopy=False)
    refuse_absent(spec, trials)
    known: set[str] = {trial.user_attrs[FROM] for trial in trials if FROM in trial.user_attrs}
    read = {name: _read(spec, space, name) for name in spec.warm_start}
    newest = _newest(space, folder, [fits for found, _ in read.values() for fits in found])
    rungs = from_files.Rungs(spec)
    for name, (found, left_out) in read.items():
        unnamed: list[int] = []
        for fits in found:
            number = fits.history.record.number
            key = f"{name}/{number}"
            if key not in known:
                try:
                    _refuse_other_data(fits, newest)
                    if settings.number(fits.values) is not None:
                        raise ValueError("setting known already")
                    _add(study, spec, space, rungs, folder, key, fits)
                except ValueError as error:
                    left_out.setdefault(str(error), []).append(number)
                    continue
                settings.add(len(study.get_trials(deepcopy=False)) - 1, fits.values)
                known.add(key)
            unnamed += [number] if fits.fingerprint is None and fits.data != "{}" else []
        count = sum(key.rpartition("/")[0] == name for key in known)
        notify(f"warm_start: {name}: {count} {'trial is' if count == 1 else 'trials are'} known to the search")
        if unnamed:
            notify(f"warm_start: {name}: {_some(unnamed)} known by equal data fields alone: no {_FINGERPRINT}")
        for reason, numbers in left_out.items():
            notify(f"warm_start: {name}: {_some(numbers)} left out: {reason}")


def _source(spec: SweepSpec, name: str) -> Path:
    return folder_of(spec.model_copy(update={"name": name}), mirror.READER)


def _read(spec: SweepSpec, space: Space, name: str) -> tuple[list[_Fits], dict[str, list[int]]]:
    """The trials of an earlier sweep that fit, and the numbers of the others by the reason."""
    source = _source(spec, name)
    bring_tables(source)
    found: list[_Fits] = []
    left_out: dict[str, list[int]] = {}
    trainable = _trainable(source)
    for number in trial_record.numbers(source):
        try:
            if trainable != spec.trainable:
                raise ValueError(f"trainable: was {trainable or 'not named'}, is {spec.trainable}")
            found.append(_fits(source, number, spec, space))
        except ValueError as error:
            left_out.setdefault(str(error), []).append(number)
    return found, left_out


def _trainable(source: Path) -> str | None:
    """The trainable of an earlier sweep, as its last driver left it."""
    try:
        data = yaml_lines.read((source / "sweep.yaml").read_text()).data
    except FileNotFoundError:
        return None
    provenance = read_json(source / "provenance.json")
    overrides = str(provenance.get("sweep.set", "")) if isinstance(provenance, dict) else ""
    named = [word.partition("=")[2] for word in overrides.split() if word.startswith("trainable=")]
    return named[-1] if named else data.get("trainable") if isinstance(data, dict) else None


def _fits(source: Path, number: int, spec: SweepSpec, space: Space) -> _Fits:
    """The trial of an earlier sweep in the space of this one.

    Raises:
        ValueError: it does not fit; says why.
    """
    lost: list[str] = []
    history = trial_record.read_history(source, number, lost.append)
    if history is None or history.record.number != number or lost:
        raise ValueError("a report is lost" if lost else f"no {trial_record.NAME}")
    if history.end is None or not history.end.state.is_final:
        raise ValueError("not ended")
    if history.end.state not in (State.COMPLETE, State.PRUNED):
        raise ValueError("failed")
    names = " and ".join(metric.name for metric in spec.metrics)
    curve = history.curve(spec.metrics)
    if not curve:
        raise ValueError(f"{names} not reported")
    if not all(math.isfinite(value) for values in curve for value in values):
        raise ValueError(f"{names} not finite")
    if history.end.state is State.PRUNED and len(spec.metrics) > 1:
        raise ValueError("stopped early, which several metrics do not allow")
    values, config = _point(space, history.record.values)
    tags = read_json(source / "trials" / str(number) / "tags.json")
    return _Fits(
        folder=source / "trials" / str(number),
        history=history,
        values=values,
        data=_data_of(config),
        fingerprint=tags.get(_FINGERPRINT) if isinstance(tags, dict) else None,
    )


def _point(space: Space, earlier_values: Mapping[str, Any]) -> tuple[Values, dict[str, Any]]:
    """The point of the space that trains as a trial of an earlier sweep, and its whole config.

    Raises:
        ValueError: there is none; says why.
    """
    try:
        config: dict[str, Any] = json.loads(space.setting(earlier_values))
    except ValueError:
        raise ValueError("no config of the trainable any more") from None
    outside = [f"{name} not {text}" for name, text in _outside(space, config)]
    if outside:
        raise ValueError(", ".join(outside))
    try:
        values = json.loads(json.dumps(space.from_storage(space.to_storage(config))))
    except KeyError as missing:
        raise ValueError(f"{missing.args[0]} not in its config") from None
    broken = [text for text, amount in space.violations(values).items() if amount > 0]
    if UNBUILDABLE in broken:
        raise ValueError("no config of this sweep")
    if changes := differences(config, json.loads(space.setting(values))):
        raise ValueError(", ".join(changes))
    if broken:
        raise ValueError(f"breaks {' and '.join(map(repr, broken))}")
    return values, config


def _outside(space: Space, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Swept values of a whole config that lie outside the space: the name, and the values that it may have."""
    for here in space.places:
        is_open = all(stored(config.get(choice)) == stored(needed) for choice, needed in here.branch)
        is_swept = is_open and here.name in config and not isinstance(here.parameter, Constant)
        if is_swept and not contains(here.parameter, config[here.name]):
            yield here.name, range_text(here.parameter)


def _data_of(config: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in config.items() if name.startswith(_DATA)}, sort_keys=True)


def _newest(space: Space, folder: Path, found: list[_Fits]) -> dict[str, str]:
    """The fingerprint of the data by the fields that name them: that of this sweep's own trials, else the newest."""
    newest: dict[str, tuple[bool, float, str]] = {}
    for fits in found:
        if fits.fingerprint is not None:
            entry = (False, fits.history.record.started, fits.fingerprint)
            newest[fits.data] = max(newest.get(fits.data, entry), entry)
    for number in trial_record.numbers(folder):
        record, tags = trial_record.read(folder, number), read_json(folder / "trials" / str(number) / "tags.json")
        if record and isinstance(tags, dict) and _FINGERPRINT in tags:
            data = _data_of(json.loads(space.setting(record.values)))
            entry = (True, record.started, tags[_FINGERPRINT])
            newest[data] = max(newest.get(data, entry), entry)
    return {data: fingerprint for data, (_, _, fingerprint) in newest.items()}


def _refuse_other_data(fits: _Fits, newest: Mapping[str, str]) -> None:
    now = newest.get(fits.data)
    if fits.fingerprint is not None and fits.fingerprint != now:
        raise ValueError(f"{_FINGERPRINT}: was {fits.fingerprint}, is {now}")


def _add(
    study: optuna.Study, spec: SweepSpec, space: Space, rungs: from_files.Rungs, folder: Path, key: str, fits: _Fits
) -> None:
    """Copy what tables need of a trial, then add the trial to the study; a crash in between repeats the copy alone."""
    trials = study.get_trials(deepcopy=False)
    record = replace(fits.history.record, values=fits.values, search={})
    history = replace(fits.history, record=replace(record, number=len(trials)))
    trial = from_files.frozen_trial(history, spec, space, rungs)
    trial.user_attrs = {name: value for name, value in trial.user_attrs.items() if name != STARTED} | {FROM: key}
    if spec.method == "nsga2":  # it breeds from numbered generations alone
        generations = [other.system_attrs.get(_GENERATION, 0) for other in trials if other.state is TrialState.COMPLETE]
        trial.system_attrs = {**trial.system_attrs, _GENERATION: max(generations, default=0)}
    if spec.method == "cmaes":
        trial.system_attrs = {**trial.system_attrs, SOURCE: True}
    name, _, number = key.rpartition("/")
    earlier.keep(fits.folder, earlier.folder_of(folder, name) / "trials" / number, record)
    study.add_trial(trial)


def _some(numbers: list[int]) -> str:
    """A number of trials, and which."""
    return f"{len(numbers)} {'trial' if len(numbers) == 1 else 'trials'} ({', '.join(map(str, numbers))})"
