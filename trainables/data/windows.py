"""Windows in order of global time, 8 : 1 : 1: nothing is trained on that happened after what is evaluated.

The rule of BIGRec, which HatLLM follows: a window is a target and up to `max_history` items before it. A user with at
most `max_history` + 1 interactions gives one, the last item its target; a longer one gives one for each item that has
`max_history` before it.
"""

import numpy as np

from trainables.data.atomic import DataError
from trainables.data.config import Data
from trainables.data.rows import Splits, kept_ranges, rows_at, steps
from trainables.data.sequences import Sequences

LEAST_WINDOWS = 6
"""With fewer, a tenth rounded down leaves a split without a row."""


def windows_by_time(sequences: Sequences, data: Data) -> Splits:
    """Cut every user's kept interactions into windows; the first 80 % train, the next 10 % validate, the rest tests.

    Windows are in order of their targets' times, equal times in the order of users, then of the user's interactions;
    so at a cut, targets of one and the same time may lie on both sides. A held-out target may be in the history of a
    later held-out window, never in a training one.

    Args:
        sequences: all users' interactions.
        data: ``keep_last`` and ``max_history`` are read; every window is a row, whatever ``train_rows`` says.

    Raises:
        DataError: an interaction has no time.
    """
    if sequences.times is None:
        raise DataError(untimed(f"{sequences.name} has none, or not on all of them"))
    start, end = kept_ranges(sequences, data.keep_last)
    users, place = steps(first_targets(start, end, data.max_history), end)
    order = np.argsort(np.asarray(sequences.times)[place], kind="stable")
    users, place = users[order], place[order]
    rows = rows_at(sequences, users, start[users], place, data.max_history)
    first, second = len(rows) * 8 // 10, len(rows) * 9 // 10
    return Splits(
        train=rows.take(slice(first)),
        valid=rows.take(slice(first, second)),
        test=rows.take(slice(second, None)),
        origin=f"time {sequences.fingerprint}",
    )


def first_targets(start: np.ndarray, end: np.ndarray, max_history: int) -> np.ndarray:
    """Where the first window's target of each user stands; no earlier than the second interaction, if there is one."""
    place_U: np.ndarray = np.minimum(start + max_history, np.maximum(end - 1, start + 1))
    return place_U


def untimed(missing: str) -> str:
    """The problem of data without complete times; ``missing`` says what was found."""
    return (
        f"data.split: time needs a timestamp on every interaction, but {missing}; "
        "choose leave_one_out or users, or complete the timestamps"
    )
