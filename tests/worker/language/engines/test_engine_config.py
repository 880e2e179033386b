"""Settings of the engine."""

import pytest

from trainables.config import ConfigError, build
from trainables.language.engines.engine_config import EngineConfig


def test_the_engine_is_deepspeed_and_what_is_not_said_is_left_to_its_file():
    settings = build(EngineConfig, {})
    assert settings.name == "deepspeed"
    assert (settings.zero_stage, settings.offload, settings.accumulation, settings.gradient_clipping) == (None,) * 4


@pytest.mark.parametrize(("field", "value"), [("zero_stage", 0), ("offload", "none"), ("file", "x.json")])
def test_what_only_deepspeed_has_is_refused_without_it(field, value):
    with pytest.raises(ConfigError, match=rf"{field} must be left out where name is torch, but got {value!r}"):
        build(EngineConfig, {"name": "torch", field: value})


@pytest.mark.parametrize(("offload", "stage", "least"), [("optimiser", 0, 1), ("all", 2, 3)])
def test_a_stage_that_cannot_offload_what_is_asked_is_refused(offload, stage, least):
    with pytest.raises(ConfigError, match=rf"at least {least} where offload is {offload}, but got {stage}; raise it"):
        build(EngineConfig, {"offload": offload, "zero_stage": stage})


def test_a_stage_beyond_three_is_refused():
    with pytest.raises(ConfigError, match=r"zero_stage: must be .*at most 3.*, but got 4"):
        build(EngineConfig, {"zero_stage": 4})
