"""Messages to a person who is not there: at a sweep's end, at a failure, and while it waits; never fatal to it.

Each is the JSON of `--status` with the `event` and a `text`. It goes to a command's standard input, to a URL by POST,
or to both, from a thread.
"""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platform.analysis import status
from platform.space.space import Space
from platform.sweepfile.fields import Event
from platform.sweepfile.spec import SweepSpec
from trainables.redaction import redact

_LIMIT_S = 20.0
"""Seconds for which a message may take, and for which the end of a sweep waits for those that are on their way."""
_BETWEEN_S = 60.0
"""Seconds between two messages of one event, so that a hundred failures are no hundred messages."""

logger = logging.getLogger(__name__)


class Notifier:
    """Sends the messages of one sweep.

    Args:
        spec: the sweep; without `notify`, nothing is sent.
        space: its compiled parameters.
        folder: the sweep's.
        say: called with a sentence for the user where a message did not arrive.
    """

    def __init__(self, spec: SweepSpec, space: Space, folder: Path, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._space = space
        self._folder = folder
        self._say = say
        self._threads: list[threading.Thread] = []
        self._sent: dict[Event, float] = {}

    def tell(self, event: Event, text: str) -> None:
        """Send a message, if the file asks for this event and none of it was sent a moment ago."""
        if not self._spec.notify or event not in self._spec.notify.on:
            return
        now = time.monotonic()
        if event != "end" and now - self._sent.get(event, -_BETWEEN_S) < _BETWEEN_S:
            return
        self._sent[event] = now
        self._threads.append(threading.Thread(target=self._send, args=(event, text), name="notify", daemon=True))
        self._threads[-1].start()

    def finish(self) -> None:
        """Wait for messages that are on their way, for as long as one may take."""
        deadline = time.monotonic() + _LIMIT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self._say(f"notify: must answer within {_LIMIT_S:.0f} s, but did not; the message may be lost")

    def _send(self, event: Event, text: str) -> None:
        rule = self._spec.notify
        assert rule is not None
        for where, send in (("command", self._run), ("url", self._post)):
            if target := getattr(rule, where):
                try:
                    send(target, self._message(event, text))
                except Exception as error:  # of any program or server
                    logger.warning("notify: %s", redact(repr(error)))
                    self._say(f"notify.{where}: must take the message of {event!r}, but did not: {redact(str(error))}")

    def _message(self, event: Event, text: str) -> bytes:
        found = status.read(self._spec, self._space, self._folder)
        return redact(json.dumps({"event": event, "text": text, **found.to_json()}, default=str)).encode()

    def _run(self, command: str, message: bytes) -> None:
        done = subprocess.run(shlex.split(command), input=message, capture_output=True, timeout=_LIMIT_S, check=False)
        if done.returncode:
            said: Any = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise OSError(f"exit code {done.returncode} {' '.join(said)}".strip())

    def _post(self, url: str, message: bytes) -> None:
        target = self._spec.resolved("notify.url", url)
        request = urllib.request.Request(target, message, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=_LIMIT_S) as answer:
            answer.read(1)
