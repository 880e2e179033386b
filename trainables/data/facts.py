"""Facts of the test rows that a table should say: repeats, the last item's date, steps in the training graph."""

from dataclasses import dataclass

import numpy as np

from trainables.data.repeats import count_again
from trainables.data.rows import Rows, Splits, seen_items, training_pairs
from trainables.data.sequences import Sequences

_AT_ONCE = 65_536
_DAY_S = 86_400


@dataclass(frozen=True)
class Facts:
    """Numbers of one data set under one split."""

    interactions: int
    repeats: int
    """Interactions of an item that the user met before."""
    targets: int
    """Test rows."""
    targets_in_history: int
    """Test targets that the user met before."""
    targets_as_last: int
    """Test targets that are the last item of the history once more."""
    same_date: float | None
    """Share of test targets with the date (UTC) of the last item; None without times."""
    one_step: float
    """Share of test targets that followed the last item somewhere in the training parts."""
    two_steps: float
    """Share of test targets two such steps away, and not one."""

    def sentence(self) -> str:
        """All of them in a sentence."""
        date = "" if self.same_date is None else f"{self.same_date:.1%} have the last item's date, "
        return (
            f"{self.repeats} of {self.interactions} interactions repeat an item of the user; of {self.targets} test "
            f"targets, {self.targets_in_history} are in the history already, {self.targets_as_last} as its last item, "
            f"{date}{self.one_step:.1%} are one step from the last item in the training graph, {self.two_steps:.1%} two"
        )


def facts(sequences: Sequences, splits: Splits) -> Facts:
    """Count over the test rows of ``splits``; the graph holds each pair of neighbours in the training parts."""
    rows, items = splits.test, np.asarray(sequences.items)
    last_N = items[rows.stop_N - 1]
    user_N = np.repeat(np.arange(sequences.num_users), np.diff(sequences.offsets))
    one_step, two_steps = _steps(sequences, splits.train, last_N, rows.target_N)
    return Facts(
        interactions=len(items),
        repeats=count_again(user_N, items),
        targets=len(rows),
        targets_in_history=int(np.count_nonzero(targets_in_history(sequences, rows))),
        targets_as_last=int(np.count_nonzero(last_N == rows.target_N)),
        same_date=_same_date(sequences, rows),
        one_step=one_step,
        two_steps=two_steps,
    )


def targets_in_history(sequences: Sequences, rows: Rows) -> np.ndarray:
    """bool (N,): True where the row's user met the target before."""
    row, item = seen_items(sequences, rows).pairs(0, len(rows))
    met_N = np.zeros(len(rows), bool)
    met_N[row[item == rows.target_N[row]]] = True
    return met_N


def _same_date(sequences: Sequences, rows: Rows) -> float | None:
    if sequences.times is None:
        return None
    days = np.asarray(sequences.times) // _DAY_S
    return float(np.mean(days[rows.stop_N] == days[rows.stop_N - 1]))


def _steps(sequences: Sequences, train: Rows, last_N: np.ndarray, target_N: np.ndarray) -> tuple[float, float]:
    """Shares of targets one step, and two but not one, from the last item."""
    from scipy import sparse

    before, after = training_pairs(sequences, train)
    size = (sequences.num_items, sequences.num_items)
    follows_II = sparse.csr_array((np.ones(len(before), np.float32), (before, after)), shape=size)
    precedes_II = follows_II.T.tocsr()
    one = two = 0
    for start in range(0, len(last_N), _AT_ONCE):
        last_B, target_B = last_N[start : start + _AT_ONCE], target_N[start : start + _AT_ONCE]
        near_B = np.asarray(follows_II[last_B, target_B]).ravel() > 0
        between_B = np.asarray((follows_II[last_B] * precedes_II[target_B]).sum(axis=1)).ravel() > 0
        one += int(near_B.sum())
        two += int((between_B & ~near_B).sum())
    return one / max(len(last_N), 1), two / max(len(last_N), 1)
