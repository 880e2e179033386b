"""The wheel: installed anywhere, its commands run from an empty folder, on Ray too, and its modules import."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SWEEP = """\
name: first
trainable: floors
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 2
parameters:
  data.name: synthetic
  method: {values: [popularity, transitions]}
"""

IMPORTS = """\
import platform, sys
from platform.analysis import trials
import trainables
print(trials.__file__, trainables.__file__, platform.system(), sep="\\n")
"""


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SWEEP_STORAGE")}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_runs_a_sweep_on_ray_from_an_empty_folder_and_imports_there(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", ROOT, cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").iterdir()
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python, (site,) = tmp_path / "venv/bin/python", (tmp_path / "venv").glob("lib/python3*/site-packages")
    (site / "zz_of_the_tests.pth").write_text(sysconfig.get_paths()["purelib"])  # its packages, none of its .pth files
    run(*pip, "--python", python, "install", "--no-deps", wheel, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "x.yaml").write_text(SWEEP)
    first, second, system = run(python, "-c", IMPORTS, cwd=empty).split()
    assert (Path(first).is_relative_to(site), Path(second).is_relative_to(site), system) == (True, True, "Linux")
    printed = run(python, "-m", "platform.sweep", "x.yaml", cwd=empty)
    assert re.search(r"first: 2 complete", printed)
    assert (empty / "runs" / "first" / "results.csv").is_file()
