"""The progress of a sweep while it runs, and its result, as a person reads them (the only file that prints)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from platform.analysis.comparison import Cell, Comparison, difference
from platform.analysis.page import PICTURES
from platform.analysis.pairs import LEVEL, PairedTests
from platform.analysis.status import Status
from platform.analysis.tables import number, shown_metrics, spread_text
from platform.analysis.trials import Row
from platform.runners.ledger import Ledger
from platform.runners.running import RunningTrial
from platform.storage.trial_end import EndedTrial, State
from platform.sweepfile.published import as_text
from platform.sweepfile.spec import SweepSpec

_SHOWN = 5
_STATUS_SHOWN = 4
_PAIRS_SHOWN = 60


class Progress:
    """The live line of a sweep: redrawn on a terminal, one plain line per trial elsewhere.

    Args:
        console: where to.
        spec: the sweep.
        due: the number of trials that it runs in all; None: `num_trials`.
    """

    def __init__(self, console: Console, spec: SweepSpec, due: int | None = None) -> None:
        self._console = console
        self._due = due or spec.num_trials
        self._spec = spec
        self._ledger: Ledger | None = None
        self._counts: Counter[State] = Counter()
        self._new = 0
        self._best: tuple[float, int] | None = None
        self._started = time.monotonic()
        self._live = Live(
            get_renderable=self._render,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # they go to the log
            redirect_stderr=False,
        )

    def begin(self, ledger: Ledger, past: Sequence[EndedTrial]) -> None:
        """Start showing `ledger`; `past` are the trials that have ended in earlier runs."""
        self._ledger = ledger
        self._started = time.monotonic()
        for trial in past:
            self._count(trial)
        self._new = 0
        if self._console.is_terminal:
            self._live.start()

    def ended(self, trial: EndedTrial) -> None:
        """Count a trial's end and, where nothing is redrawn, print it."""
        self._count(trial)
        state = trial.end.state
        value = f" {self._spec.metrics[0].name} {trial.values[0]:.4f}" if trial.values else ""
        reason = "" if state is State.COMPLETE else f" ({trial.end.reason})"
        line = f"trial {trial.number} {state.lower()}{value}{reason}"
        if self._console.is_terminal:
            if state is State.FAIL:
                self._console.print(Text(line, style="red"))
        else:
            self.notify(f"{line} | {self._summary()}")

    def notify(self, sentence: str) -> None:
        """Print one sentence above the progress line."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """Stop drawing."""
        if self._live.is_started:
            self._live.stop()

    def _count(self, trial: EndedTrial) -> None:
        if trial.end.state is State.RETRIED:
            return
        self._counts[trial.end.state] += 1
        self._new += 1
        sign = self._spec.metrics[0].sign
        if trial.end.state is State.COMPLETE and trial.values and trial.of is None:
            candidate = (sign * trial.values[0], -trial.number)
            self._best = max(self._best or candidate, candidate)

    def _summary(self) -> str:
        ledger = self._ledger
        running = len(ledger.running) if ledger else 0
        done = sum(self._counts.values())
        missing = self._spec.num_trials - self._due  # points that a grid does not have
        left = running + max(0, ledger.left - missing) if ledger else 0
        whole = max(self._due, done + left if self._spec.seeds else done)
        parts = [
            f"{done}/{whole} done",
            f"{running} running",
            f"{self._counts[State.PRUNED]} pruned",
        ]
        if self._counts[State.FAIL]:
            parts.append(f"{self._counts[State.FAIL]} failed")
        if self._best:
            sign = self._spec.metrics[0].sign
            parts.append(f"best {sign * self._best[0]:.4f} (trial {-self._best[1]})")
        if self._new and left:
            seconds = (time.monotonic() - self._started) / self._new * left
            parts.append(f"about {timedelta(seconds=round(seconds))} left")
        return ", ".join(parts)

    def _render(self) -> Text:
        text = Text.assemble((self._spec.name, "bold"), " ", self._summary())
        for trial in list(self._ledger.running.values() if self._ledger else ())[:_STATUS_SHOWN]:
            status = trial.files.status() or f"report {trial.num_valued}{self._of(trial)}"
            best = f", best {trial.best[0]:.4f}" if trial.best else ""
            text.append(f"\n  trial {trial.asked.number}: {status}{best}", style="dim")
        return text

    def _of(self, trial: RunningTrial) -> str:
        reports = self._ledger and self._ledger.study.space.reports
        whole = reports(trial.asked.values) if reports else None
        return f" of {whole}" if whole else ""


def result(
    console: Console, spec: SweepSpec, table: Sequence[Row], closing: str | None, look_further: Sequence[str]
) -> None:
    """Print the best trials, the test metrics of the winner and how to look further."""
    counts = Counter(row.state for row in table if not row.earlier)
    words = [f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state]]
    known = sum(bool(row.earlier) for row in table)
    ended = ", ".join([*words, *([f"{known} of earlier sweeps"] if known else [])])
    heading = f"\n[bold]{escape(spec.name)}[/bold]: {ended or 'no trial'}" + (
        f" ({escape(closing)})" if closing else ""
    )
    console.print(heading, highlight=False, soft_wrap=True)
    complete = [row for row in table if row.state is State.COMPLETE]
    if complete and len(spec.metrics) > 1:
        console.print(_trial_table(spec, [row for row in complete if row.best], "Pareto front"))
    elif complete:
        console.print(_trial_table(spec, complete[:_SHOWN], "best trials"))
        best = complete[0]
        if best.test:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in sorted(best.test.items()) if "/mrr_" not in name)
            console.print(f"test, once, at the best validation step of trial {best.label}: {shown}", highlight=False)
    for row in [row for row in table if row.state is State.FAIL][:_SHOWN]:
        console.print(Text(f"trial {row.number} failed: {row.reason}", style="red"), soft_wrap=True)
    for line in look_further:
        _sentence(console, line)


def comparison(console: Console, table: Comparison) -> None:
    """Print one line per cell: its best setting on validation, its test values beside published ones."""
    shared = {} if len(table.cells) + len(table.printed) < 2 else _shared(table)
    if table.cells:
        console.print(_comparison_table(table, [name for name in table.by if name not in shared]))
    if shared:
        _sentence(console, f"all cells: {', '.join(f'{name} {value}' for name, value in shared.items())}")
    if any(cell.published for cell in table.cells):
        console.print("second line of a cell: as published, and how far ours lies from it", highlight=False)
    for cell in table.cells:
        if cell.note:
            _sentence(console, f"published {table.label(cell)}: {cell.note}")
    for note in table.notes:
        _sentence(console, note)


def pairs(console: Console, tests: PairedTests, file: str) -> None:
    """Print the paired tests between cells and what is left out; all of them are in `file`."""
    if tests.pairs:
        console.print(_pairs_table(tests))
    if len(tests.pairs) > _PAIRS_SHOWN:
        _sentence(console, f"{len(tests.pairs) - _PAIRS_SHOWN} more pairs: {file}")
    for reason in tests.left_out:
        _sentence(console, reason)


def files(console: Console, paths: Sequence[Path]) -> None:
    """Print where things were written."""
    _sentence(console, f"written: {', '.join(map(str, paths))}")


def pictures(console: Console, paths: Sequence[Path]) -> None:
    """Print where the page and the pictures are."""
    pages = [str(path) for path in paths if path.suffix == ".html" and path.parent.name != PICTURES]
    folders = list(dict.fromkeys(f"{path.parent}/" for path in paths if path.parent.name == PICTURES))
    if paths:
        _sentence(console, f"drawn: {', '.join([*pages, *folders])}")


def status(console: Console, found: Status) -> None:
    """Print how a sweep stands."""
    counts = ", ".join(f"{count} {state}" for state, count in found.trials.items()) or "none"
    lines = [("sweep", f"{found.sweep}: {found.state}"), ("driver", found.driver or "none"),
             ("trials", f"{counts}, of {found.due}")]  # fmt: skip
    if found.best:
        value = f"{found.metric} {found.best['value']:.4f}"
        lines.append(("best", f"trial {found.best['trial']}, {value}: {_setting_text(found.best['setting'])}"))
    for each in found.running:
        whole = f" of {each.whole}" if each.whole else ""
        value = f", {found.metric} {each.value:.4f}" if each.value is not None else ""
        doing = f" ({each.doing})" if each.doing else ""
        lines.append(
            (f"trial {each.trial}", f"report {each.reports}{whole}{value}: {_setting_text(each.setting)}{doing}")
        )
    lines += [(f"trial {each['trial']}", f"failed: {each['reason']}") for each in found.failures]
    if found.seconds_left is not None:
        lines.append(("left", f"about {timedelta(seconds=round(found.seconds_left))}"))
    lines += [("see" if not index else "", name) for index, name in enumerate(found.files)]
    plan(console, lines)


def _setting_text(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in setting.items()) or "no swept parameter"


def plan(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Print the plan of a sweep, one aspect per line."""
    grid = Table.grid(padding=(0, 2))
    for name, value in lines:
        grid.add_row(Text(name, style="bold"), Text(value))
    console.print(grid)


def _trial_table(spec: SweepSpec, complete: Sequence[Row], title: str) -> Table:
    swept = list(dict.fromkeys(name for row in complete for name in row.swept))
    table = Table(title=title)
    table.add_column("trial", justify="right")
    for metric in spec.metrics:
        table.add_column(metric.name, justify="right")
    for name in swept:
        table.add_column(name)
    for row in complete:
        objective = [f"{value:.4f}" for value in row.objective or ()]
        table.add_row(row.label, *objective, *(_cell(row.swept.get(name, "")) for name in swept))
    return table


def _shared(table: Comparison) -> dict[str, str]:
    """The parameters in which no two cells differ, with their value."""
    lines = [*(cell.by for cell in table.cells), *(line.by for line in table.printed)]
    values = {name: {as_text(by.get(name)) for by in lines} for name in table.by}
    return {name: next(iter(texts)) for name, texts in values.items() if len(texts) == 1}


def _comparison_table(shown: Comparison, by: Sequence[str]) -> Table:
    table = Table(title="test values of each cell's best setting on validation, mean ± deviation over seeds")
    named_alike = len({tuple(as_text(cell.by.get(name)) for name in by) for cell in shown.cells}) < len(shown.cells)
    for name in [*(["sweep"] if named_alike else []), *by]:
        table.add_column(name)
    metrics = shown_metrics(shown)
    epochs = ["epochs"] if any(cell.effort.epochs for cell in shown.cells) else []
    for name in ("seeds", "settings", *epochs, shown.objective, *metrics):
        table.add_column(name, justify="right")
    for cell in shown.cells:
        named = [cell.sweep] if named_alike else []
        named += [as_text(cell.by.get(name)) for name in by]
        counts = [str(len(cell.trials)), str(cell.settings), *(str(cell.effort.epochs) for _ in epochs)]
        values = [spread_text(cell.objective), *(_beside_published(cell, name) for name in metrics)]
        table.add_row(*map(escape, [*named, *counts, *values]))
    for printed in shown.printed:
        named = [printed.sweep] if named_alike else []
        named += [as_text(printed.by.get(name)) for name in by]
        values = [number(printed.published[name]) if name in printed.published else "" for name in metrics]
        table.add_row(*map(escape, [*named, "", "published", *("" for _ in epochs), "", *values]), style="dim")
    return table


def _pairs_table(tests: PairedTests) -> Table:
    first = tests.pairs[0]
    table = Table(title=f"paired differences of test/ndcg_{tests.k}, {first.rows} rows of {first.users} users")
    if len({(pair.rows, pair.users) for pair in tests.pairs}) > 1:
        table.title = f"paired differences of test/ndcg_{tests.k}"
    table.add_column("first")
    table.add_column("second")
    tested = sum(pair.p is not None for pair in tests.pairs)
    for name in ("first - second", f"{LEVEL:.0%} interval", "p", f"p, Holm over {tested}", "p, Wilcoxon", "rows"):
        table.add_column(name, justify="right")
    for pair in tests.pairs[:_PAIRS_SHOWN]:
        interval = f"{pair.low:+.4f} to {pair.high:+.4f}"
        values = ("-" if p is None else f"{p:.2g}" for p in (pair.p, pair.p_holm, pair.p_wilcoxon))
        numbers = [f"{pair.difference:+.4f}", interval, *values, str(pair.rows)]
        table.add_row(escape(pair.first), escape(pair.second), *numbers)
    return table


def _beside_published(cell: Cell, name: str) -> str:
    ours, published = cell.metrics.get(name), cell.published.get(name)
    lines = [spread_text(ours) if ours else ""]
    if published is not None:
        percent = difference(ours, published)
        lines.append(number(published) + ("" if percent is None else f" {percent:+.1f}%"))
    return "\n".join(lines)


def _sentence(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


_WORDS = {
    State.COMPLETE: "complete",
    State.PRUNED: "pruned",
    State.FAIL: "failed",
    State.RETRIED: "retried",
    State.CANCELLED: "cancelled",
    State.RUNNING: "unfinished",
}
