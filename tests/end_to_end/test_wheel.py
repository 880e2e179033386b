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


NOTEBOOK = """\
import sys
from jupyter_client.manager import KernelManager
kernel = KernelManager()
kernel.kernel_spec.argv[0] = sys.executable
kernel.start_kernel()
client = kernel.blocking_client()
client.start_channels()
try:
    client.wait_for_ready(timeout=60)
    client.execute_interactive(sys.argv[1], timeout=60)
finally:
    client.stop_channels()
    kernel.shutdown_kernel(now=True)
"""


def run(*command: object, cwd: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SWEEP_STORAGE")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheels", ROOT, cwd=folder)
    (wheel,) = (folder / "wheels").iterdir()
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    (site,) = (folder / "venv").glob("lib/python3*/site-packages")
    (site / "zz_of_the_tests.pth").write_text(sysconfig.get_paths()["purelib"])  # its packages, none of its .pth files
    run(*pip, "--python", folder / "venv/bin/python", "install", "--no-deps", wheel, cwd=folder)
    return site


@pytest.fixture
def python(site: Path) -> Path:
    return site.parents[2] / "bin" / "python"


@pytest.mark.slow
def test_a_sweep_runs_on_ray_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(SWEEP)
    printed = run(python, "-m", "platform.sweep", "x.yaml", cwd=tmp_path)
    assert re.search(r"first: 2 complete", printed)
    assert (tmp_path / "runs" / "first" / "results.csv").is_file()


@pytest.mark.parametrize(
    "notebook", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.by_hand)]
)
def test_our_modules_are_imported(notebook: bool, python: Path, site: Path, tmp_path: Path) -> None:
    if notebook:
        pytest.importorskip("ipykernel", reason="no notebook kernel: pip install ipykernel")
    printed = run(python, "-c", *([NOTEBOOK] if notebook else []), IMPORTS, cwd=tmp_path)
    first, second, system = printed.split()
    assert (Path(first).is_relative_to(site), Path(second).is_relative_to(site), system) == (True, True, "Linux")


@pytest.mark.slow
def test_what_else_an_environment_runs_is_undisturbed(python: Path, tmp_path: Path) -> None:
    assert run(python, "-m", "platform", cwd=tmp_path) == run(sys.executable, "-m", "platform", cwd=tmp_path)
    (tmp_path / "sent" / "trainables").mkdir(parents=True)  # a submitted working tree, as Ray's workers find it
    (tmp_path / "sent" / "trainables" / "__init__.py").touch()
    sent = run(
        python, "-c", "import trainables; print(*trainables.__path__)", cwd=tmp_path, PYTHONPATH=str(tmp_path / "sent")
    )
    assert sent.strip() == str(tmp_path / "sent" / "trainables")
