"""A comparison as the table of a paper: in LaTeX, Markdown or CSV. The best value is bold, the second underlined."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from platform.analysis import comparison
from platform.analysis.comparison import Cell, Comparison, Spread
from platform.analysis.pairs import PairedTests
from platform.sweepfile.published import as_text

Format = Literal["latex", "markdown", "csv"]
SIGNIFICANT = 0.05
"""p below which a difference is marked."""

SIDE = re.compile(r"test/(mrr|coverage|popularity)_")
"""Test metrics that a screen has no room for; `results.csv` and MLflow have them."""
_OF_ALL_ROWS = re.compile(rf"(?!{SIDE.pattern})test/[a-z]+_\d+")
"""Test metrics of a whole split; with those of groups of rows a table would be too wide to read."""
_MORE_IS_BETTER = re.compile(r"test/(hr|ndcg|mrr|coverage)_\d+")
_DATA = "data.name"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
}
_LATEX |= {mark: f"\\{mark}" for mark in "&%$#_{}"} | {mark: f"${mark}$" for mark in "<>|"}


@dataclass(frozen=True)
class Entry:
    """One field of the table. `place` is 1 for the best value of its column, 2 for the second, else 0."""

    text: str
    place: int = 0
    is_significant: bool = False


@dataclass(frozen=True)
class PaperTable:
    """The table of a paper: its heads, its lines, and all that a reader must know of it."""

    head: tuple[str, ...]
    lines: tuple[tuple[Entry, ...], ...]
    caption: str
    named: int
    """Columns at the left that name a line; the others hold numbers."""


def shown_metrics(compared: Comparison) -> list[str]:
    """Metrics of a table that one can read: the main ones of all test rows, and those that were published."""
    published = {name for cell in compared.cells for name in cell.published}
    return [name for name in compared.metrics if _OF_ALL_ROWS.fullmatch(name) or name in published]


def paper_table(compared: Comparison, tests: PairedTests) -> PaperTable:
    """The comparison with means, deviations over seeds, printed values and marks."""
    lines = [cell.by for cell in compared.cells] + [line.by for line in compared.printed]
    texts = {name: [as_text(line.get(name)) for line in lines] for name in compared.by}
    by = [name for name in compared.by if len(set(texts[name])) > 1] or list(compared.by)
    alike = len({tuple(as_text(cell.by.get(name)) for name in by) for cell in compared.cells}) < len(compared.cells)
    metrics = shown_metrics(compared)
    body = []
    for cell in compared.cells:
        named = [*([cell.sweep] if alike else []), *(as_text(cell.by.get(name)) for name in by)]
        entries = [_entry(compared, tests, cell, name) for name in metrics]
        body.append((*map(Entry, [*named, str(len(cell.trials))]), *entries))
    for line in compared.printed:
        named = [*([line.sweep] if alike else []), *(as_text(line.by.get(name)) for name in by)]
        entries = [Entry(f"({line.published[name]:.4f})" if name in line.published else "") for name in metrics]
        body.append((*map(Entry, [*named, ""]), *entries))
    head = (*(["sweep"] if alike else []), *by, "seeds", *metrics)
    return PaperTable(head, tuple(body), _caption(compared, tests, by), len(head) - len(metrics))


def render(compared: Comparison, tests: PairedTests, form: Format) -> str:
    """The table as text of one format; CSV holds every number in full, without marks."""
    if form == "csv":
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(comparison.lines(compared))
        return stream.getvalue()
    table = paper_table(compared, tests)
    return _latex(table) if form == "latex" else _markdown(table)


def number(value: float) -> str:
    """Four decimals, as the papers print; fewer where a value is large (seconds, parameters)."""
    size = abs(value)
    return f"{value:.4f}" if size < 10 else f"{value:.2f}" if size < 10_000 else f"{value:,.0f}"


def spread_text(spread: Spread) -> str:
    """A mean with its deviation, where there is one."""
    return number(spread.mean) + ("" if spread.deviation is None else f" ±{number(spread.deviation)}")


def _entry(compared: Comparison, tests: PairedTests, cell: Cell, name: str) -> Entry:
    spread, printed = cell.metrics.get(name), cell.published.get(name)
    text = number(spread.mean) if spread else ""
    text += f" ± {number(spread.deviation)}" if spread and spread.deviation is not None else ""
    text += f" ({number(printed)})" if printed is not None else ""
    if spread is None or not _MORE_IS_BETTER.fullmatch(name):
        return Entry(text)
    group = [c for c in compared.cells if name in c.metrics and c.by.get(_DATA) == cell.by.get(_DATA)]
    ordered = sorted({c.metrics[name].mean for c in group}, reverse=True)
    place = ordered.index(spread.mean) + 1 if len(group) > 1 else 0
    is_best = place == 1 and name == f"test/ndcg_{tests.k}"
    return Entry(text, place if place < 3 else 0, is_best and _differs(compared, tests, cell, ordered))


def _differs(compared: Comparison, tests: PairedTests, best: Cell, ordered: Sequence[float]) -> bool:
    """True if the best cell differs from each cell with the second value."""
    name = f"test/ndcg_{tests.k}"
    seconds = {compared.label(c) for c in compared.cells if name in c.metrics and c.metrics[name].mean in ordered[1:2]}
    label = compared.label(best)
    p = [
        pair.p_holm
        for pair in tests.pairs
        if label in (pair.first, pair.second) and {pair.first, pair.second} & seconds
    ]
    return bool(p) and all(each is not None and each < SIGNIFICANT for each in p)


def _caption(compared: Comparison, tests: PairedTests, by: Sequence[str]) -> str:
    same = [f"{name} {as_text(compared.cells[0].by.get(name))}" for name in compared.by if name not in by]
    tested = sum(pair.p is not None for pair in tests.pairs)
    parts = [
        f"Test values of each line's best setting by {compared.objective}, mean ± standard deviation over seeds"
        + (f", for {', '.join(same)}." if same else "."),
        "The best value of a data set is bold, the second underlined.",
    ]
    if tested:
        parts.append(
            f"*: differs from the second in test/ndcg_{tests.k} with p < {SIGNIFICANT:g} (paired randomisation test "
            f"over users, corrected by Holm over {tested})."
        )
    if compared.printed or any(cell.published for cell in compared.cells):
        parts.append("Published values stand in parentheses.")
    return " ".join([*parts, *(f"{note}." for note in compared.notes)])


def _latex(table: PaperTable) -> str:
    def field(entry: Entry) -> str:
        text = latex_text(entry.text)
        wrapped = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(entry.place, text)
        return wrapped + (r"\textsuperscript{*}" if entry.is_significant else "")

    columns = "l" * table.named + "r" * (len(table.head) - table.named)
    rows = [" & ".join(map(latex_text, table.head)), *(" & ".join(map(field, line)) for line in table.lines)]
    head, *body = (rf"{row} \\" for row in rows)
    parts = [r"\begin{table}", r"\centering", rf"\caption{{{latex_text(table.caption)}}}"]
    parts += [rf"\begin{{tabular}}{{{columns}}}", r"\hline", head, r"\hline", *body, r"\hline"]
    return "\n".join([*parts, r"\end{tabular}", r"\end{table}", ""])


def latex_text(text: str) -> str:
    """Text with every special character of LaTeX, and Greek letters, as LaTeX writes them."""
    return "".join(_LATEX.get(mark) or _greek(mark) for mark in " ".join(text.split()))


def _greek(mark: str) -> str:
    words = unicodedata.name(mark, "").split()
    is_letter = words[:1] == ["GREEK"] and words[2:3] == ["LETTER"] and len(words) == 4
    name = words[3].lower().replace("lamda", "lambda") if is_letter else ""
    return f"$\\{name.capitalize() if words[1] == 'CAPITAL' else name}$" if is_letter else mark


def _markdown(table: PaperTable) -> str:
    def field(entry: Entry) -> str:
        text = _escaped(entry.text)
        return {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(entry.place, text) + ("\\*" if entry.is_significant else "")

    rule = ["---"] * table.named + ["---:"] * (len(table.head) - table.named)
    rows: list[Sequence[Any]] = [[*map(_escaped, table.head)], rule, *([*map(field, line)] for line in table.lines)]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", _escaped(table.caption), ""])


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
