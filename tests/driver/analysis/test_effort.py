"""The effort of each cell: every trial counts, whatever became of it, and unequal effort is said."""

from collections import Counter

from platform.analysis.effort import Effort, Key, efforts, notes
from platform.storage.trial_end import State, TrialEnd
from platform.sweepfile.spec import load
from platform.tracking.journal import TrialFiles


def trial(folder, number, shape, reports, state, search=None, seconds=10.0):
    files = TrialFiles(folder, number)
    files.begin({"x": 0.5, "part.name": shape, "seed": 0}, "study", search)
    for step in range(1, reports + 1):
        files.append(step, {"train/loss": 1.0} if step == 1 else {"valid/ndcg_10": 0.1})
    if state:
        record = files.record()
        assert record is not None
        files.end(TrialEnd(State(state), "", record.started + seconds))


def test_settings_epochs_and_seconds_of_a_cell_are_of_all_its_trials(curve_file, tmp_path):
    spec = load(curve_file, ["compare={by: [part.name]}"])
    trial(tmp_path, 0, "plain", 4, "COMPLETE")
    trial(tmp_path, 1, "plain", 3, "PRUNED", seconds=2.5)
    trial(tmp_path, 2, "plain", 2, "FAIL")
    trial(tmp_path, 3, "plain", 4, "COMPLETE", {"user": {"retries": 2}})
    trial(tmp_path, 4, "plain", 4, "COMPLETE", {"user": {"of": 0, "seed": 1}})
    trial(tmp_path, 5, "curved", 3, "PRUNED")
    trial(tmp_path, 6, "curved", 2, None)
    found = efforts(spec, tmp_path)
    plain, curved = found["plain",], found["curved",]
    assert (plain.settings, plain.epochs, round(plain.seconds, 3)) == (3, 12, 42.5)
    assert (curved.settings, curved.epochs, round(curved.seconds, 3)) == (2, 3, 10.0)
    assert notes(found) == [
        "cells differ in settings begun: from 2 to 3",
        "cells differ in epochs: from 3 to 12",
        "curved: no trial is complete (1 pruned)",
    ]


def test_equal_effort_is_not_mentioned():
    complete = Counter({State.COMPLETE: 10})
    same: dict[Key, Effort] = {("a",): Effort(10, 100, 1.0, complete), ("b",): Effort(10, 150, 9.0, complete)}
    assert notes(same) == []
