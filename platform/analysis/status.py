"""The state of a sweep at this moment, read from its files alone: for a person who asks, and for `notify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platform.analysis import page
from platform.space import points
from platform.space.space import Space
from platform.storage import earlier, lease, requests, trial_record
from platform.storage.trial_end import State
from platform.storage.trial_record import TrialHistory, read_history
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import TrialFiles
from trainables.redaction import redact, redact_values
from trainables.storage import mirror

_FAILURES = 5


@dataclass(frozen=True, kw_only=True)
class RunningState:
    """A trial that has begun and has not ended."""

    trial: int
    reports: int
    """Reports with the objective so far."""
    whole: int | None
    """Reports of a whole trial, where its trainable says so."""
    value: float | None
    """The newest value of the first metric."""
    setting: dict[str, Any]
    doing: str
    """The worker's own line."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The facts about a sweep."""

    sweep: str
    state: str
    """running, stopped, done or not started, with `, paused` behind it where no trial is to be started."""
    driver: str | None
    """The process that drives it and its last sign of life; None where nobody does."""
    trials: dict[str, int]
    """Number of trials by state, in lower case."""
    due: int
    """Number of trials that it is to run in all, those with further seeds left out."""
    seconds_left: float | None
    """Estimate of the time until the last trial ends; None where nothing runs, or nothing is known yet."""
    metric: str
    best: dict[str, Any] | None
    """`trial`, `value` and `setting` of the best complete trial by the first metric."""
    running: tuple[RunningState, ...]
    failures: tuple[dict[str, Any], ...]
    """`trial` and the first line of its `reason`, the newest first."""
    files: tuple[str, ...]
    """Files with more: the table, the page, the log."""

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return asdict(self)


def read(spec: SweepSpec, space: Space, folder: Path) -> Status:
    """Read the state of a sweep; nothing is written.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's, whose tables are there; it may be absent.
    """
    due = points.due(spec, space, earlier.count(folder))
    held = lease.held(folder)
    found = (read_history(folder, number, lambda where: None) for number in trial_record.numbers(folder))
    histories = [history for history in found if history]
    ended = [each for each in histories if each.end and each.end.state.is_final]
    left = [each for each in histories if each not in ended]
    again = {each.record.retries for each in histories}
    counts = Counter(_word(each, again) for each in ended)
    counts.update({"running" if held else "interrupted": len(left)} if left else {})
    settings = [each for each in ended if each.record.of is None and each.record.number not in again]
    running = tuple(_running(spec, space, folder, each) for each in left)
    return Status(
        sweep=spec.name,
        state=_state(folder, bool(held), bool(histories), len(settings) >= due and not left),
        driver=held,
        trials=dict(counts),
        due=due,
        seconds_left=_seconds_left(ended, running, max(0, due - len(settings) - len(left))) if held else None,
        metric=spec.metrics[0].name,
        best=_best(spec, space, settings),
        running=running,
        failures=_failures([each for each in ended if each.record.number not in again]),
        files=tuple(
            mirror.uri_of(folder / name)
            for name in ("results.csv", page.NAME, "sweep.log")
            if (folder / name).exists() or mirror.remote_of(folder)
        ),
    )


def seconds_left(mean: float, running: Sequence[float], waiting: int) -> float | None:
    """Estimate of the seconds until the last trial ends, if as many run at once as do now; None where none is left.

    Args:
        mean: seconds of a whole trial.
        running: seconds that each trial that runs has left.
        waiting: number of trials that have not begun.
    """
    if not running and not waiting:
        return None
    return max((mean * waiting + sum(running)) / max(1, len(running)), *running, 0.0)


def _work_s(history: TrialHistory) -> float:
    """Seconds that a trial's reports took, without the start of its worker where there are two of them."""
    assert history.end is not None
    times = [report["time"] for report in history.reports]
    whole = history.end.time - history.record.started
    return min(whole, (times[-1] - times[0]) / (len(times) - 1) * len(times)) if len(times) > 1 else whole


def _seconds_left(ended: Sequence[TrialHistory], running: Sequence[RunningState], waiting: int) -> float | None:
    if not ended:
        return None
    mean = sum(map(_work_s, ended)) / len(ended)
    shares = [1 - min(each.reports / each.whole, 1) if each.whole else 0.5 for each in running]
    return seconds_left(mean, [mean * share for share in shares], waiting)


def _state(folder: Path, is_held: bool, has_begun: bool, is_done: bool) -> str:
    state = "done" if is_done else "running" if is_held else "stopped" if has_begun else "not started"
    return f"{state}, paused" if requests.is_paused(folder) else state


def _word(history: TrialHistory, again: Collection[int | None]) -> str:
    assert history.end is not None
    return (State.RETRIED if history.record.number in again else history.end.state).lower()


def setting_of(spec: SweepSpec, space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a trial's values that tells it from others, without secrets."""
    names = [*space.swept, *(["seed"] if spec.seeds else [])]
    return redact_values({name: values[name] for name in names if name in values})


def whole_of(space: Space, values: Mapping[str, Any]) -> int | None:
    """The reports of a whole trial with `values`; None where its trainable does not say so."""
    try:
        return space.reports({**values}) if space.reports else None
    except ValueError:  # the trainable has changed and takes it no more
        return None


def _running(spec: SweepSpec, space: Space, folder: Path, history: TrialHistory) -> RunningState:
    curve, values = history.curve(spec.metrics), history.record.values
    return RunningState(
        trial=history.record.number,
        reports=len(curve),
        whole=whole_of(space, values),
        value=curve[-1][0] if curve else None,
        setting=setting_of(spec, space, values),
        doing=redact(TrialFiles(folder, history.record.number).status().strip()),
    )


def _best(spec: SweepSpec, space: Space, ended: Sequence[TrialHistory]) -> dict[str, Any] | None:
    sign = spec.metrics[0].sign
    complete = [each for each in ended if each.end and each.end.state is State.COMPLETE and each.curve(spec.metrics)]
    values = {each.record.number: max(sign * value for value, *_ in each.curve(spec.metrics)) for each in complete}
    best = max(complete, key=lambda each: values[each.record.number], default=None)
    if best is None:
        return None
    number, setting = best.record.number, setting_of(spec, space, best.record.values)
    return {"trial": number, "value": sign * values[number], "setting": setting}


def _failures(ended: Sequence[TrialHistory]) -> tuple[dict[str, Any], ...]:
    failed = [each for each in ended if each.end and each.end.state is State.FAIL]
    return tuple(
        {"trial": each.record.number, "reason": redact(each.end.reason.partition("\n")[0])}
        for each in failed[: -_FAILURES - 1 : -1]
        if each.end
    )
