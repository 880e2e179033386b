"""A ledger as a runner uses it: start a trial, and report the objective of `curve`."""

from typing import NamedTuple

from platform.runners.ledger import Decision, Ledger
from platform.storage.trial_end import EndedTrial
from trainables.runtime.task import Task


class Ended(NamedTuple):
    """A trial that has ended, but for the time of its end."""

    number: int
    state: str
    reason: str
    values: tuple[float, ...] | None

    @classmethod
    def of(cls, trial: EndedTrial) -> "Ended":
        return cls(trial.number, trial.end.state, trial.end.reason, trial.values)


def start(ledger: Ledger) -> Task:
    task = ledger.next_task(cpus=1.0, gpus=0.0)
    assert task is not None
    return task


def starts_nothing(ledger: Ledger) -> bool:
    return ledger.next_task(cpus=1.0, gpus=0.0) is None


def goes_on(ledger: Ledger, number: int, step: int, metrics: dict[str, float], last: bool = False) -> bool:
    """Report `metrics`; True if the trial goes on."""
    return ledger.report(number, step, metrics, last) is Decision.CONTINUE


def report(ledger: Ledger, number: int, step: int, value: float, last: bool = False) -> bool:
    return goes_on(ledger, number, step, {"train/loss": 1.0, "valid/ndcg_10": value}, last)
