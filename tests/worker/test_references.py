"""A secret may be the name of a variable: its value is read where it is used, and stands nowhere else."""

import json
from pathlib import Path

import numpy as np
import pytest

from trainables import references
from trainables.config import ConfigError
from trainables.redaction import redact
from trainables.runtime.worker import run_trial
from trainables.storage.stages import stage, stage_key
from trainables.trial import LocalTrial

NAME = "tests.trainables.secretive"


@stage(version=1)
def ask_hub(key: str, keys: list[str]) -> dict[str, np.ndarray]:
    return {}


def test_the_text_of_a_variable_is_put_in_and_hidden_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_LOGIN", "its-value-1")
    assert references.resolve("postgresql://me:${STUDY_LOGIN}@db/x") == "postgresql://me:its-value-1@db/x"
    assert references.resolve("of no variable, $STUDY_LOGIN") == "of no variable, $STUDY_LOGIN"
    assert redact("its-value-1") == "***"


def test_a_variable_that_is_not_set_is_told_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    with pytest.raises(
        ValueError, match=r"must name a variable that is set here, but \$ABSENT is not; set it in the env"
    ):
        references.resolve("${ABSENT}")
    with pytest.raises(ValueError, match=r"hub.api_key: must name a variable"):
        references.resolve_values({"hub.api_key": "${ABSENT}", "text": "${NOT_READ}"})
    with pytest.raises(ConfigError, match=r"hub.api_key: must name a variable"):
        run_trial(NAME, {"hub.api_key": "${ABSENT}"}, LocalTrial(tmp_path))


def test_a_trainable_gets_the_value_and_its_files_hold_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_LOGIN", "its-value-2")
    monkeypatch.setenv("HUB_TOKEN", "of-the-environment")
    values = {"hub.api_key": "${HUB_LOGIN}", "text": "no entry"}
    with pytest.raises(OSError, match="no entry: its-value-2 of-the-environment"):
        run_trial(NAME, values, LocalTrial(tmp_path))
    assert json.loads((tmp_path / "artifacts" / "config.json").read_text())["hub.api_key"] == "${HUB_LOGIN}"


def test_the_key_of_a_stage_depends_on_the_name_and_not_on_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for value in ("its-value-3", "its-value-4"):
        monkeypatch.setenv("HUB_LOGIN", value)
        given = references.resolve("${HUB_LOGIN}")
        keys.add(stage_key(ask_hub, {"key": given, "keys": [given]}))
    assert keys == {stage_key(ask_hub, {"key": "${HUB_LOGIN}", "keys": ["${HUB_LOGIN}"]})}
    assert keys != {stage_key(ask_hub, {"key": "${OTHER}", "keys": ["${HUB_LOGIN}"]})}
