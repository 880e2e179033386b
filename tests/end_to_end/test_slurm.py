"""The Slurm script runs a sweep to its end and leaves nothing behind.

There is no Slurm here: `srun`, `scontrol` and `scancel` stand for it, which run and signal the script's own steps on
this machine as two nodes. Cluster, token, driver and clean-up are the script's. `test_slurm_real.py` has Slurm itself.
"""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import killed_at_the_end

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "infra" / "slurm" / "sweep.sbatch"
SHIMS = {
    "srun": """#!/usr/bin/env bash
while [ "$1" != "-w" ]; do shift; done
shift 2
export SLURM_LAUNCH_NODE_IPADDR=127.0.0.1
echo $$ >> "$0.steps"
exec setsid "$@"
""",
    "scontrol": "#!/usr/bin/env bash\nprintf 'node1\\nnode2\\n'\n",
    "scancel": """#!/usr/bin/env bash
[ "$*" = "--signal=TERM $SLURM_JOB_ID" ] && for step in $(cat "${0%/*}/srun.steps"); do kill -TERM -- "-$step"; done
""",
}


@pytest.fixture
def batch(tmp_path: Path, curve_file: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Call with more arguments to start the script as Slurm would; it ends with the test."""
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, text in SHIMS.items():
        (shims / name).write_text(text)
        (shims / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shims}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid() % 20000),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "SWEEP_STORAGE": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    (tmp_path / "runs").mkdir()

    with killed_at_the_end() as begin:

        def start(*arguments: str) -> subprocess.Popen[str]:
            command = [str(ROOT / "infra" / "slurm" / "sweep.sbatch"), str(curve_file), *arguments]
            return begin(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        yield start


def test_the_script_ends_resumably_on_sigterm_and_the_same_line_carries_on(batch, tmp_path, curve_file):
    folder = tmp_path / "runs" / "curve"
    job = batch("--set", "num_trials=8", "--set", "parameters.sleep=0.3", "--set", "early_stopping=none")
    deadline = time.monotonic() + 120
    while not list(folder.glob("trials/*/journal.jsonl")):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    folders = list(Path(os.environ["SWEEP_SCRATCH"]).glob(f"ray-{os.getpid() % 20000}-*"))
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 2
    steps = psutil.Process(job.pid).children(recursive=True)
    job.send_signal(signal.SIGTERM)  # Slurm signals the batch shell alone
    out = job.communicate(timeout=120)[0]
    assert job.returncode == 143, out
    assert f"SIGTERM; carry on with: sbatch infra/slurm/sweep.sbatch {curve_file} --set num_trials=8 " in out
    gone, alive = psutil.wait_procs(steps, timeout=20)
    assert not [one for one in alive if one.is_running() and "raylet" in one.name()], gone
    assert not any(folder.exists() for folder in folders)

    again = batch("--set", "num_trials=3", "--set", "parameters.sleep=0.3", "--set", "early_stopping=none")
    out = again.communicate(timeout=200)[0]
    assert again.returncode == 0, out
    assert "best trials" in out


def test_what_the_last_processes_of_ray_write_late_is_removed_too(tmp_path):
    """`ray` is stood in for: it leaves a process that makes a folder once all others are gone."""
    (step,) = re.findall(r"^step='(.*?)'$", SCRIPT.read_text(), flags=re.M | re.S)
    (tmp_path / "ray").write_text(
        '#!/bin/sh\nfolder=${2#--temp-dir=}\n(sleep 0.3; mkdir -p "$folder"; touch "$0.done") &\n'
    )
    (tmp_path / "ray").chmod(0o755)
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SWEEP_SCRATCH": str(tmp_path)}
    subprocess.run(["bash", "-c", step, "ray"], env=own, check=False)
    while not (tmp_path / "ray.done").exists():
        time.sleep(0.1)
    assert not list(tmp_path.glob("ray-*"))
