"""A trial's end: three facts that JSON holds, and the states that end a trial for good."""

import pytest

from platform.storage.trial_end import State, TrialEnd


def test_an_end_comes_back_from_its_json():
    end = TrialEnd(State.PRUNED, "early stopping (asha) at report 2", 5.0)
    record = end.to_json()
    assert record == {"state": "PRUNED", "reason": "early stopping (asha) at report 2", "time": 5.0}
    assert type(record["state"]) is str
    assert TrialEnd.from_json(record) == end
    with pytest.raises(ValueError, match="'KILLED' is not a valid State"):
        TrialEnd.from_json({**record, "state": "KILLED"})


def test_a_trial_that_runs_or_is_interrupted_has_no_final_state():
    assert [state for state in State if not state.is_final] == ["RUNNING", "INTERRUPTED"]
