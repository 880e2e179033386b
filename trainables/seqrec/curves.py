"""Tables of numbers among a trial's artifacts, which the driver draws."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words on a picture of curves; they lie beside the CSV as a JSON file of its name."""

    title: str
    x: str
    """Horizontal axis, with its unit."""
    y: str
    """Vertical axis, with its unit."""
    caption: str
    """A sentence on how to read it, and the paper's figure."""


def write_curves(
    path: Path, axis: tuple[str, np.ndarray], curves: Mapping[str, np.ndarray], words: Words | None = None
) -> None:
    """Write a CSV: the axis first, then one column per curve.

    Args:
        path: the file.
        axis: name and values of the horizontal axis, such as ``("bucket", [1, 2, ...])``.
        curves: name -> values, as many as the axis has.
        words: title, axes and caption of its picture; without them the CSV's own names stand there.
    """
    name, values = axis
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((name, *curves))
        lines = zip(values, *curves.values(), strict=True)
        writer.writerows([f"{value:.6g}" for value in line] for line in lines)
    if words:
        path.with_suffix(".json").write_text(json.dumps(asdict(words)))
