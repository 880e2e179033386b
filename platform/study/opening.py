"""Opening of a sweep's study: the same space and search as before, the trials whose folders are there, its id."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from platform.errors import SweepError
from platform.space.space import Space
from platform.study import identity, ownership
from platform.study.settings import STARTED, with_seed
from platform.study.storage import open_storage, unopened
from platform.sweepfile.secrets import are_private
from platform.sweepfile.spec import SweepSpec

# attributes of the study
IDENTITY = "identity"
ID = "id"
# attributes of a trial
END = "end"


def open_study(spec: SweepSpec, space: Space, folder: Path, notify: Callable[[str], None]) -> optuna.Study:
    """Open the study of a sweep, or make it; nothing is written before it is shown to be the right one.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's folder in the storage.
        notify: called with a sentence for the user.

    Raises:
        InvalidSweep: the study is of another space, metric or trainable, or the trials' folders are of another study.
        SweepError: the storage cannot be opened.
    """
    storage = open_or_refuse(spec, folder, notify)
    if spec.name not in optuna.get_all_study_names(storage):
        ownership.refuse_unowned(spec, folder, None, (), lambda trial: None)
    study = create(spec, storage)
    refuse_wrong(study, spec, space, folder)
    mark(study, spec, space, study.user_attrs.get(ID) or new_id())
    return study


def refuse_wrong(study: optuna.Study, spec: SweepSpec, space: Space, folder: Path) -> None:
    """Compare a study with the sweep file and with the trials' folders.

    Raises:
        InvalidSweep: it is the study of another sweep, or of other trials.
    """
    trials, stored = study.get_trials(deepcopy=False), study.user_attrs.get(IDENTITY)
    if stored or trials:
        identity.refuse_changed(stored, spec, space)
    ownership.refuse_unowned(spec, folder, study.user_attrs.get(ID), trials, lambda trial: values_of(space, trial))


def open_or_refuse(spec: SweepSpec, folder: Path, notify: Callable[[str], None]) -> optuna.storages.BaseStorage:
    """Open the storage of a sweep's study.

    Raises:
        InvalidSweep: its journal is damaged.
        SweepError: it does not open.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return open_storage(spec.study_url(), folder, notify, private=are_private(spec.parameters))
    except SweepError:
        raise
    except Exception as error:
        raise unopened(error) from error


def create(spec: SweepSpec, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """Make the study of a sweep in its storage, unless it is there."""
    directions = [metric.goal for metric in spec.metrics]
    return optuna.create_study(storage=storage, study_name=spec.name, directions=directions, load_if_exists=True)


def new_id() -> str:
    """An id that no other sweep has."""
    return uuid.uuid4().hex


def mark(study: optuna.Study, spec: SweepSpec, space: Space, study_id: str) -> None:
    """Write the identity of a sweep as it started into its study, and an id where it has none."""
    current = identity.identity(identity.as_started(spec, space, study.user_attrs.get(IDENTITY)), space)
    if study.user_attrs.get(IDENTITY) != current:
        study.set_user_attr(IDENTITY, current)
    if ID not in study.user_attrs:
        study.set_user_attr(ID, study_id)
    if study.metric_names != (names := [metric.name for metric in spec.metrics]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)  # by which Optuna Dashboard calls the objectives


def values_of(space: Space, trial: FrozenTrial) -> dict[str, Any] | None:
    """The flat values of a trial that was started; None for another, or where the study lacks some of them."""
    with contextlib.suppress(KeyError, ValueError):
        if STARTED in trial.user_attrs:
            return with_seed(space.from_storage(trial.params), trial.user_attrs)
    return None
