"""The learning rate of each optimiser step."""

from typing import Literal

import pytest

from trainables.language.engines.schedule import learning_rate_at


def rates(schedule: Literal["linear", "cosine", "constant"], steps: int = 6, warm_up: int = 2) -> list[float]:
    return [learning_rate_at(s, peak=1.0, steps=steps, warm_up=warm_up, schedule=schedule) for s in range(steps)]


def test_it_rises_to_the_peak_in_the_last_step_of_the_warm_up_and_never_takes_a_step_of_nothing():
    assert rates("linear")[:2] == [0.5, 1.0]
    assert min(rates("linear")) > 0


def test_it_then_falls_linearly_as_a_cosine_or_not_at_all():
    assert rates("linear")[2:] == [1.0, 0.75, 0.5, 0.25]
    assert rates("cosine")[2:] == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert rates("constant")[2:] == [1.0] * 4


def test_without_a_warm_up_it_begins_at_the_peak():
    assert rates("linear", steps=4, warm_up=0) == [1.0, 0.75, 0.5, 0.25]


def test_a_warm_up_longer_than_the_training_only_rises():
    assert rates("linear", steps=3, warm_up=6) == pytest.approx([1 / 6, 2 / 6, 3 / 6])
