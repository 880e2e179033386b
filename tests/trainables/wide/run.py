"""Report; see config.py."""

import time
from typing import Any

from tests.trainables.wide.config import METRICS
from trainables.trial import Trial


def run(config: Any, trial: Trial) -> None:
    """Wait, then report all metrics, at each step."""
    for step in range(1, config.steps + 1):
        time.sleep(config.work)
        trial.report(step, line(config.x, step))


def line(x: float, step: int) -> dict[str, float]:
    """The metrics of a step."""
    return {name: x / (step + index) for index, name in enumerate(METRICS)}
