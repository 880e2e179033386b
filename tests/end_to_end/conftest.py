"""Fixtures of the end-to-end tests: the command in a process of its own, its end, a store, a database."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.clusters import TOKEN, RayCluster
from tests.processes import killed_at_the_end
from tests.servers import Postgres, pg_binaries

ROOT = Path(__file__).parents[2]

SENT = """\
name: sent
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 4
parameters:
  x: {min: 0.0, max: 1.0}
  sleep: 0.3
"""

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
) -> Iterator[Command]:
    """Start the command on the sweep `curve` in a process group of its own, as a terminal does; it ends with a test."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if "store_is_there" in request.fixturenames:
        (curve_file.parent / "runs").mkdir()
        shutil.copyfile(empty_store, curve_file.parent / "runs" / "mlflow.db")

    with killed_at_the_end() as begin:

        def start(*arguments: str, file: Path = curve_file) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "platform.sweep", str(file), *arguments]
            return begin(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        yield start


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


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This working tree as a checkout of its own, with one sweep more; its path is `sweeps/sent.yaml`."""
    root = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / "sweeps" / "sent.yaml").write_text(SENT)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.fixture
def submit(
    cluster: RayCluster, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., tuple[int, str, str]]:
    """Call with more arguments for exit code, stdout and stderr; none of them ever holds the token. `cluster` is the
    module's own."""
    from platform.submit import main

    monkeypatch.chdir(checkout)
    for name in ("RAY_AUTH_TOKEN", "SWEEP_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(cluster.token))
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")  # the address that is named wins

    def call(
        *arguments: str, storage: Path | None = tmp_path / "runs", file: str = "sweeps/sent.yaml"
    ) -> tuple[int, str, str]:
        where = ["--set", f"storage={storage}"] if storage else []
        code = main([file, "--address", cluster.address, *where, *arguments])
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        return code, said.out, said.err

    return call
