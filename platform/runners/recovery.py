"""Recovery of a trial that a dead driver left running: its journal gives back its counters and its end."""

from __future__ import annotations

from platform.runners.failures import Attempts
from platform.runners.running import RunningTrial
from platform.storage.trial_end import State, TrialEnd
from platform.study.study import Study
from platform.tracking.journal import metrics_of


def recover(trial: RunningTrial, study: Study) -> TrialEnd | None:
    """Bring a trial and its study to the state of the trial's files; returns its end, if the study lacks it."""
    trial.attempts = Attempts.read(trial.files.read("attempts.json"))
    trial.attempts.attempt += 1  # the start that the dead driver made
    newest: tuple[float, ...] | None = None
    last = False
    for line in trial.files.lines():
        values = trial.add_report(line["step"], metrics_of(line), study.spec.metrics)
        if values is not None:  # the driver may have died between a report's line and its value in the study
            study.store_value(trial.asked.number, trial.num_valued, values[0])
            newest, last = values, bool(line.get("last"))
    # the driver may have died before the newest report was judged, or before its rungs were written
    verdict = None if newest is None else trial.judge(newest, study, last)
    written = trial.files.read_end()
    is_whole = written is not None and (written.state is not State.COMPLETE or trial.best is not None)
    if written and written.state.is_final and is_whole:  # the driver died between the end's writing and its telling
        return written
    if verdict:
        trial.files.end(verdict)
    return verdict
