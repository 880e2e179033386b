"""Notices that the head of Ray is gone. Ray itself ends the driver's process a minute after, without a word."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 20.0
"""Seconds for which the head may not answer, so that it can be started again."""

_LOOK_S = 1.0


@contextmanager
def watch_head(address: str, on_head_lost: Callable[[], None]) -> Iterator[None]:
    """Watch the head at `address` (host:port); a thread calls `on_head_lost` once when the head is gone.

    The main thread may then be stuck inside a call to Ray that does not return.
    """
    end = threading.Event()
    thread = threading.Thread(target=_watch, args=(address, on_head_lost, end), name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()


def is_listening(address: str, timeout_s: float) -> bool:
    """True if somebody listens at `host:port`; any other address is taken to answer."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except OSError:
        return False
    return True


def _watch(address: str, on_head_lost: Callable[[], None], end: threading.Event) -> None:
    answered_at = time.monotonic()
    while not end.wait(_LOOK_S):
        if is_listening(address, timeout_s=5.0):
            answered_at = time.monotonic()
        elif time.monotonic() - answered_at > PATIENCE_S and not end.is_set():
            on_head_lost()
            return
