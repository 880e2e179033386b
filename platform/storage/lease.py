"""The lease that one driver holds on a sweep while it runs: taken once, kept by a heartbeat, lost only by silence.

A driver that died on the same machine loses its lease at once. A driver on another machine loses it after a minute
without a heartbeat. A driver that slept for longer (a closed lid, a stopped process) checks its lease on waking: it
learns that another driver holds the sweep before it writes anything.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from platform.errors import Busy, SweepError
from platform.storage.lease_stores import DatabaseLease, LeaseRecord, LeaseStore, Owner, in_storage
from platform.sweepfile.spec import SweepSpec
from trainables.storage import mirror
from trainables.storage.object_lease import BEAT_S, STALE_S

_BIRTH_TOLERANCE_S = 2.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps

logger = logging.getLogger(__name__)


class Lease:
    """A lease that is held; use :func:`hold`."""

    def __init__(self, stores: Sequence[LeaseStore], name: str, beat_s: float, stale_s: float) -> None:
        self._stores = stores
        self._name = name
        self._beat_s = beat_s
        self._stale_s = stale_s
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._seen = time.clock_gettime(_CLOCK)
        self._lost: SweepError | None = None
        self._thread = threading.Thread(target=self._beat_on, name="lease", daemon=True)

    @property
    def is_lost(self) -> bool:
        """True if another driver may have taken the sweep over: this one must not write any more."""
        return self._lost is not None

    def check(self) -> None:
        """Return while this driver holds the sweep; once it does not, raise the same error each time.

        Raises:
            Busy: another driver has taken it over.
            SweepError: the storage has not answered for so long that another driver may have.
        """
        silent = time.clock_gettime(_CLOCK) - self._seen
        if self._lost is None and silent > self._stale_s / 2:
            self._beat()
            silent = time.clock_gettime(_CLOCK) - self._seen
        if self._lost is None and silent > self._stale_s:
            self._lost = SweepError(
                f"storage: must answer while a sweep runs, but did not for {silent:.0f} seconds; "
                "run the same command when it answers again"
            )
        if self._lost is not None:
            raise self._lost

    def _taken_over(self) -> Busy:
        return Busy(
            f"a sweep must have one driver, but {self._name!r} was taken over{self._by()}, as this driver sent no "
            "heartbeat; leave the sweep to the other driver"
        )

    def _by(self) -> str:
        try:
            found = next((found for store in self._stores if (found := store.newest())), None)
        except Exception:  # of a file system or any database, which would only have told the name
            found = None
        return f" by {describe(found)}" if found else ""

    def _beat_on(self) -> None:
        while not self._end.wait(self._beat_s):
            self._beat()

    def _beat(self) -> None:
        with self._lock:
            if self._end.is_set():
                return
            try:
                for store in self._stores:
                    if not store.renew():
                        self._lost = self._lost or self._taken_over()
                self._seen = time.clock_gettime(_CLOCK)
            except Exception as error:  # of a file system or any database
                logger.warning("lease: the storage does not answer: %r", error)

    def _begin(self) -> None:
        self._thread.start()

    def abandon(self, why: str) -> None:
        """Let every further `check` raise, as if the lease were lost: only the caller writes from here on."""
        self._lost = SweepError(why)

    def release(self) -> None:
        """Release the lease and end its heartbeat."""
        self._end.set()
        with self._lock:
            for store in reversed(self._stores):
                store.release()


@contextmanager
def hold(spec: SweepSpec, folder: Path, beat_s: float = BEAT_S, stale_s: float = STALE_S) -> Iterator[Lease]:
    """Hold the sweep for this process, in its storage and in the database of its study, if it has one.

    Args:
        spec: the sweep.
        folder: its folder in the storage.
        beat_s: seconds between two heartbeats.
        stale_s: seconds without a heartbeat after which a driver of another machine has lost its lease.

    Raises:
        Busy: another driver holds it.
        SweepError: the database does not answer.
    """
    me = _this_process()
    stores: list[LeaseStore] = []
    lease = Lease(stores, spec.name, beat_s, stale_s)
    try:
        stores.append(in_storage(folder))
        _take(stores[0], me, spec.name, stale_s)
        if url := spec.study_url():
            stores.append(_beside_study(url, spec.name))
            _take(stores[1], me, spec.name, stale_s)
        lease._begin()
        yield lease
    finally:
        lease.release()


def held(folder: Path, stale_s: float = STALE_S) -> str | None:
    """The driver that holds the sweep in `folder`, in words; None where nobody does."""
    found = in_storage(folder).newest() if folder.is_dir() or mirror.remote_of(folder) else None
    return describe(found) if found and _is_held(found, _this_process(), stale_s) else None


def describe(found: LeaseRecord) -> str:
    """The owner of a lease, and since when."""
    if found.owner is None:
        return f"another driver, last seen {max(found.age_s, 0):.0f} seconds ago"
    minutes = max(time.time() - found.owner.since, 0) / 60
    return (
        f"process {found.owner.pid} on {found.owner.host} since {minutes:.0f} minutes "
        f"(last seen {max(found.age_s, 0):.0f} seconds ago)"
    )


def _take(store: LeaseStore, me: Owner, name: str, stale_s: float) -> None:
    for _ in range(3):  # somebody may be quicker, and give it back at once
        found = store.newest()
        if found and _is_held(found, me, stale_s):
            break
        if store.take(me, found):
            if found:  # of a driver that died on this machine nobody needs a warning
                here = found.owner is not None and found.owner.place == me.place
                logger.log(
                    logging.INFO if here else logging.WARNING, "the sweep is taken over from %s", describe(found)
                )
            return
    held = describe(found) if found else "another driver"
    raise Busy(f"a sweep must have one driver, but {name!r} is held by {held}; wait for it, or end it")


def _is_held(found: LeaseRecord, me: Owner, stale_s: float) -> bool:
    """True if a lease's owner lives: by its pid on this machine, by its last heartbeat elsewhere."""
    owner = found.owner
    if owner is None or owner.place != me.place:
        return found.age_s <= stale_s
    try:
        return abs(psutil.Process(owner.pid).create_time() - owner.born) < _BIRTH_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False


def _beside_study(url: str, name: str) -> LeaseStore:
    try:
        return DatabaseLease(url, name)
    except Exception as error:
        raise SweepError(
            f"study: must be a storage that opens, but got {error.__cause__ or error!r}; see `study:` and `storage:`"
        ) from error


def _this_process() -> Owner:
    place = "/".join([_read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")])
    born = psutil.Process().create_time()
    host = socket.gethostname()
    return Owner(uuid.uuid4().hex, host, os.getpid(), f"{host}/{place}", born, time.time())


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
