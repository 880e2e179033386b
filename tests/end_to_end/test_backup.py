"""A backup of a database in use, put back into an empty one, on a real PostgreSQL."""

import contextlib
import itertools
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import psycopg
import pytest

MLFLOW = Path(__file__).parents[2] / "infra" / "mlflow"


def count(url: str) -> int:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return int(connection.execute("select count(*) from metrics").fetchone()[0])  # type: ignore[index]


@pytest.mark.slow
def test_what_is_written_while_it_runs_harms_no_backup_and_all_rows_come_back(postgres, tmp_path):
    store, empty = postgres.database(), postgres.database()
    artifacts, over = tmp_path / "artifacts", threading.Event()
    artifacts.mkdir()
    (artifacts / "large.npy").write_bytes(bytes(100 * 2**20))  # it changes while tar reads it
    written = 0

    def write() -> None:
        nonlocal written
        with psycopg.connect(store.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("create table metrics (value int)")
            for written in itertools.count(1):
                connection.execute("insert into metrics values (%s)", [written])
                os.utime(artifacts / "large.npy")
                (artifacts / f"{written}.npy").touch()
                if over.is_set():
                    return

    def script(name: str, argument: object, url: str) -> str:
        environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": url, "MLFLOW_ARTIFACTS": str(artifacts)}
        command = [str(MLFLOW / name), str(argument)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while written < 100:
            assert writer.is_alive()
        script("backup.sh", tmp_path / "first", store)
    finally:
        over.set()
        writer.join()
    whole = Path(script("backup.sh", tmp_path / "last", store.replace("sweeps@", "sweeps:a%20password@")))
    with contextlib.closing(tarfile.open(whole / "artifacts.tar")) as archive:
        assert len(archive.getnames()) == 1 + len(list(artifacts.iterdir()))
    script("restore.sh", whole, empty)
    assert count(empty) == count(store) == written
