"""The learning rate of each optimiser step."""

import math
from typing import Literal


def learning_rate_at(
    step: int, *, peak: float, steps: int, warm_up: int, schedule: Literal["linear", "cosine", "constant"]
) -> float:
    """The learning rate of optimiser step ``step``, counted from 0.

    It rises linearly to ``peak``, which the last step of the warm-up has, and then falls to zero after ``steps``. Steps
    after the last one keep the last one's.

    Args:
        step: optimiser steps done before.
        peak: the largest.
        steps: optimiser steps of the training.
        warm_up: steps of the rise.
        schedule: how it falls.
    """
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if schedule == "constant":
        return peak
    left = max(1, steps - max(step, warm_up)) / max(1, steps - warm_up)
    return peak * (left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)
