"""A chart as plain values: panels of series on axes. Every way of drawing it starts from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Colours that the colour-blind tell apart (Okabe and Ito), and a grey for what stands behind."""
GREY = len(PALETTE) - 1
COLUMNS = 3
"""Most panels side by side."""

Numbers: TypeAlias = Sequence[float | None]
Mark: TypeAlias = Literal["line", "steps", "bar", "dots", "hollow", "cross"]
"""A `bar` is a thick line; None among the values interrupts a line, a step or a bar."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis; `labels`, where given, name the places 0, 1, ... on it."""

    title: str
    log: bool = False
    labels: tuple[str, ...] = ()
    is_whole: bool = False
    """True if only whole numbers have a meaning."""
    is_time: bool = False
    """True if the values are seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Marks of one kind. `low` and `high` are the ends of intervals along the axis `spread`."""

    name: str
    x: Numbers
    y: Numbers
    mark: Mark
    colour: int = 0
    """Place in the palette."""
    low: Numbers = ()
    high: Numbers = ()
    spread: Literal["x", "y"] = "y"
    values: Numbers = ()
    """Third coordinate, shown as shade."""
    texts: Sequence[str] = ()
    """One text per mark, shown where a picture can be pointed at."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Values over a regular grid, one row of `z` for each of `y`."""

    x: Sequence[float]
    y: Sequence[float]
    z: Sequence[Sequence[float | None]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes with what is drawn on it."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[float, ...] = ()
    """Places of vertical lines."""
    surface: Surface | None = None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture: its file's name, its title, a caption that says how to read it, and its panels."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    is_wide: bool = False
    """True if one panel needs the width of several."""

    @property
    def columns(self) -> int:
        """Panels side by side."""
        return 1 if self.is_wide else 2 if len(self.panels) == 4 else min(COLUMNS, len(self.panels))

    @property
    def rows(self) -> int:
        """Rows of panels."""
        return -(-len(self.panels) // self.columns)
