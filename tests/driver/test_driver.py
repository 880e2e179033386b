"""The end of a run in words."""

import pytest

from platform.driver import left_of_grid
from platform.storage.trial_end import EndedTrial, State, TrialEnd


@pytest.mark.parametrize(
    ("rows", "left"),
    [(2, None), (3, "1 of the grid's points are left"), (1002, "1000 or more of the grid's points are left")],
)
def test_points_of_a_grid_that_num_trials_leaves_are_counted(sweep, opened, rows, left):
    x = f"parameters={{x: {{min: 0.0, max: {(rows - 1) / 1024}, step: {1 / 1024}}}}}"
    study = opened(sweep("method=grid", "num_trials=2", "constraints=[]", x))
    for _ in range(2):
        asked = study.ask()
        study.tell(EndedTrial(asked.number, TrialEnd(State.COMPLETE, "finished", 1.0), (0.5,)))
    told = left_of_grid(study)
    assert told == (left and f"{left}; raise num_trials")


def test_another_method_has_no_points_that_are_left(sweep, opened):
    assert left_of_grid(opened(sweep("num_trials=1"))) is None
