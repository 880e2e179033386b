"""The results of a sweep as a person reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from platform.analysis.comparison import Cell, Comparison, difference
from platform.analysis.page import PICTURES
from platform.analysis.pairs import LEVEL, PairedTests
from platform.analysis.screen import cell_text, fitting, head, running_text, sentence, setting_text
from platform.analysis.status import Status
from platform.analysis.tables import SIDE, number, shown_metrics, spread_text
from platform.analysis.trials import Row
from platform.storage.trial_end import State
from platform.sweepfile.published import as_text
from platform.sweepfile.spec import SweepSpec

_SHOWN = 5
_PAIRS_SHOWN = 60


def result(
    console: Console, spec: SweepSpec, table: Sequence[Row], closing: str | None, look_further: Sequence[str]
) -> None:
    """Print the best trials, the test metrics of the winner and how to look further."""
    counts = Counter(row.state for row in table if not row.earlier)
    words = [f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state]]
    known = sum(bool(row.earlier) for row in table)
    ended = ", ".join([*words, *([f"{known} of earlier sweeps"] if known else [])])
    console.print()
    sentence(console, f"{spec.name}: {ended or 'no trial'}{f' ({closing})' if closing else ''}", bold=spec.name)
    complete = [row for row in table if row.state is State.COMPLETE]
    if complete and len(spec.metrics) > 1:
        _print_trials(console, spec, [row for row in complete if row.best], "Pareto front")
    elif complete:
        _print_trials(console, spec, complete[:_SHOWN], "best trials")
        best = complete[0]
        if best.test:
            shown = "  ".join(
                f"{name} {value:.4f}" for name, value in sorted(best.test.items()) if not SIDE.match(name)
            )
            console.print(f"test, once, at the best validation step of trial {best.label}: {shown}", highlight=False)
    for row in [row for row in table if row.state is State.FAIL][:_SHOWN]:
        sentence(console, f"trial {row.number} failed: {row.reason}", style="red")
    for line in look_further:
        sentence(console, line)


def comparison(console: Console, table: Comparison) -> None:
    """Print one line per cell: its best setting on validation, its test values beside published ones."""
    shared = {} if len(table.cells) + len(table.printed) < 2 else _shared(table)
    if table.cells:
        _print_comparison(console, table, [name for name in table.by if name not in shared])
    if shared:
        sentence(console, f"all cells: {', '.join(f'{name} {value}' for name, value in shared.items())}")
    if any(cell.published for cell in table.cells):
        sentence(console, "as published: the printed value, and how far ours lies from it")
    for cell in table.cells:
        if cell.note:
            sentence(console, f"published {table.label(cell)}: {cell.note}")
    for note in table.notes:
        sentence(console, note)


def pairs(console: Console, tests: PairedTests, file: str) -> None:
    """Print the paired tests between cells and what is left out; all of them are in `file`."""
    if tests.pairs:
        _print_pairs(console, tests)
    if len(tests.pairs) > _PAIRS_SHOWN:
        sentence(console, f"{len(tests.pairs) - _PAIRS_SHOWN} more pairs: {file}")
    for reason in tests.left_out:
        sentence(console, reason)


def files(console: Console, paths: Sequence[Path]) -> None:
    """Print where things were written."""
    sentence(console, f"written: {', '.join(map(str, paths))}")


def pictures(console: Console, paths: Sequence[Path]) -> None:
    """Print where the page and the pictures are."""
    pages = [str(path) for path in paths if path.suffix == ".html" and path.parent.name != PICTURES]
    folders = list(dict.fromkeys(f"{path.parent}/" for path in paths if path.parent.name == PICTURES))
    if paths:
        sentence(console, f"drawn: {', '.join([*pages, *folders])}")


def status(console: Console, found: Status) -> None:
    """Print how a sweep stands."""
    counts = ", ".join(f"{count} {state}" for state, count in found.trials.items()) or "none"
    lines = [("sweep", f"{found.sweep}: {found.state}"), ("driver", found.driver or "none"),
             ("trials", f"{counts}, of {found.due}")]  # fmt: skip
    if found.best:
        value = f"{found.metric} {found.best['value']:.4f}"
        lines.append(("best", f"trial {found.best['trial']}, {value}: {setting_text(found.best['setting'])}"))
    for each in found.running:
        text = running_text(each.reports, each.whole, found.metric, each.value, each.setting, each.doing)
        lines.append((f"trial {each.trial}", text))
    lines += [(f"trial {each['trial']}", f"failed: {each['reason']}") for each in found.failures]
    if found.seconds_left is not None:
        lines.append(("left", f"about {timedelta(seconds=round(found.seconds_left))}"))
    lines += [("see" if not index else "", name) for index, name in enumerate(found.files)]
    plan(console, lines)


def plan(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Print the plan of a sweep, one aspect per line."""
    grid = Table.grid(padding=(0, 2))
    for name, value in lines:
        grid.add_row(Text(name, style="bold"), Text(value))
    console.print(grid)


def _print_trials(console: Console, spec: SweepSpec, complete: Sequence[Row], title: str) -> None:
    swept = list(dict.fromkeys(name for row in complete for name in row.swept))
    texts = [{name: cell_text(row.swept.get(name, "")) for name in swept} for row in complete]
    same = {name: texts[0][name] for name in swept if len({text[name] for text in texts}) == 1}

    def build(shown: Collection[str], is_narrow: bool) -> Table:
        table = Table(title=title)
        for name in ("trial", *(metric.name for metric in spec.metrics)):
            table.add_column(head(name, is_narrow), justify="right", no_wrap=True)
        for name in shown:
            table.add_column(head(name, is_narrow), no_wrap=True)
        for row, text in zip(complete, texts, strict=True):
            objective = [f"{value:.4f}" for value in row.objective or ()]
            table.add_row(row.label, *objective, *(escape(text[name]) for name in shown))
        return table

    table, left_out = fitting(console, build, swept, same)
    console.print(table)
    if alike := {name: same[name] for name in left_out if name in same}:
        sentence(console, f"alike in all of these: {setting_text(alike)}")
    if rest := [name for name in left_out if name not in same]:
        sentence(console, f"no room here, but in results.csv: {', '.join(rest)}")


def _shared(table: Comparison) -> dict[str, str]:
    """The parameters in which no two cells differ, with their value."""
    lines = [*(cell.by for cell in table.cells), *(line.by for line in table.printed)]
    values = {name: {as_text(by.get(name)) for by in lines} for name in table.by}
    return {name: next(iter(texts)) for name, texts in values.items() if len(texts) == 1}


def _print_comparison(console: Console, shown: Comparison, by: Sequence[str]) -> None:
    named_alike = len({tuple(as_text(cell.by.get(name)) for name in by) for cell in shown.cells}) < len(shown.cells)
    metrics = shown_metrics(shown)
    epochs = ["epochs"] if any(cell.effort.epochs for cell in shown.cells) else []
    order = ("seeds", "settings", *epochs, shown.objective, *metrics)
    counts = {str(len(cell.trials)) for cell in shown.cells}, {str(cell.settings) for cell in shown.cells}
    same = [name for name, texts in zip(("seeds", "settings"), counts, strict=True) if len(texts) == 1]

    def build(chosen: Collection[str], is_narrow: bool) -> Table:
        table = Table(title="test values of each cell's best setting on validation, mean ± deviation over seeds")
        for name in [*(["sweep"] if named_alike else []), *by]:
            table.add_column(head(name, is_narrow), no_wrap=True)
        for name in [name for name in order if name in chosen]:
            table.add_column(head(name, is_narrow), justify="right", no_wrap=True)
        for cell in shown.cells:
            texts = {"seeds": str(len(cell.trials)), "settings": str(cell.settings), "epochs": str(cell.effort.epochs)}
            texts |= {shown.objective: spread_text(cell.objective)}
            texts |= {name: _beside_published(cell, name) for name in metrics}
            named = [*([cell.sweep] if named_alike else []), *(as_text(cell.by.get(name)) for name in by)]
            if cell.published and named:
                named[-1] += "\n  as published"
            table.add_row(*map(escape, [*named, *(texts[name] for name in order if name in chosen)]))
        for printed in shown.printed:
            texts = {name: number(value) for name, value in printed.published.items()}
            named = [*([printed.sweep] if named_alike else []), *(as_text(printed.by.get(name)) for name in by)]
            named[-1:] = [f"{name}, published" for name in named[-1:]]
            row = [*named, *(texts.get(name, "") for name in order if name in chosen)]
            table.add_row(*map(escape, row), style="dim")
        return table

    twin = f"test/{shown.objective.partition('/')[2]}"
    first = sorted(metrics, key=lambda name: name != twin)
    important = [*first[:1], shown.objective, *first[1:], "settings", "seeds", *epochs]
    table, left_out = fitting(console, build, important, same)
    console.print(table)
    if shown.printed:
        sentence(console, "rows marked published: printed for a method that did not run here")
    if left_out:
        sentence(console, f"no room here, but in comparison.csv: {', '.join(left_out)}")


def _print_pairs(console: Console, tests: PairedTests) -> None:
    first = tests.pairs[0]
    rows = f", {first.rows} rows of {first.users} users"
    is_one = len({(pair.rows, pair.users) for pair in tests.pairs}) == 1
    tested = sum(pair.p is not None for pair in tests.pairs)
    difference, interval, holm = "first - second", f"{LEVEL:.0%} interval", f"p, Holm over {tested}"
    order = (difference, interval, "p", holm, "p, Wilcoxon", "rows")

    def build(chosen: Collection[str], is_narrow: bool) -> Table:
        table = Table(title=f"paired differences of test/ndcg_{tests.k}{rows if is_one else ''}")
        for name in ("first", "second"):
            table.add_column(name, no_wrap=True)
        for name in [name for name in order if name in chosen]:
            table.add_column(name, justify="right", no_wrap=True)
        for pair in tests.pairs[:_PAIRS_SHOWN]:
            texts = {difference: f"{pair.difference:+.4f}", interval: f"{pair.low:+.4f} to {pair.high:+.4f}"}
            for name, p in (("p", pair.p), (holm, pair.p_holm), ("p, Wilcoxon", pair.p_wilcoxon)):
                texts[name] = "-" if p is None else f"{p:.2g}"
            texts["rows"] = str(pair.rows)
            cells = (each.replace(", ", ",\n") if is_narrow else each for each in (pair.first, pair.second))
            table.add_row(*map(escape, cells), *(texts[name] for name in order if name in chosen))
        return table

    table, left_out = fitting(console, build, (difference, holm, interval, "p", "rows", "p, Wilcoxon"), ())
    console.print(table)
    if left_out:
        sentence(console, f"no room here, but in pairs.csv: {', '.join(left_out)}")


def _beside_published(cell: Cell, name: str) -> str:
    ours, published = cell.metrics.get(name), cell.published.get(name)
    lines = [spread_text(ours) if ours else ""]
    if published is not None:
        percent = difference(ours, published)
        lines.append(number(published) + ("" if percent is None else f" {percent:+.1f}%"))
    return "\n".join(lines)


_WORDS = {
    State.COMPLETE: "complete",
    State.PRUNED: "pruned",
    State.FAIL: "failed",
    State.RETRIED: "retried",
    State.CANCELLED: "cancelled",
    State.RUNNING: "unfinished",
}
