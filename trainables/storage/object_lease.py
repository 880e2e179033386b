"""A lease as an object: claimed by one owner, renewed by writing it again, stale when not written for too long.

Its age is measured by the store's own clock, so that the nodes' clocks do not matter. A released lease stays as an
empty object, because not every bucket can delete an object under a condition.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trainables.storage.objects import Bucket, Content, StoreError

BEAT_S = 10.0
STALE_S = 60.0

logger = logging.getLogger(__name__)


class ObjectLease:
    """The lease that lies at one key; every method may raise StoreError."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._data = b""
        self._tag: str | None = None
        self._free: str | None = None

    def newest(self) -> Content | None:
        """The lease that lies there, with its age; None where nobody holds one."""
        found = self._bucket.read(self._key)
        self._free = found.tag if found and not found.data else None
        return found if found and found.data else None

    def take(self, data: bytes, after: str | None) -> bool:
        """Take the lease in place of the one that `newest` found; False where somebody else was quicker.

        Args:
            data: who takes it, with something that nobody else writes.
            after: the tag of what `newest` gave.
        """
        self._data = data
        there = after or self._free
        self._tag = self._bucket.replace(self._key, data, there) if there else self._bucket.create(self._key, data)
        return self._tag is not None

    def renew(self) -> bool:
        """Give a sign of life; False where the lease is somebody else's by now."""
        if self._tag is not None:
            self._tag = self._bucket.replace(self._key, self._data, self._tag)
        return self._tag is not None

    def release(self) -> None:
        """Give the lease back, if it is still held."""
        if self._tag is not None:
            self._bucket.replace(self._key, b"", self._tag)
            self._tag = None


@contextmanager
def kept_up(lease: ObjectLease) -> Iterator[None]:
    """Keep a lease that was taken, from a thread, and give it back at the end."""
    end = threading.Event()

    def beat_on() -> None:
        while not end.wait(BEAT_S):
            try:
                if not lease.renew():
                    return
            except StoreError as error:
                logger.warning("lease: %s", error)

    thread = threading.Thread(target=beat_on, name="object-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        try:
            lease.release()
        except StoreError as error:  # it grows stale
            logger.warning("lease: %s", error)
