"""The reports of a phase, kept with its weights: whoever reads the weights reports the same lines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainables.storage import checkpoint, mirror
from trainables.storage.stages import Arrays
from trainables.trial import Metrics, Trial

STEPS, NAMES, VALUES = "curve_steps", "curve_names", "curve_values"


class Curve:
    """A trial that writes down what it reports, and keeps its checkpoints beside that.

    Who carries on the work of a trial that died, on this node or another, finds its lines, and reports those too.

    Args:
        folder: of the work that is not done.
        trial: where lines go, and everything else comes from.
    """

    def __init__(self, folder: Path, trial: Trial) -> None:
        self._trial = trial
        self._file = folder / "curve.jsonl"
        self._checkpoints = folder / "checkpoints"
        mirror.pull_file(self._file)
        lines = _read(self._file)
        if lines:  # written anew, as the crash may have torn the last one
            draft = self._file.with_suffix(".draft")
            draft.write_text("".join(_line(step, metrics) for step, metrics in lines.items()))
            draft.rename(self._file)
        for step, metrics in lines.items():
            trial.report(step, metrics)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def report(self, step: int, metrics: Metrics, last: bool = False) -> None:
        """See :meth:`Trial.report`; written down first, so that a line is never reported and then forgotten."""
        with self._file.open("a") as stream:
            stream.write(_line(step, metrics))
        mirror.push(self._file)
        self._trial.report(step, metrics)

    def save(self, state: dict[str, Any]) -> None:
        """See :meth:`Trial.save`."""
        checkpoint.save(self._checkpoints, state)

    def load(self) -> dict[str, Any] | None:
        """See :meth:`Trial.load`."""
        return checkpoint.load(self._checkpoints)

    def arrays(self) -> Arrays:
        """The lines as arrays: steps (N,), the metrics' names, and values (N, M), NaN where a line lacks one."""
        lines = _read(self._file)
        names = sorted({name for metrics in lines.values() for name in metrics})
        values_NM = np.array([[metrics.get(name, np.nan) for name in names] for metrics in lines.values()])
        return {
            STEPS: np.array(list(lines), dtype=np.int64),
            NAMES: np.frombuffer(json.dumps(names).encode(), np.uint8),
            VALUES: values_NM,
        }


def replay(result: Mapping[str, np.ndarray], trial: Trial) -> None:
    """Report the lines of a phase, to a trial that may not have trained it."""
    names = json.loads(bytes(np.asarray(result[NAMES])).decode())
    steps_N, values_NM = np.asarray(result[STEPS]), np.asarray(result[VALUES])
    for step, row in zip(steps_N, values_NM, strict=True):
        trial.report(int(step), {name: float(v) for name, v in zip(names, row, strict=True) if not np.isnan(v)})


def steps(result: Mapping[str, np.ndarray]) -> int:
    """Number of steps that a phase took, at which the next phase begins."""
    return int(np.asarray(result[STEPS])[-1])


class ReportOnce:
    """A trial that reports each step once, whoever asks for it: the training, or the replay of what it wrote down.

    Args:
        trial: where lines go, and everything else comes from.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._steps: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def report(self, step: int, metrics: Metrics, last: bool = False) -> None:
        """See :meth:`Trial.report`."""
        if step not in self._steps:
            self._steps.add(step)
            self._trial.report(step, metrics)


def _line(step: int, metrics: Metrics) -> str:
    return json.dumps({"step": step, "metrics": dict(metrics)}) + "\n"


def _read(file: Path) -> dict[int, dict[str, float]]:
    """Lines by step, in order; of a step reported twice, after a crash before its checkpoint, the last one.

    Training is the same each time, so that both say the same.
    """
    if not file.exists():
        return {}
    lines: dict[int, dict[str, float]] = {}
    for text in file.read_text().splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:  # torn by the crash
            continue
        lines[line["step"]] = line["metrics"]
    return lines
