"""Writes to a disk, and the errors of one that is full or not reachable."""

import errno
import io

PRIVATE = 0o600
"""Mode of a file that holds a secret."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_AWAY = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN}


def write_all(stream: io.RawIOBase, data: bytes) -> None:
    """Unbuffered, so that closing the file can not fail a second time; such a write may take a part only."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[stream.write(rest) or 0 :]


def is_full(error: OSError) -> bool:
    """True if ``error`` says that a disk, or a user's quota on it, is full."""
    return error.errno in _NO_SPACE


def is_away(error: OSError) -> bool:
    """True if ``error`` says that a file system does not answer, or no longer does."""
    return error.errno in _AWAY
