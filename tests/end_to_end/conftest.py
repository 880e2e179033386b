"""What the end-to-end tests share: the command in a process of its own, its end, a store to start from, a database."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import Postgres, pg_binaries

ROOT = Path(__file__).parents[2]

Command = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables, to copy: making them takes as long as all else that a small sweep does."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").get_experiment("0")
    return path


@pytest.fixture
def start(
    curve_file: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Command:
    """Start the command on the sweep `curve` in a process group of its own, as a terminal does."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if "store_is_there" in request.fixturenames:
        (curve_file.parent / "runs").mkdir()
        shutil.copyfile(empty_store, curve_file.parent / "runs" / "mlflow.db")

    def start(*arguments: str, file: Path = curve_file) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "platform.sweep", str(file), *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)

    return start


@pytest.fixture(scope="session")
def ended() -> Callable[..., SimpleNamespace]:
    """Call with a process, and for how many seconds it may go on, for its exit code and what it said."""

    def ended(process: subprocess.Popen[str], seconds: float = 150) -> SimpleNamespace:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return SimpleNamespace(code=process.returncode, out=out, err=err)

    return ended


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, started; the test skips where Debian's package `postgresql` is not installed."""
    if (binaries := pg_binaries()) is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="sweep-postgres-"))  # pytest's own folders are closed to other users
    server = Postgres(binaries, folder)
    try:
        server.begin()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@pytest.fixture
def server_folder() -> Iterator[tuple[Path, Path]]:
    """PostgreSQL's programs, and a folder that its user may enter; as `postgres` for a server that is to be killed."""
    if (binaries := pg_binaries()) is None:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="sweep-servers-") as name:
        yield binaries, Path(name)


@pytest.fixture
def store_is_there() -> None:
    """MLflow's store has its tables before the command starts."""
