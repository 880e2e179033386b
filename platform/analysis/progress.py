"""The progress of a sweep while it runs: lines that stay, and below them, on a terminal, one that is redrawn."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from platform.analysis.screen import running_text, sentence, setting_text
from platform.analysis.status import seconds_left, setting_of, whole_of
from platform.runners.ledger import Ledger
from platform.runners.running import RunningTrial
from platform.storage.trial_end import EndedTrial, State
from platform.sweepfile.spec import SweepSpec

_STATUS_SHOWN = 4
_LINE_S = 60.0  # a plain line at least this often, where nothing is redrawn


class Progress:
    """The progress of one sweep.

    Args:
        console: where to.
        spec: the sweep.
    """

    def __init__(self, console: Console, spec: SweepSpec) -> None:
        self._console = console
        self._due = spec.num_trials
        self._spec = spec
        self._ledger: Ledger | None = None
        self._counts: Counter[State] = Counter()
        self._work_s: list[float] = []
        self._best: tuple[float, int] | None = None
        self._doing = ""
        self._told = time.monotonic()
        self._over = threading.Event()
        self._live = Live(
            get_renderable=self._render,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # they go to the log
            redirect_stderr=False,
        )

    def doing(self, what: str) -> None:
        """Say what the sweep does before its trials run, such as starting Ray; "" once it is done."""
        self._doing = what
        if what and not self._console.is_terminal:
            self.notify(what)
        elif self._console.is_terminal:
            self._live.start()
            self._live.refresh()

    def begin(self, ledger: Ledger, past: Sequence[EndedTrial], due: int | None = None) -> None:
        """Start showing a sweep.

        Args:
            ledger: the sweep's.
            past: the trials that have ended in earlier runs.
            due: the number of trials that it runs in all; None for `num_trials`.
        """
        self._ledger = ledger
        self._due = self._spec.num_trials if due is None else due
        for trial in past:
            self._count(trial)
        if self._console.is_terminal:
            self._live.start()
        else:
            threading.Thread(target=self._tell, name="progress", daemon=True).start()

    def ended(self, trial: EndedTrial) -> None:
        """Count a trial's end and print it."""
        self._count(trial)
        if trial.work_s is not None:
            self._work_s.append(trial.work_s)
        state = trial.end.state
        value = f" {self._spec.metrics[0].name} {trial.values[0]:.4f}" if trial.values else ""
        reason = "" if state is State.COMPLETE else f" ({trial.end.reason})"
        setting = f": {setting_text(self._setting(trial.setting))}" if trial.setting else ""
        line = f"trial {trial.number} {state.lower()}{value}{reason}{setting}"
        if self._console.is_terminal:
            sentence(self._console, line, style="red" if state is State.FAIL else "")
        else:
            self.notify(f"{line} | {self._summary()}")

    def notify(self, text: str) -> None:
        """Print one sentence above the line that is redrawn."""
        self._told = time.monotonic()
        sentence(self._console, text)

    def finish(self) -> None:
        """Stop drawing."""
        self._over.set()
        if self._live.is_started:
            self._live.stop()

    def _tell(self) -> None:
        """Print a plain line where none was printed for a minute, so that who reads a log sees that trials run."""
        while not self._over.wait(max(0.0, self._told + _LINE_S - time.monotonic())):
            if time.monotonic() >= self._told + _LINE_S:
                self.notify("; ".join([self._summary(), *map(self._line, self._running()[:_STATUS_SHOWN])]))

    def _count(self, trial: EndedTrial) -> None:
        if trial.end.state is State.RETRIED:
            return
        self._counts[trial.end.state] += 1
        sign = self._spec.metrics[0].sign
        if trial.end.state is State.COMPLETE and trial.values and trial.of is None:
            candidate = (sign * trial.values[0], -trial.number)
            self._best = max(self._best or candidate, candidate)

    def _running(self) -> list[RunningTrial]:
        return list(self._ledger.running.values()) if self._ledger else []

    def _summary(self) -> str:
        running, ledger = self._running(), self._ledger
        done = sum(self._counts.values())
        missing = self._spec.num_trials - self._due  # points that a grid does not have
        waiting = max(0, ledger.left - missing) if ledger else 0
        whole = max(self._due, done + len(running) + waiting if self._spec.seeds else done)
        parts = [f"{done}/{whole} done", f"{len(running)} running", f"{self._counts[State.PRUNED]} pruned"]
        if self._counts[State.FAIL]:
            parts.append(f"{self._counts[State.FAIL]} failed")
        if self._best:
            sign = self._spec.metrics[0].sign
            parts.append(f"best {sign * self._best[0]:.4f} (trial {-self._best[1]})")
        if (seconds := self._seconds_left(running, waiting)) is not None:
            parts.append(f"about {timedelta(seconds=round(seconds))} left")
        return ", ".join(parts)

    def _seconds_left(self, running: Sequence[RunningTrial], waiting: int) -> float | None:
        """Estimate of the time until the last trial ends, by the work of trials without the start of their workers."""
        wholes = [(trial, self._whole(trial)) for trial in running]
        work = self._work_s or [trial.pace_s * whole for trial, whole in wholes if whole and trial.pace_s is not None]
        if not work:
            return None
        mean = sum(work) / len(work)
        left = [
            mean / 2 if whole is None or trial.pace_s is None else trial.pace_s * max(0, whole - trial.num_valued)
            for trial, whole in wholes
        ]
        return seconds_left(mean, left, waiting)

    def _render(self) -> Text:
        if self._doing:
            return Text.assemble((self._spec.name, "bold"), f" {self._doing}")
        text = Text.assemble((self._spec.name, "bold"), " ", self._summary())
        for trial in self._running()[:_STATUS_SHOWN]:
            text.append(f"\n  {self._line(trial)}", style="dim")
        return text

    def _line(self, trial: RunningTrial) -> str:
        metric, value = self._spec.metrics[0].name, trial.value[0] if trial.value else None
        setting, doing = self._setting(trial.asked.values), trial.files.status().strip()
        text = running_text(trial.num_valued, self._whole(trial), metric, value, setting, doing)
        return f"trial {trial.asked.number}: {text}"

    def _whole(self, trial: RunningTrial) -> int | None:
        return whole_of(self._ledger.study.space, trial.asked.values) if self._ledger else None

    def _setting(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return setting_of(self._spec, self._ledger.study.space, values) if self._ledger else {}
