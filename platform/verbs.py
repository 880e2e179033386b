"""The verbs of ``python -m platform.sweep``: each says what it did, and none starts a sweep.

What changes a sweep is a request to its driver. Where no driver holds the sweep, the verb answers it itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from platform.errors import Busy, InvalidSweep
from platform.runners import INLINE
from platform.space import cells, points
from platform.space.space import Space
from platform.storage import requests
from platform.storage.folder import bring_tables, folder_of, open_folder, shared, try_folder
from platform.storage.lease import hold
from platform.storage.requests import Request, Verb
from platform.sweepfile.overrides import point
from platform.sweepfile.spec import SweepSpec
from trainables.redaction import redact
from trainables.storage.mirror import uri_of

_PATIENCE_S, _POLL_S = 90.0, 0.5


def add_options(what: argparse._MutuallyExclusiveGroup) -> None:
    """Add the verbs that change a sweep to the options of a command."""
    again = "let failed trials run again when the command is next given: all, or some (3,7)"
    what.add_argument("--retry", nargs="?", const="", metavar="NUMBERS", help=again)
    what.add_argument("--end", metavar="NUMBERS", help="end trials that run: one, or some (3,7)")
    what.add_argument("--enqueue", metavar="SETTING", help="run a setting next: fit.dropout=0.3,adapter.taylor_order=2")
    what.add_argument("--pause", action="store_true", help="start no further trial; those that run go on")
    what.add_argument("--unpause", action="store_true", help="start trials again")


def named(options: argparse.Namespace, space: Space) -> Request | None:
    """The request that the options of a command make; None where they name no verb.

    Raises:
        InvalidSweep: as :func:`request_of` says.
    """
    for verb in Verb:
        if (text := getattr(options, verb)) not in (None, False):
            return request_of(verb, text if isinstance(text, str) else None, space)
    return None


def words_of(request: Request) -> list[str]:
    """The words of a command that make a request."""
    text = ",".join(f"{name}={value}" for name, value in request.setting.items())
    text = text or ",".join(map(str, request.numbers))
    return [f"--{request.verb}", *([text] if text else [])]


def request_of(verb: Verb, text: str | None, space: Space) -> Request:
    """The request that the words of a command make.

    Args:
        verb: the option.
        text: what follows it: numbers of trials such as `3,7`, or a setting such as `fit.dropout=0.3`.
        space: of the sweep.

    Raises:
        InvalidSweep: they make none.
    """
    if verb is Verb.ENQUEUE:
        setting = point(text or "")
        if problems := list(points.point_problems(space, setting)):
            raise InvalidSweep([f"--enqueue: {f'{name}: ' if name else ''}{text}" for name, text in problems])
        return Request(verb=verb, setting=setting)
    words = [word.strip() for word in text.split(",")] if text else []
    if wrong := [word for word in words if not word.isdecimal()]:
        rule = f"must be numbers of trials, such as 3,7, but got {wrong[0]!r}"
        raise InvalidSweep([f"--{verb}: {rule}; write the file before --{verb}"])
    return Request(verb=verb, numbers=tuple(map(int, words)))


def ask(spec: SweepSpec, space: Space, request: Request) -> int:
    """Leave a request for the driver of a sweep and print its answer; returns 0, or 2 where it is refused.

    Raises:
        Busy: the driver does not answer; the request stays.
    """
    folder, own = folder_of(spec), open_folder(spec)
    requests.leave(folder, request)
    deadline, is_here = time.monotonic() + _PATIENCE_S, False
    while (answer := requests.answer_to(folder, request)) is None:
        try:
            with hold(spec, own), shared(own):
                _answer(spec, space, own)
                is_here = True
        except Busy as error:
            if time.monotonic() > deadline:
                rule = f"a driver must answer within {_PATIENCE_S:.0f} s, but did not: {error}"
                raise Busy(f"{rule}. The request stays, and whoever drives the sweep next answers it") from error
            time.sleep(_POLL_S)
    if not answer.done:
        raise InvalidSweep([answer.text])
    later = is_here and request.verb in (Verb.RETRY, Verb.ENQUEUE) and " none " not in answer.text
    _say(f"{spec.name}: {answer.text}{f' when the same command is given without --{request.verb}' if later else ''}")
    return 0


def _answer(spec: SweepSpec, space: Space, folder: Path) -> None:
    from platform.runners.ledger import Ledger
    from platform.runners.steering import Steering
    from platform.study.study import Study

    ledger = Ledger(spec, Study(spec, space, folder, _say), folder, folder.parent / "stages", notify=_say)
    Steering(ledger, folder).answer()


def status(spec: SweepSpec, space: Space) -> int:
    """Print how a sweep stands, from its files alone."""
    from platform.analysis import report
    from platform.analysis import status as states
    from platform.console import console_on

    bring_tables(folder_of(spec))
    found = states.read(spec, space, folder_of(spec))
    report.status(console_on(sys.stdout), found)
    return 0


def adopt(spec: SweepSpec, space: Space) -> int:
    """Rebuild the lost study of a sweep from its trials' own files."""
    from platform.study import adopt as rebuilding

    folder = open_folder(spec)
    with hold(spec, folder), shared(folder):
        adopted = rebuilding.adopt(spec, space, folder, _say)
    _say(f"{spec.name}: {adopted}; carry on with the same command without --adopt")
    return 0


def keys() -> int:
    """Print every key that a sweep file can have."""
    from platform.console import console_on
    from platform.sweepfile.keys import table

    console_on(sys.stdout).print(table())
    return 0


def plan(spec: SweepSpec, space: Space, address: str | None) -> int:
    """Print what would run, how many trials at once and on what."""
    from platform.analysis import report
    from platform.analysis.screen import waiting
    from platform.console import clean_screen
    from platform.runners import placement, tune
    from platform.tracking.destination import destination_of

    folder = try_folder(spec)
    with tempfile.TemporaryDirectory(prefix="sweep-plan-") as scratch, clean_screen(Path(scratch, "log")) as console:
        where = "this process" if address == INLINE else address or "Ray on this machine"
        lines = [
            ("sweep", f"{spec.name}: {spec.num_trials} trials of {spec.trainable} by {spec.method}"),
            ("early stopping", spec.early_stopping.type),
            ("searches", ", ".join(space.swept) or "nothing: one setting"),
            *points.notes(spec, space),
            *cells.notes(spec, space),
        ]
        if address != INLINE:
            try:
                with waiting(console, tune.joining(address)):
                    tune.connect(address)
                most = min(spec.max_concurrent_trials or spec.num_trials, spec.num_trials)
                capacity = placement.capacity(spec.resources, most)
                packing = placement.packing(capacity)
            finally:
                tune.disconnect()
            lines.append(("a trial takes", capacity.takes))
            lines.append(("at once", str(capacity.at_once)))
            lines += [("nodes" if line == packing[0] else "", line) for line in packing]
        destination = destination_of(spec, folder)
        lines += [("on", where), ("storage", uri_of(folder)), ("tracking", str(destination))]
        report.plan(console, lines)
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{redact(text)}\n")
