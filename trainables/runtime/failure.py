"""Kinds of errors that end a trial's own code, named alike by every runner."""

import contextlib
import errno
import sysconfig
import traceback
from pathlib import Path

from trainables.disk import is_full
from trainables.exceptions import causes, text_of
from trainables.redaction import redact
from trainables.runtime.launch import RankFailed
from trainables.trial import DISK_FULL, EXCEPTION, NON_FINITE, OUT_OF_MEMORY, TRACEBACK, Trial

_NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
"""Texts of full disks from libraries that write files and raise errors of their own (safetensors)."""
_NO_MEMORY_TEXTS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed", "low on memory",
)  # fmt: skip
"""Texts of errors without a class of their own: CUDA's libraries, the CPU's allocator, Ray's memory monitor."""
_LONGEST_TEXT = 2000
_NOT_OWN = (
    Path(sysconfig.get_path("stdlib")),  # and what is installed below it
    Path(sysconfig.get_path("purelib")),
    Path(__file__).parent,
    Path(__file__).parents[1] / "trial.py",
)


def classify(error: BaseException) -> str:
    """The reason that ``error`` stands for, by it or by what caused it: a word of :mod:`trainables.trial`."""
    for each in causes(error):
        text = text_of(each)
        if isinstance(each, RankFailed):
            return each.end.reason
        if isinstance(each, OSError) and is_full(each):
            return DISK_FULL
        if isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError":
            return OUT_OF_MEMORY
        if isinstance(each, OSError) and each.errno == errno.ENOMEM:
            return OUT_OF_MEMORY
        if isinstance(each, FloatingPointError):
            return NON_FINITE
        if any(words in text.lower() for words in _NO_MEMORY_TEXTS):
            return OUT_OF_MEMORY
        if any(words in text for words in _NO_SPACE_TEXTS):
            return DISK_FULL
    return EXCEPTION


def describe(error: BaseException, trial: Trial | None) -> tuple[str, str]:
    """The reason and one line on ``error``, which is being handled; its traceback becomes an artifact of ``trial``.

    An exception's line ends with the place in the trainable's code.

    Where there is no trial yet, or even that finds no room on the disk, it is left out. Secrets are hidden.
    """
    with contextlib.suppress(OSError):
        if trial:
            trial.artifact(TRACEBACK).write_text(redact("".join(traceback.format_exception(error))), encoding="utf-8")
    reason, text = classify(error), redact(f"{type(error).__name__}: {text_of(error)}")
    text = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."
    return reason, f"{text}{_place(error)}" if reason == EXCEPTION else text


def _place(error: BaseException) -> str:
    """The line of the trainable's own code that ``error`` came from, in brackets; "" where none had a part in it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(folder) for folder in _NOT_OWN):
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            return f" ({shown}:{frame.lineno})"
    return ""
