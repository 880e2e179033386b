"""The study that a sweep's name has already, read without writing anything: for the check, which starts nothing."""

from __future__ import annotations

from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from platform.space.space import Space
from platform.study import warm_start
from platform.study.opening import refuse_wrong
from platform.study.ownership import refuse_unowned
from platform.study.storage import JOURNAL, unopened
from platform.sweepfile.spec import SweepSpec


def refuse_another(spec: SweepSpec, space: Space, folder: Path) -> None:
    """Refuse a sweep whose name has trials of another one or of a lost study, as the run would.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's in the storage; it may be absent.

    Raises:
        InvalidSweep: study or trials there are of another sweep.
        SweepError: its storage does not open.
    """
    try:
        storage = _storage(spec.study_url(), folder / JOURNAL)
        names = optuna.get_all_study_names(storage) if storage else []
        study = optuna.load_study(study_name=spec.name, storage=storage) if storage and spec.name in names else None
    except Exception as error:  # of a file or of any database
        raise unopened(error) from error
    warm_start.refuse_absent(spec, study.get_trials(deepcopy=False) if study else ())
    if study:
        refuse_wrong(study, spec, space, folder)
    else:
        refuse_unowned(spec, folder, None, (), lambda trial: None)


def _storage(url: str | None, journal: Path) -> BaseStorage | None:
    """The storage, if it is there; nothing is made."""
    if url is None:
        return JournalStorage(JournalFileBackend(str(journal))) if journal.exists() else None
    address = sqlalchemy.make_url(url)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
        return None
    storage = RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
    return storage if sqlalchemy.inspect(storage.engine).has_table("studies") else None
