"""Tune's trials and the ledger's: what the bridge between them keeps, and whose fault an end is."""

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from platform.errors import SweepError
from platform.runners.bridge import Bridge, SweepStopper
from platform.runners.ledger import Decision, Ledger
from trainables.runtime.messages import Report, WorkerEnd, to_result


class TuneTrial(SimpleNamespace):
    """As far as the bridge looks at one of Tune's trials."""


def report(step: int, value: float) -> dict[str, Any]:
    return to_result(Report(step=step, metrics={"valid/ndcg_10": value}))


def begun(bridge: Bridge, tune_id: str) -> "weakref.ref[TuneTrial]":
    """Tune starts its trial `tune_id`; what is returned tells whether the bridge still holds it."""
    assert bridge.task(tune_id)
    trial = TuneTrial(trial_id=tune_id, status="RUNNING")
    bridge.known(trial)
    return weakref.ref(trial)


def test_a_trial_that_is_stopped_or_finishes_is_forgotten_and_its_end_stands(begin):
    here = begin()
    bridge = Bridge(here.ledger, cpu=1.0, gpu=0.0)
    stopped, finished = begun(bridge, "a"), begun(bridge, "b")
    assert bridge.take("b", report(1, 0.5)) is Decision.CONTINUE
    assert (stopped() is None, finished() is None) == (False, False)
    assert bridge.take("a", report(1, float("nan"))) is Decision.STOP
    assert bridge.take("b", to_result(WorkerEnd(reason="finished"))) is Decision.STOP
    assert (stopped() is None, finished() is None) == (True, True)
    for tune_id in ("a", "b"):
        bridge.lost(tune_id, "Tune ends each trial that it stopped")
    assert [(ended.number, ended.state) for ended in here.ended] == [(0, "FAIL"), (1, "COMPLETE")]


def test_the_worker_of_a_trial_that_failed_goes_on_to_its_error_and_decisions_are_tunes_words(begin):
    here = begin()
    bridge = Bridge(here.ledger, cpu=1.0, gpu=0.0)
    begun(bridge, "a")
    assert bridge.take("a", {"kind": "end", "reason": "non-finite objective", "text": ""}) is Decision.CONTINUE
    assert here.ended[0].state == "FAIL"
    assert list(Decision) == [TrialScheduler.CONTINUE, TrialScheduler.STOP]


def test_an_error_of_the_drivers_own_ends_the_sweep_as_it_is_and_no_trial_is_charged(begin):
    here = begin()
    errors = [SweepError("storage: must answer"), SweepError("said later")]
    is_away = False

    def check() -> None:
        if is_away:
            raise errors.pop(0)

    folder = here.folder
    bridge = Bridge(Ledger(here.ledger.spec, here.study, folder, folder / "stages", check=check), cpu=1.0, gpu=0.0)
    for tune_id in ("a", "b"):
        begun(bridge, tune_id)
    is_away = True
    assert bridge.take("a", report(1, 0.5)) is Decision.STOP
    bridge.lost("b", "its node is gone")
    bridge.lost("a", "Tune ends each trial that it stopped")
    with pytest.raises(SweepError, match="storage: must answer"):
        SweepStopper(bridge, lambda: None).stop_all()
    assert list(folder.glob("trials/*/attempts.json")) == []
    assert [trial.state.name for trial in here.study.trials()] == ["RUNNING", "RUNNING"]
