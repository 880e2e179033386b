"""Tables of numbers among a trial's artifacts, which the driver draws."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_curves(path: Path, axis: tuple[str, np.ndarray], curves: Mapping[str, np.ndarray]) -> None:
    """Write a CSV: the axis first, then one column per curve.

    Args:
        path: the file.
        axis: name and values of the horizontal axis, such as ``("bucket", [1, 2, ...])``.
        curves: name -> values, as many as the axis has.
    """
    name, values = axis
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((name, *curves))
        lines = zip(values, *curves.values(), strict=True)
        writer.writerows([f"{value:.6g}" for value in line] for line in lines)
