"""Errors that a user of a sweep meets, with the command's exit code of each, and the tree of all error classes.

0 done, 1 ended without a usable result, 2 invalid input, 3 another driver holds the sweep.

    class                    of                             caught by
    BaseException
    ├── Interrupted          console                        sweep: trials stay resumable, exit code 128 + signal
    ├── TrialStopped         trainables.trial               the runners: the trial ends, which is no error
    └── Exception
        ├── SweepError       errors                         the commands: one message, exit code 1
        │   ├── InvalidSweep errors                         the commands: exit code 2; results joins those of its files
        │   ├── Busy         errors                         the commands: exit code 3
        │   └── NoAnswer     cluster.jobs                   jobs.follow for a minute, then the commands
        ├── ValueError
        │   ├── ExpressionError   sweepfile.expression      sweepfile, space: a problem of InvalidSweep
        │   ├── ConfigError       trainables.config         space.check: a point that does not build
        │   ├── WrongValueError   trainables.fields         trainables.config: a problem of ConfigError
        │   ├── InvalidTrainable  trainables.runtime        space.check: a problem of InvalidSweep
        │   ├── DataError         trainables.data           data.checks: a problem of the trainable's check
        │   ├── SourceError       trainables.language       language.pretrained: a problem of the trainable's check
        │   ├── SavedError        trainables.seqrec         trainables.model: a ModelError
        │   └── ModelError        trainables.model          its command: exit code 2
        ├── OSError
        │   └── StoreError        trainables.storage        sweep, results, storage.folder: one message; leases: a log
        └── RuntimeError
            └── RankFailed        trainables.runtime        runtime.failure: the reason of the rank that failed

A runner catches whatever a trial raises: `runtime.failure` gives it a reason, and the ledger starts the trial again or
fails it. `python -m trainables` and `python -m trainables.data` print what their users can correct. A class that begins
with an underscore is caught in the file that defines it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence

_LONGEST = 60


class SweepError(Exception):
    """A sweep that cannot go on; the user sees one message (rule, value, remedy), without a traceback."""

    exit_code = 1


class InvalidSweep(SweepError):  # noqa: N818  (read as a sentence: "invalid sweep")
    """A sweep file, an override or a machine that cannot carry the sweep: every problem at once.

    `problems` holds one line each: `file:line: path: rule, value, remedy`.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


class Busy(SweepError):  # noqa: N818
    """Another driver holds this sweep."""

    exit_code = 3


def short(value: object) -> str:
    """A value as a message shows it: as Python writes it, a list or a mapping as JSON, its beginning if it is long."""
    text = json.dumps(value, default=str) if isinstance(value, list | tuple | dict) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def nearest(word: object, words: Iterable[str]) -> str | None:
    """The one of `words` that `word` was most likely meant to be, or None."""
    near = difflib.get_close_matches(str(word).lower(), list(words), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest one, else all of them."""
    words = list(words)
    near = nearest(word, words)
    return f"did you mean {near!r}?" if near else f"choose from {', '.join(words)}"
