"""The Slurm script under Slurm: slurmctld, munge and two slurmd, each on a host of its own.

As on Debian, a host takes its own name for 127.0.1.1. Real waits make it minutes: python -m pytest -m by_hand
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts import NET, Hosts
from tests.processes import killed_at_the_end

PROGRAMS = ("ip", "munged", "slurmctld", "slurmd", "sbatch")
pytestmark = [
    pytest.mark.by_hand,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)),
        reason="needs root, iproute2, munge, slurmctld, slurmd and slurm-client",
    ),
]

ROOT = Path(__file__).parents[2]
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={here}({net}.4)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
NodeName=node1 NodeAddr={net}.2 CPUs=4
NodeName=node2 NodeAddr={net}.3 CPUs=4
PartitionName=all Nodes=ALL Default=YES
"""
ON_NODE = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'


class Slurm:
    """A cluster whose jobs have a storage and a place for Ray's folders."""

    def __init__(self, folder: Path) -> None:
        self.runs, self.scratch = folder / "runs", folder / "s"
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "SWEEP_STORAGE": str(self.runs),
            "SWEEP_SCRATCH": str(self.scratch),
            "OMP_NUM_THREADS": "1",
        }
        for each in (self.runs, self.scratch):
            each.mkdir()

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr

    def submit(self, *arguments: str, options: tuple[str, ...] = (), **environment: str) -> str:
        """The number of a new job on both nodes."""
        own = ("--gpus-per-node=0", "--cpus-per-task=1", f"--output={self.runs}/%j.out", *options)
        exported = ",".join(["ALL", *(f"{name}={value}" for name, value in environment.items())])
        return self.run("sbatch", "--parsable", f"--export={exported}", *own, "infra/slurm/sweep.sbatch", *arguments)

    def out(self, job: str) -> str:
        path = self.runs / f"{job}.out"
        return path.read_text() if path.exists() else ""

    def ended(self, job: str, seconds: float = 200) -> str:
        """The output of a job that has ended and left nothing of Ray on the nodes."""
        self.wait(lambda: not self.run("squeue", "-h", "-o", "%i", "-j", job), job, seconds)
        assert not list(self.scratch.glob(f"ray-{job}-*")), self.out(job)
        return self.out(job)

    def wait(self, condition: Callable[[], object], job: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.out(job)
            time.sleep(0.3)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    folder = Path(os.environ["SWEEP_SCRATCH"]) / "slurm"
    folder.mkdir(mode=0o755)
    slurm, hosts = Slurm(folder), Hosts()
    (folder / "slurm.conf").write_text(CONFIGURATION.format(here=socket.gethostname(), net=NET, folder=folder))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    with killed_at_the_end() as begin, (folder / "daemons.log").open("w") as log:
        try:
            begin(
                ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files], stdout=log, stderr=log
            )
            begin(["slurmctld", "-D", "-i"], env=slurm.environment, stdout=log, stderr=log)
            for name, node, other in (("one", "node1", f"{NET}.3 node2"), ("two", "node2", f"{NET}.2 node1")):
                names = folder / f"{node}.hosts"
                names.write_text(f"127.0.0.1 localhost\n127.0.1.1 {node}\n{other}\n")
                space = f"--net=/run/netns/{hosts.names[name]}"  # `ip netns exec` hides the cgroups
                through = ["nsenter", space, "unshare", "--uts", "--mount", "sh", "-c", ON_NODE, node, str(names)]
                begin([*through, "slurmd", "-D", "-N", node], env=slurm.environment, stdout=log, stderr=log)
            deadline = time.monotonic() + 30
            while (states := slurm.run("sinfo", "-h", "-N", "-o", "%t").split()) != ["idle", "idle"]:
                assert time.monotonic() < deadline, (states, (folder / "daemons.log").read_text())
                time.sleep(0.5)
            yield slurm
        finally:
            slurm.run("scancel", "--user=root")
            deadline = time.monotonic() + 45
            while slurm.run("squeue", "-h", "-o", "%i") and time.monotonic() < deadline:
                time.sleep(0.5)
            hosts.end()


@pytest.fixture
def sweep(curve_file: Path, slurm: Slurm) -> Callable[..., tuple[str, ...]]:
    """Call with a name and a number of trials for the arguments of a job; trials take a second or more."""

    def sweep(name: str, trials: int) -> tuple[str, ...]:
        keys = (f"name={name}", f"num_trials={trials}", "parameters.sleep=0.3", "early_stopping=none")
        return (str(curve_file), *(word for key in keys for word in ("--set", key)))

    return sweep


def begun(slurm: Slurm, job: str, name: str, trials: int = 1) -> None:
    slurm.wait(lambda: len(list((slurm.runs / name / "trials").glob("*/end.json"))) >= trials, job)


def test_two_jobs_on_the_same_nodes_run_to_their_ends(slurm, sweep):
    jobs = [slurm.submit(*sweep(name, 8)) for name in ("first", "second")]
    for job, name in zip(jobs, ("first", "second"), strict=True):
        out = slurm.ended(job)
        assert f"{name}: 8 complete" in out
        assert f"127.0.0.1:{40000 + int(job)}" in out  # its dashboard
        assert "has ended, see above" not in out


def test_a_cancelled_job_is_resumable_and_the_line_that_it_tells_carries_on(slurm, sweep):
    line = sweep("cancelled", 12)
    job = slurm.submit(*line)
    begun(slurm, job, "cancelled")
    assert len(list(slurm.scratch.glob(f"ray-{job}-*"))) == 2
    slurm.run("scancel", job)
    assert f"with: sbatch infra/slurm/sweep.sbatch {' '.join(line)}" in slurm.ended(job, 35)
    job = slurm.submit(*line)
    assert "cancelled: 12 complete" in slurm.ended(job)


def test_a_requeued_job_goes_on(slurm, sweep):
    job = slurm.submit(*sweep("requeued", 12))
    begun(slurm, job, "requeued")
    slurm.run("scontrol", "requeue", job)
    assert "requeued: 12 complete" in slurm.ended(job, 400)


def test_before_the_time_limit_the_sweep_ends_resumably(slurm, sweep):
    job = slurm.submit(*sweep("limited", 300), options=("--time=2", "--signal=B:TERM@60"))
    out = slurm.ended(job)
    assert "SIGTERM; carry on with: sbatch" in out
    assert "DUE TO TIME LIMIT" not in out


def test_a_node_that_ends_is_told_and_the_sweep_goes_on(slurm, sweep):
    job = slurm.submit(*sweep("lost", 12))
    begun(slurm, job, "lost")
    pids = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    space = next(word for word in pids.split() if word.endswith("-two"))
    inside = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=True).stdout.split()
    raylets = [pid for pid in inside if Path(f"/proc/{pid}/comm").read_text().strip() == "raylet"]
    subprocess.run(["kill", "-KILL", *raylets], check=True)
    out = slurm.ended(job)
    assert "Ray on node2 has ended, see above; the sweep goes on without that node" in out
    assert "lost: 12 complete" in out


def test_a_job_whose_nodes_do_not_join_ends(slurm, sweep):
    job = slurm.submit(*sweep("alone", 2), SWEEP_NODES_WAIT_S="0")
    out = slurm.ended(job)
    assert "nodes must join within 0 s, but 0 did" in out
    assert not (slurm.runs / "alone").exists()
