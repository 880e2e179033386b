"""Sentences and tables on a terminal of any width: nothing is broken in the middle of a word."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_COMMAND = re.compile(r"(.*?: |)((?:python -m|mlflow ui|optuna-dashboard) [^()]*)( \(.*\))?", re.DOTALL)
_GOES_ON = " \\\n"  # a shell reads the next line as the same command
_ENDLESS = 10_000  # columns of a terminal on which nothing is broken


def sentence(console: Console, text: str, style: str = "", bold: str = "") -> None:
    """Print a sentence. A terminal gets it in lines of whole words, and a command in lines that can be pasted.

    Args:
        console: where to.
        text: the sentence, which is no markup.
        style: of the whole sentence.
        bold: its first words, which stand out.
    """
    words = Text(_whole_words(text, console.width) if console.is_terminal else text, style=style)
    words.stylize("bold", 0, len(bold))
    console.print(words, highlight=False, soft_wrap=True)


@contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Say what a command does that takes seconds: on a terminal until it is done, elsewhere in a line."""
    if console.is_terminal:
        spinner = Spinner("dots", text=what)
        with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
            yield  # what others print goes where it went before
    else:
        sentence(console, what)
        yield


def _whole_words(text: str, width: int) -> str:
    """A sentence in lines; a command that does not fit beside its words gets lines of its own."""
    if len(text) <= width:
        return text
    if found := _COMMAND.fullmatch(text):
        words = _wrapped(f"{found[1].strip()}{found[3] or ''}", width, "\n")
        return f"{words}\n{_wrapped(found[2], width, _GOES_ON)}"
    return "\n".join(_wrapped(line, width, "\n") for line in text.split("\n"))


def _wrapped(line: str, width: int, end: str) -> str:
    parts = textwrap.wrap(line, width - 2, break_long_words=False, break_on_hyphens=False)
    return end.join(parts) if parts and len(line) > width else line


def setting_text(setting: Mapping[str, Any]) -> str:
    """A setting in a line."""
    return ", ".join(f"{name} {cell_text(value)}" for name, value in setting.items()) or "no swept parameter"


def running_text(
    reports: int, whole: int | None, metric: str, value: float | None, setting: Mapping[str, Any], doing: str
) -> str:
    """A trial that runs, in a line.

    Args:
        reports: its reports with the objective so far.
        whole: those of a whole trial, None where its trainable does not say so.
        metric: the first metric.
        value: its newest value.
        setting: the trial's.
        doing: the worker's own line.
    """
    parts = f"report {reports}{f' of {whole}' if whole else ''}", f", {metric} {value:.4f}" if value is not None else ""
    return f"{''.join(parts)}: {setting_text(setting)}{f' ({doing})' if doing else ''}"


def cell_text(value: Any) -> str:
    """A value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def fitting(
    console: Console, build: Callable[[Collection[str], bool], Table], names: Sequence[str], same: Collection[str]
) -> tuple[Table, list[str]]:
    """The fullest table that fits a console, and the columns that it leaves out.

    Args:
        console: where it is printed.
        build: makes the table of some columns, with heads in two lines or in one.
        names: the columns that may be left out, the most important first.
        same: those in which all rows are alike, which go first.
    """
    some = [name for name in names if name not in same]
    tries = [(list(names), False), (some, False), *((some[:count], True) for count in range(len(some), -1, -1))]
    for chosen, is_narrow in tries:
        table = build(chosen, is_narrow)
        if Measurement.get(console, console.options.update(width=_ENDLESS), table).maximum <= console.width:
            break
    return table, [name for name in names if name not in chosen]


def head(name: str, is_narrow: bool) -> str:
    """A dotted name as the head of a column, which may take a line for each of its parts."""
    return re.sub(r"([./])", r"\1\n", name) if is_narrow else name
