"""Examples of five interfaces, in their docstrings: each runs as it stands."""

import doctest
import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "trainables.trial",
        "trainables.seqrec.items",
        "trainables.backbones.make",
        "trainables.language.engines.engine",
        "trainables.floors.run",
    ],
)
def test_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted > 0
    assert outcome.failed == 0
