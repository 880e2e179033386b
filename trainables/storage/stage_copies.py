"""Results of stages in a bucket: whole or not there, computed on one node, copied once to every other.

    stages/<key>/manifest.json        written last, once: which arrays there are, under which part, size and digest
    stages/<key>/<part>/<array>.npy   a part is one try to compute, removed when another try was first
    stages/<key>.lease                the owner that computes, stale when not renewed
    stages/<key>.scratch/             checkpoints of partial work, see checkpoint.py

Processes of one node compete for the lock file beside its copy. Here only nodes compete.
"""

import contextlib
import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from trainables.storage import mirror
from trainables.storage.object_lease import STALE_S, ObjectLease, kept_up
from trainables.storage.objects import StoreError

MANIFEST = "manifest.json"
WAITING = "waits for"
"""Begins the status of a trial that waits for another's result."""

_POLL_S = 1.0


@contextlib.contextmanager
def claim(folder: Path, name: str, me: str, notify: Callable[[str], None], note: Path) -> Iterator[bool]:
    """Wait until the result is here or is this node's to compute; gives whether it is the latter.

    A folder that is no copy is its only node's to compute.

    Args:
        folder: of the result.
        name: of the stage.
        me: who asks, in words.
        notify: told whom this call waits for, each time it looks, and whose work it takes over; told "" at the end.
        note: whose work those wait for who wait on this node.
    """
    if (remote := mirror.remote_of(folder)) is None:
        yield True
        return
    lease, found = ObjectLease(remote[0], f"{remote[1]}.lease"), None
    waited = False
    while not fetch(folder):
        found = lease.newest()
        mine = json.dumps({"owner": me, "token": uuid.uuid4().hex}).encode()
        if (found is None or found.age_s > STALE_S) and lease.take(mine, found.tag if found else None):
            with kept_up(lease):
                ours = not fetch(folder)  # it may have come between the two looks
                if ours:
                    note.write_text(me)
                if ours and found:
                    notify(f"takes over {name} from {_owner(found.data)}")
                yield ours
            break
        if found:
            waited = True
            note.write_text(_owner(found.data))
            notify(waiting(name, _owner(found.data)))
        time.sleep(_POLL_S)
    else:
        yield False
    if waited or found:
        notify("")


def waiting(name: str, owner: str) -> str:
    """The status of who waits."""
    return f"{WAITING} {name}, computed by {owner}" if owner else f"{WAITING} {name}"


def fetch(folder: Path) -> bool:
    """Copy a result to its folder here; False where there is none.

    Raises:
        StoreError: an array is not what the manifest says.
    """
    bucket, key = mirror.require_remote(folder)
    found = bucket.read(f"{key}/{MANIFEST}")
    if found is None:
        return False
    manifest = json.loads(found.data)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        for name in manifest["arrays"]:
            file = f"{name}.npy"
            tag = bucket.fetch(f"{key}/{manifest['part']}/{file}", draft / file)
            if tag is None or _digest(draft / file) != manifest["digests"][name]:
                raise StoreError(f"{mirror.uri_of(folder)}/{manifest['part']}/{file}: must be what its manifest "
                                 "says, but is damaged; remove the result, and it is computed again")  # fmt: skip
        draft.mkdir(parents=True, exist_ok=True)
        (draft / MANIFEST).write_bytes(found.data)
        _put_in_place(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def publish(draft: Path, folder: Path) -> None:
    """Put a computed result into the bucket and in its place here, unless somebody else's is there: then that one.

    Args:
        draft: a folder with its arrays.
        folder: the copy of the result.
    """
    bucket, key = mirror.require_remote(folder)
    part, names = uuid.uuid4().hex, sorted(path.stem for path in draft.glob("*.npy"))
    for name in names:
        bucket.write(f"{key}/{part}/{name}.npy", draft / f"{name}.npy")
    manifest = {"arrays": names, "part": part, "digests": {name: _digest(draft / f"{name}.npy") for name in names}}
    written = json.dumps(manifest).encode()
    if bucket.create(f"{key}/{MANIFEST}", written) is None:
        bucket.delete(*(f"{key}/{part}/{name}.npy" for name in names))
        fetch(folder)
        return
    (draft / MANIFEST).write_bytes(written)
    _put_in_place(draft, folder)


def _put_in_place(draft: Path, folder: Path) -> None:
    if folder.exists():  # left by a crash
        shutil.rmtree(folder)
    draft.rename(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _owner(data: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(data)["owner"])
    return "another node"
