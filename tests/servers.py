"""Servers that tests start for themselves, on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import psycopg

PG_BINARIES = Path("/usr/lib/postgresql")
"""Where Debian's packages put one folder a version."""


def free_port() -> int:
    """A port of the loopback address that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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

    def database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        name = f"d{uuid.uuid4().hex}"
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            connection.execute(f"create database {name}")  # type: ignore[arg-type]
        return f"postgresql+psycopg://sweeps@127.0.0.1:{self.port}/{name}"

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
