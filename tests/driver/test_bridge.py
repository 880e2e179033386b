"""Tune's trials and the ledger's: what the bridge between them keeps, and whose fault an end is."""

import weakref
from types import SimpleNamespace
from typing import Any

from platform.runners.bridge import Bridge


class TuneTrial(SimpleNamespace):
    """As far as the bridge looks at one of Tune's trials."""


def report(step: int, value: float) -> dict[str, Any]:
    return {"kind": "report", "step": step, "metrics": [("valid/ndcg_10", value)]}


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
    assert bridge.take("b", report(1, 0.5))
    assert (stopped() is None, finished() is None) == (False, False)
    assert not bridge.take("a", report(1, float("nan")))
    assert not bridge.take("b", {"kind": "end", "reason": "finished", "text": ""})
    assert (stopped() is None, finished() is None) == (True, True)
    for tune_id in ("a", "b"):
        bridge.lost(tune_id, "Tune ends each trial that it stopped")
    assert [(ended.number, ended.state) for ended in here.ended] == [(0, "FAIL"), (1, "COMPLETE")]
