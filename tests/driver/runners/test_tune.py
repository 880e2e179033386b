"""Starting Ray: one more try where its processes do not come up in time, then one sentence."""

import pytest
import ray

from platform.errors import SweepError
from platform.runners import tune


@pytest.mark.parametrize("failures", [1, 2])
def test_ray_that_does_not_start_in_time_is_started_once_more_and_then_told(monkeypatch, failures):
    """Ray raises a bare `Exception` then; only its start is replaced, which cannot be made late on purpose."""
    started: list[str] = []

    def init(address: str, **options: object) -> None:
        started.append(address)
        if len(started) <= failures:
            raise Exception("The current node timed out during startup.\nsee the logs")

    monkeypatch.setattr(ray, "init", init)
    if failures == 1:
        tune.connect(None)
    else:
        with pytest.raises(SweepError, match=r"timed out during startup\.; .* the same command carries on$") as caught:
            tune.connect(None)
        assert str(caught.value).startswith("Ray must start on this machine, but did not: The current node timed out")
    assert started == ["local", "local"]
