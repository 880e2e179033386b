"""The study that a sweep's name has already, read without writing anything: for the check, which starts nothing."""

from __future__ import annotations

from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from platform.space.space import Space
from platform.study import identity
from platform.study.storage import JOURNAL, unopened
from platform.study.study import IDENTITY
from platform.sweepfile.spec import SweepSpec


def refuse_another(spec: SweepSpec, space: Space, folder: Path) -> None:
    """Refuse a sweep whose name has trials of another one, as the run would.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's in the storage; it may be absent.

    Raises:
        InvalidSweep: the study there is of another sweep.
        SweepError: its storage does not open.
    """
    try:
        storage = _storage(spec.study, folder / JOURNAL)
        if storage is None or spec.name not in optuna.get_all_study_names(storage):
            return
        study = optuna.load_study(study_name=spec.name, storage=storage)
        stored, has_trials = study.user_attrs.get(IDENTITY), bool(study.get_trials(deepcopy=False))
    except Exception as error:  # of a file or of any database
        raise unopened(error) from error
    if stored or has_trials:
        identity.refuse_changed(stored, spec, space)


def _storage(url: str | None, journal: Path) -> BaseStorage | None:
    """The storage, if it is there; nothing is made."""
    if url is None:
        return JournalStorage(JournalFileBackend(str(journal))) if journal.exists() else None
    address = sqlalchemy.make_url(url)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
        return None
    storage = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    return storage if sqlalchemy.inspect(storage.engine).has_table("studies") else None
