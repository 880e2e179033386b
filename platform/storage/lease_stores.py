"""The stores of a lease: a file in the sweep's folder or an object in its bucket, and a row beside the study.

Only one driver can take a store's lease, whichever hosts compete. Each store measures the age of the last heartbeat by
the clock of the file server, bucket or database, so that the hosts' own clocks do not matter.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from trainables.storage import mirror
from trainables.storage.object_lease import ObjectLease
from trainables.storage.objects import StoreError

_FILE = "lease."
_TABLE = "sweep_leases"


@dataclass(frozen=True)
class Owner:
    """A driver. `place` is the same for processes that see each other's pids; times are seconds since the epoch."""

    token: str
    host: str
    pid: int
    place: str
    born: float
    since: float


@dataclass(frozen=True)
class LeaseRecord:
    """A stored lease: its owner (None where that cannot be read), and the age of its last heartbeat."""

    key: str
    owner: Owner | None
    age_s: float


class LeaseStore(Protocol):
    """Storage of a lease; errors of the storage are raised as they come."""

    def newest(self) -> LeaseRecord | None:
        """Return the newest lease, None where there is none."""

    def take(self, owner: Owner, after: LeaseRecord | None) -> bool:
        """Take the lease in place of `after`; False where another driver was quicker."""

    def renew(self) -> bool:
        """Send a heartbeat; False where another driver has taken the lease."""

    def release(self) -> None:
        """Release the lease, if it is still held."""


class FolderLease:
    """A lease as the file `lease.<n>` of a folder; the largest n counts, and the file's time is its heartbeat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: Path | None = None

    def newest(self) -> LeaseRecord | None:
        """See :meth:`LeaseStore.newest`."""
        path = max(self._files(), key=_number, default=None)
        if path is None:
            return None
        try:
            return LeaseRecord(path.name, _owner(path.read_text()), self._now() - path.stat().st_mtime)
        except FileNotFoundError:  # given back meanwhile
            return self.newest()

    def take(self, owner: Owner, after: LeaseRecord | None) -> bool:
        """See :meth:`LeaseStore.take`."""
        path = self._folder / f"{_FILE}{int(after.key.removeprefix(_FILE)) + 1 if after else 1}"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as stream:
            json.dump(asdict(owner), stream)
            stream.flush()
            os.fsync(stream.fileno())
        self._own = path
        if not self._is_newest():  # this driver slept since it looked
            self.release()
            return False
        for older in self._files():
            if older != path:
                older.unlink(missing_ok=True)
        return True

    def renew(self) -> bool:
        """See :meth:`LeaseStore.renew`."""
        if self._own is None or not self._is_newest():
            return False
        os.utime(self._own)
        return True

    def release(self) -> None:
        """See :meth:`LeaseStore.release`."""
        if self._own:
            self._own.unlink(missing_ok=True)
            self._own = None

    def _files(self) -> list[Path]:
        return [path for path in self._folder.glob(f"{_FILE}*") if path.name.removeprefix(_FILE).isdigit()]

    def _is_newest(self) -> bool:
        return max(self._files(), key=_number, default=None) == self._own

    def _now(self) -> float:
        """The file server's clock."""
        probe = self._folder / f".{_FILE}now-{os.getpid()}"
        try:
            probe.write_text("")
        except OSError:  # who may only read does without
            return time.time()
        now = probe.stat().st_mtime
        probe.unlink()
        return now


class BucketLease:
    """A lease as the object `lease` of the sweep's folder in a bucket.

    Args:
        folder: the copy of the sweep's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._lease = ObjectLease(*mirror.require_remote(folder / "lease"))

    def newest(self) -> LeaseRecord | None:
        """See :meth:`LeaseStore.newest`."""
        found = self._lease.newest()
        return LeaseRecord(found.tag, _owner(found.data.decode()), found.age_s) if found else None

    def take(self, owner: Owner, after: LeaseRecord | None) -> bool:
        """See :meth:`LeaseStore.take`."""
        return self._lease.take(json.dumps(asdict(owner)).encode(), after.key if after else None)

    def renew(self) -> bool:
        """See :meth:`LeaseStore.renew`."""
        return self._lease.renew()

    def release(self) -> None:
        """See :meth:`LeaseStore.release`."""
        with contextlib.suppress(StoreError):  # it does not answer: the lease grows stale
            self._lease.release()


def in_storage(folder: Path) -> LeaseStore:
    """The place in the storage of a sweep, whose folder is a folder or a copy of a bucket's."""
    return BucketLease(folder) if mirror.remote_of(folder) else FolderLease(folder)


class DatabaseLease:
    """A lease as a row of a table in the study's database.

    Args:
        url: SQLAlchemy's.
        study: the study's name.
    """

    def __init__(self, url: str, study: str) -> None:
        import sqlalchemy as sql

        self._sql = sql
        self._study = study
        self._token: str | None = None
        self._engine = sql.create_engine(url, pool_pre_ping=True)
        moment = sql.DateTime(timezone=True)
        self._now = sql.literal_column("CURRENT_TIMESTAMP", moment)
        self._table = sql.Table(
            _TABLE,
            sql.MetaData(),
            sql.Column("study", sql.String(255), primary_key=True),
            sql.Column("token", sql.String(64), nullable=False),
            sql.Column("owner", sql.Text, nullable=False),
            sql.Column("beat", moment, nullable=False),
        )
        try:
            self._table.create(self._engine, checkfirst=True)
        except sql.exc.DatabaseError:  # another driver made it at this moment
            self._table.create(self._engine, checkfirst=True)

    def newest(self) -> LeaseRecord | None:
        """See :meth:`LeaseStore.newest`."""
        columns = self._table.c
        query = self._sql.select(columns.token, columns.owner, columns.beat, self._now.label("now"))
        with self._engine.connect() as connection:
            row = connection.execute(query.where(columns.study == self._study)).first()
        return LeaseRecord(row.token, _owner(row.owner), (row.now - row.beat).total_seconds()) if row else None

    def take(self, owner: Owner, after: LeaseRecord | None) -> bool:
        """See :meth:`LeaseStore.take`."""
        values = {"token": owner.token, "owner": json.dumps(asdict(owner)), "beat": self._now}
        try:
            if after is None:
                self._execute(self._table.insert().values(study=self._study, **values))
            elif not self._execute(self._of(after.key, self._table.update()).values(**values)):
                return False
        except self._sql.exc.IntegrityError:
            return False
        self._token = owner.token
        return True

    def renew(self) -> bool:
        """See :meth:`LeaseStore.renew`."""
        return bool(self._execute(self._of(self._token, self._table.update()).values(beat=self._now)))

    def release(self) -> None:
        """See :meth:`LeaseStore.release`."""
        with contextlib.suppress(self._sql.exc.DatabaseError):  # it is down: the lease grows stale
            self._execute(self._of(self._token, self._table.delete()))
        self._engine.dispose()

    def _of(self, token: str | None, statement: Any) -> Any:
        return statement.where(self._table.c.study == self._study, self._table.c.token == token)

    def _execute(self, statement: Any) -> int:
        with self._engine.begin() as connection:
            return int(connection.execute(statement).rowcount)


def _number(path: Path) -> int:
    return int(path.name.removeprefix(_FILE))


def _owner(text: str) -> Owner | None:
    try:
        return Owner(**json.loads(text))
    except (json.JSONDecodeError, TypeError):  # being written, or torn
        return None
