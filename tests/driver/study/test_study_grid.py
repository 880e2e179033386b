"""`method: grid`: every feasible point once, also across restarts."""

import itertools
from types import SimpleNamespace
from typing import Any

from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.study import Study

END = TrialEnd(State.COMPLETE, "finished", 1.0)
GRID = (
    "method=grid",
    "early_stopping=none",
    "num_trials=1000",
    "parameters.x={min: 0.0, max: 0.6, step: 0.1}",
    "constraints=['x <= 0.45']",
)


def opened(sweep: SimpleNamespace) -> Study:
    return Study(sweep.spec, sweep.space, sweep.folder)


def _grid_points() -> set[tuple[Any, ...]]:
    bends = [("plain", None), *(("curved", bend) for bend in range(1, 6))]
    return {(x, width, *part) for x, width, part in itertools.product((0.0, 0.1, 0.2, 0.3, 0.4), (16, 32, 64), bends)}


def _point(values: dict[str, Any]) -> tuple[Any, ...]:
    return (round(values["x"], 9), values["width"], values["part.name"], values.get("part.bend"))


def test_a_grid_is_every_feasible_point_once(sweep):
    study = opened(sweep(*GRID))
    asked = []
    while point := study.ask():
        asked.append(_point(point.values))
        study.tell(EndedTrial(point.number, END, (0.5,)))
    assert len(asked) == 90
    assert set(asked) == _grid_points()


def test_a_grid_goes_on_across_restarts_without_a_point_twice(sweep):
    here = sweep(*GRID, "initial_points=[{x: 0.3, width: 64, part.name: plain}]")
    asked: list[tuple[Any, ...]] = []
    for stop in (1, 20, 41, 1000):  # the last point before each restart is left running
        study = opened(here)
        for left in study.resume_running():
            study.tell(EndedTrial(left.number, END, (0.5,)))
        for _ in range(stop):
            point = study.ask()
            if point is None:
                break
            asked.append(_point(point.values))
            if len(asked) not in (1, 21, 62):
                study.tell(EndedTrial(point.number, END, (0.5,)))
    assert asked[0] == (0.3, 64, "plain", None)
    assert len(asked) == 90
    assert set(asked) == _grid_points()
