"""What tests share: the trainables and sweep files they run, and the real data where it lies."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

CURVE = """\
name: curve
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 6
early_stopping: {type: asha, min_reports: 2, reduction_factor: 3}
parameters:
  x: {min: 0.0, max: 1.0}
  width: {values: [16, 32, 64]}
  part.name:
    values: [plain, curved]
    when:
      curved: {part.bend: {min: 1, max: 5}}
constraints: ["x <= 0.95"]
"""


@pytest.fixture
def curve_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small sweep of the test trainable `curve`, with a branch and a constraint; its storage is in `tmp_path`."""
    monkeypatch.setenv("SWEEP_STORAGE", str(tmp_path / "runs"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "curve.yaml"
    path.write_text(CURVE)
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; the test skips where it is absent."""
    for folder in (os.environ.get("SWEEP_DATA"), ROOT.parent / "shared" / "data"):
        if folder and (Path(folder) / "amazon-office-2014").is_dir():
            return Path(folder)
    pytest.skip("no real data: set SWEEP_DATA to a folder that holds amazon-office-2014")


@pytest.fixture
def sweep(curve_file: Path) -> Callable[..., Any]:
    """Call with overrides (`num_trials=3`) for the spec, the space and the storage folder of the sweep `curve`."""
    from platform.check import space_of
    from platform.spec import load
    from platform.storage import open_folder

    def make(*overrides: str) -> SimpleNamespace:
        spec = load(curve_file, overrides)
        return SimpleNamespace(spec=spec, space=space_of(spec), folder=open_folder(spec), file=curve_file)

    return make
