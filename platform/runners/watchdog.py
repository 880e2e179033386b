"""Notices that the head of Ray is gone. Ray itself ends the driver's process a minute after, without a word."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 20.0
"""For how long the head may not answer: one that is started again is waited for."""

_LOOK_S = 1.0


@contextmanager
def felt(address: str, on_gone: Callable[[], None]) -> Iterator[None]:
    """Look after the head at `address` (host:port); `on_gone` is called from a thread, once, when it is gone.

    From a thread, as the main thread may then be stuck inside a call to Ray that does not return.
    """
    end = threading.Event()
    thread = threading.Thread(target=_feel, args=(address, on_gone, end), name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()


def answers(address: str, timeout_s: float) -> bool:
    """Whether somebody listens at `host:port`; anything else is taken to answer."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except OSError:
        return False
    return True


def _feel(address: str, on_gone: Callable[[], None], end: threading.Event) -> None:
    felt_at = time.monotonic()
    while not end.wait(_LOOK_S):
        if answers(address, timeout_s=5.0):
            felt_at = time.monotonic()
        elif time.monotonic() - felt_at > PATIENCE_S and not end.is_set():
            on_gone()
            return
