"""Servers that tests start for themselves, on loopback."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import psutil
import psycopg

PG_BINARIES = Path("/usr/lib/postgresql")
"""The folder in which Debian's packages put one folder per version."""


def free_port() -> int:
    """A port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer_of(url: str, seconds: float = 120) -> bytes | None:
    """The body of a server's first answer; None if it gives none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bytes(answer.read())
        except OSError:
            time.sleep(0.3)
    return None


def pg_binaries() -> Path | None:
    """The folder with the newest `initdb` on this machine, None where there is none."""
    found = sorted(PG_BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A PostgreSQL server over a folder: `begin` starts it, `kill` ends it as losing power would.

    Args:
        binaries: the folder of `initdb` and `postgres`.
        folder: empty, reachable by every user; it becomes the server's.
    """

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.port = free_port()
        self._binaries = binaries
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if not os.geteuid():  # the server refuses to run as root
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        options = ["--username=sweeps", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        self._run("initdb", *options).communicate()

    def begin(self) -> None:
        """Start the server; returns once it takes connections."""
        settings = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "max_connections=50")
        self._process = self._run("postgres", *[word for each in settings for word in ("-c", each)])
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """End the server and its sessions at once."""
        if self._process and self._process.poll() is None:
            sessions = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait()
            for process in sessions:  # after it, so that it starts none in their place
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(sessions, timeout=10)

    def freeze(self) -> None:
        """It answers nobody, and keeps what was asked."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on, with what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        name = f"d{uuid.uuid4().hex}"
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return f"postgresql+psycopg://sweeps@127.0.0.1:{self.port}/{name}"

    def _signal(self, signum: int) -> None:
        if self._process and self._process.poll() is None:
            parent = psutil.Process(self._process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signum)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self._binaries / program), "-D", str(self._folder / "data"), *arguments]
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._as)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._dsn(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _dsn(self) -> str:
        return f"postgresql://sweeps@127.0.0.1:{self.port}/postgres"


class MlflowServer:
    """A real `mlflow server` on one port of the loopback address, which may fall silent, die and come back.

    Args:
        store: its SQLAlchemy URL.
        folder: for its log and artifacts.
    """

    def __init__(self, store: str, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", "1", "--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, patience_s: float = 180) -> None:
        """Start it; returns once it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + patience_s
        while not self.answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    def freeze(self) -> None:
        """It answers nobody, and keeps what was asked."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on, with what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it and its workers at once."""
        self._signal(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def answers(self) -> bool:
        """Return True if the server answers."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False

    def _signal(self, signum: int) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signum)


class Line:
    """The way to a server on this machine: cut it, and the server does not answer; mend it, and it does again.

    Args:
        to: the server's port of the loopback address.
        host: the address of this machine at which the line begins.
    """

    def __init__(self, to: int, host: str = "127.0.0.1") -> None:
        self._to = to
        self._host = host
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.uri = f"http://{host}:{self.port}"

    def mend(self) -> None:
        self._listener = socket.create_server((self._host, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        for end in [self._listener, *self._ends]:
            if end:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [here, there]
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
