"""Ray clusters of this machine's own processes, each with a temporary folder, ports and a token of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

TOKEN = "a-token-of-the-tests-0123456789abcdef"
RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RayCluster:
    """A head started by `ray start`, to which nodes can be added; `environment` is added to that of the head.

    `host` is the head's own address, `through` a command that runs another, such as `ip netns exec`.
    """

    def __init__(
        self, *arguments: str, cpus: int = 2, host: str = "127.0.0.1", through: tuple[str, ...] = (), **environment: str
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: it holds sockets
        self.port, dashboard = free_port(), free_port()
        self.host = host
        self.address = f"http://{host}:{dashboard}"
        self.token = self.folder / "token"
        self.token.write_text(TOKEN)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SWEEP_", "MLFLOW_"))},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self._started: list[subprocess.Popen[bytes]] = []
        ports = f"--port={self.port} --dashboard-port={dashboard} --dashboard-agent-listen-port={free_port()}"
        self._head = ("--head", f"--node-ip-address={host}", f"--dashboard-host={host}", f"--num-cpus={cpus}",
                      f"--ray-client-server-port={free_port()}", *ports.split(), f"--temp-dir={self.folder}",
                      *arguments)  # fmt: skip
        self._through = through
        self._start(*self._head, through=through)
        self._wait_for_dashboard()

    def crash_head(self) -> None:
        """Kill all that runs on the head's host at once, by its id: Ray, its jobs and trials."""
        head = self._started.pop(0)
        processes = _with_children(head.pid)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)
        head.wait(30)

    def start_head_again(self) -> None:
        """A new head with the old one's ports, which knows nothing of what was."""
        self._start(*self._head, through=self._through)
        self._started.insert(0, self._started.pop())
        self._wait_for_dashboard()

    def add_node(self, *arguments: str, cpus: int = 1, through: tuple[str, ...] = ()) -> None:
        """Start a worker node and wait until it is there; `through` is a command that runs another, such as `unshare`.

        One after another, as nodes that share a temporary folder count their sockets there.
        """
        self._start(f"--address={self.host}:{self.port}", f"--num-cpus={cpus}", *arguments, through=through)
        self.wait_for_nodes(len(self._started), 240)

    def listed(self, what: str) -> list[dict[str, Any]]:
        """The `nodes` or `actors` that the cluster knows, ended ones too."""
        request = urllib.request.Request(
            f"{self.address}/api/v0/{what}?detail=1", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return list(json.load(reply)["data"]["result"]["result"])

    def wait_for_nodes(self, count: int, seconds: float = 60) -> None:
        """Wait until so many nodes are alive, the head among them."""
        deadline = time.monotonic() + seconds
        alive: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            alive = [node for node in self.listed("nodes") if node["state"] == "ALIVE"]
            if len(alive) >= count:
                return
            time.sleep(0.3)
        raise AssertionError(f"{len(alive)} of {count} nodes; {(self.folder / 'start.log').read_text()}")

    def _start(self, *arguments: str, through: tuple[str, ...] = ()) -> None:
        command = [*through, RAY, "start", *arguments, "--disable-usage-stats", "--block"]
        with (self.folder / "start.log").open("ab") as log:
            self._started.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def _wait_for_dashboard(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self._started[0].poll() is None, (self.folder / "start.log").read_text()
            try:
                urllib.request.urlopen(f"{self.address}/api/version", timeout=5)
            except urllib.error.HTTPError:  # it asks for the token
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError((self.folder / "start.log").read_text())

    def end(self) -> None:
        """End every process that the nodes started, by its id, and remove the folder."""
        processes = [one for node in self._started for one in _with_children(node.pid)]
        for node in self._started:
            node.send_signal(signal.SIGTERM)
        psutil.wait_procs(processes, timeout=10)
        for process in processes:
            if process.is_running():
                process.kill()
        for node in self._started:
            node.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def _with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
