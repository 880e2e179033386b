"""Steering of a sweep that runs: requests are answered, and what another program told its study is noticed.

Optuna Dashboard is such a program. A trial that it ends is ended here as well, as a person's decision.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from platform.errors import SweepError
from platform.runners.ledger import Ledger
from platform.storage import requests
from platform.storage.requests import Answer, Request, Verb
from trainables.redaction import redact
from trainables.storage import mirror
from trainables.storage.objects import StoreError

_LOOK_S, _BUCKET_LOOK_S = 1.0, 5.0

logger = logging.getLogger(__name__)


class Steering:
    """A person's hold on one sweep, through the driver that holds it.

    Args:
        ledger: of the sweep.
        folder: the sweep's.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder
        self._every_s = _BUCKET_LOOK_S if mirror.remote_of(folder) else _LOOK_S
        self._noticed = self._looked = 0.0

    def look(self) -> None:
        """Answer what was asked and notice what was told, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._noticed > _LOOK_S:
            self._noticed = now
            self._ledger.notice_told()
        if now - self._looked > self._every_s:
            self._looked = now
            try:
                self.answer()
            except (OSError, StoreError) as error:  # it is asked again at the next look
                logger.warning("requests: %s", redact(str(error)))

    def answer(self) -> None:
        """Do what is asked and not answered yet, in the order in which it was asked."""
        for request_id, request in requests.pending(self._folder):
            try:
                answer = self._do(request) if request else Answer("it must be a request, but is none", done=False)
            except SweepError as error:
                answer = Answer(redact(str(error)), done=False)
            requests.write_answer(self._folder, request_id, answer)

    def _do(self, request: Request) -> Answer:
        match request.verb:
            case Verb.END:
                self._ledger.cancel(request.numbers)
                ended = ", ".join(map(str, request.numbers))
                return Answer(f"trial {ended} is ended" if len(request.numbers) == 1 else f"trials {ended} are ended")
            case Verb.ENQUEUE:
                number = self._ledger.study.enqueue(request.setting, request.id)
                return Answer(f"trial {number} is enqueued{self._place()}")
            case Verb.RETRY:
                retried = self._ledger.study.retry(request.numbers or None, request.id)
                self._ledger.recount()
                told = f"trials {', '.join(map(str, retried))} run again"
                return Answer(told if retried else "no trial has failed, none runs again")
            case Verb.PAUSE | Verb.UNPAUSE:
                requests.pause(self._folder, request.verb is Verb.PAUSE)
                self._ledger.is_paused = requests.is_paused(self._folder)
                return Answer("no trial is started until --unpause" if self._ledger.is_paused else "trials are started")

    def _place(self) -> str:
        left = self._ledger.study.spec.num_trials
        return "" if self._ledger.left else f"; num_trials {left} leave it no place, raise them (--set num_trials=...)"
