"""MLflow of compose without Docker: PostgreSQL, an object store and nginx from packages, by compose's own commands.

All of it is on one host, a network namespace, whose names, `/run/secrets` and name server are as in a container.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.infra import INFRA, ROOT, documents
from tests.hosts import ip
from tests.processes import Started, kill, killed_at_the_end
from tests.servers import pg_binaries

PROGRAMS = ("curl", "htpasswd", "ip", "nginx", "openssl")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)) or not pg_binaries(),
        reason="needs root, curl, apache2-utils, iproute2, nginx, openssl and postgresql",
    ),
]
WITHIN = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /run && shift && exec "$@"'
KEEP_UP = ("sh", "-c", 'while :; do "$@"; sleep 1; done', "sh")
"""`restart: unless-stopped`."""
NGINX = """\
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{ access_log off; include {conf}; include {folder}/small.conf; }}
"""
NAMES = """
import pathlib, socket, sys
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.11", 53))
while True:
    query, client = server.recvfrom(512)
    address = pathlib.Path(sys.argv[1]).read_text()
    head = query[:2] + bytes([0x81, 0x80, 0, 1, 0, bool(address), 0, 0, 0, 0])
    answer = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]) + socket.inet_aton(address) if address else b""
    server.sendto(head + query[12:] + answer, client)
"""
LARGE = """
import hashlib, sys, urllib.request
from mlflow import MlflowClient
client, made, back = MlflowClient(), *sys.argv[1:]
run = client.create_run("0").info.run_id
client.log_artifact(run, made)
path = client.download_artifacts(run, made.rpartition("/")[2], back)
one, other = (hashlib.sha256(open(name, "rb").read()).hexdigest() for name in (made, path))
assert one == other
print(client.get_run(run).info.artifact_uri)
"""
ROWS = """
import os, sqlalchemy
database = sqlalchemy.create_engine(os.environ["MLFLOW_BACKEND_STORE_URI"])
with database.connect() as connection:
    for table in sorted(sqlalchemy.inspect(database).get_table_names()):
        print(table, *connection.execute(sqlalchemy.text(f"select count(*) from {table}")).one())
"""


class Composed:
    """The services of compose on one host.

    Args:
        folder: reachable by every user.
        begin: starts a process.
    """

    def __init__(self, folder: Path, space: str, begin: Any) -> None:
        self.folder, self._space, self._begin = folder, space, begin
        self.compose = documents("docker/compose.yaml")[0]["services"]
        (folder / "hosts").write_text("127.0.0.1 localhost postgres objects nginx\n")
        text = (INFRA / "docker" / "compose.yaml").read_text()
        lines = [line for line in re.findall(r"^#   (.*)$", text, flags=re.M) if "platform.submit" not in line]
        subprocess.run(["bash", "-ec", "\n".join(lines)], cwd=folder, check=True, capture_output=True)
        (folder / "run").mkdir()
        (folder / "infra" / "docker" / "secrets").rename(folder / "run" / "secrets")
        (folder / "run" / "secrets").chmod(0o755)
        self.client = {name: text for name, text in self.environment("head").items() if name.startswith("MLFLOW_")}
        self.client["MLFLOW_TRACKING_PASSWORD"] = self.secret("mlflow_password")

    def environment(self, service: str) -> dict[str, str]:
        return {name: str(value) for name, value in self.compose[service]["environment"].items()}

    def secret(self, name: str) -> str:
        return (self.folder / "run" / "secrets" / name).read_text()

    def database(self, name: str) -> str:
        """The URL of a database of this name; with the password."""
        return f"postgresql+psycopg://mlflow:{self.secret('postgres_password')}@postgres/{name}"

    def log(self, command: str) -> Path:
        return self.folder / f"{Path(command).name}.log"

    def begin(self, *command: str, out: int | None = None, **environment: str) -> Started:
        """Start a process on the host; its output goes to a log unless `out` is `subprocess.PIPE`."""
        through = ["nsenter", f"--net=/run/netns/{self._space}", "unshare", "--mount", "sh", "-c", WITHIN]
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        with self.log(command[0]).open("a") as log:
            started: Started = self._begin(
                [*through, str(self.folder / "hosts"), str(self.folder / "run"), *command], cwd=ROOT,
                env={**os.environ, **own, **environment}, stdout=out or log, stderr=log,
            )  # fmt: skip
        return started

    def run(self, *command: str, **environment: str) -> str:
        """Run a command on the host to its end; returns its output."""
        process = self.begin(*command, out=subprocess.PIPE, **environment)
        out, _ = process.communicate()
        assert process.returncode == 0, (command, self.log(command[0]).read_text()[-3000:])
        return out

    def status(self, path: str = "/health", *options: str) -> str:
        """The status of nginx's answer."""
        return self.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, f"http://nginx:8080{path}")

    def named(self, address: str) -> None:
        """Give the host `mlflow` an address."""
        (self.folder / "address").write_text(address)


def begin_postgres(on: Composed, binaries: Path) -> None:
    variables = on.environment("postgres")
    data = on.folder / "postgres"
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    owner = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    made = (f"--username={variables['POSTGRES_USER']}", f"--pwfile={variables['POSTGRES_PASSWORD_FILE']}")
    on.run(*owner, str(binaries / "initdb"), *made, "-D", str(data), "--auth=scram-sha-256", "-E", "UTF8", "--no-sync")
    on.begin(*owner, str(binaries / "postgres"), "-D", str(data), "-c", "unix_socket_directories=")
    login = {"PGPASSWORD": on.secret("postgres_password"), "PGUSER": variables["POSTGRES_USER"], "PGHOST": "postgres"}
    on.run("sh", "-c", "until pg_isready -q -d postgres; do sleep 0.2; done", **login)
    for name in (variables["POSTGRES_DB"], "empty"):
        on.run("createdb", name, **login)


@pytest.fixture(scope="module")
def composed() -> Iterator[Composed]:
    folder, space = Path(os.environ["SWEEP_SCRATCH"]) / "compose", f"t{os.getpid()}-compose"
    folder.mkdir(mode=0o755)
    ip("netns", "add", space)
    try:
        with killed_at_the_end() as begin:
            ip("-n", space, "link", "set", "lo", "up")
            on = Composed(folder, space, begin)
            on.named("")
            on.begin(sys.executable, "-c", NAMES, str(folder / "address"))
            on.begin("moto_server", "-H", "0.0.0.0", "-p", "9000")
            binaries = pg_binaries()
            assert binaries
            begin_postgres(on, binaries)
            variables: dict[str, Any] = on.environment("mlflow")
            server = [word.replace("$$", "$") for word in shlex.split(on.compose["mlflow"]["command"])]
            on.begin(*KEEP_UP, *server, **variables, MLFLOW_WORKERS="1")
            conf = INFRA / "mlflow" / "nginx.conf"
            small = conf.read_text().replace("listen 8080", "listen 8081").replace("$http_host", "nginx:8080")
            (folder / "small.conf").write_text(small.replace("max_body_size 2g", "max_body_size 20k"))
            (folder / "nginx.conf").write_text(NGINX.format(folder=folder, conf=conf))
            on.begin("nginx", "-c", str(folder / "nginx.conf"), "-g", "daemon off;")
            yield on
    finally:
        ip("netns", "delete", space)


def until(condition: Any, seconds: float, on: Composed) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, on.log("sh").read_text()[-3000:]
        time.sleep(0.3)


@pytest.fixture
def served(composed: Composed) -> Composed:
    composed.named("127.0.0.1")
    until(lambda: composed.status() == "200", 120, composed)
    return composed


def sweep(on: Composed, file: Path, *keys: str, **environment: str) -> Started:
    settings = [word for key in ("early_stopping=none", *keys) for word in ("--set", key)]
    command = (sys.executable, "-m", "platform.sweep", str(file), "--address", "inline", *settings)
    return on.begin(
        *command, out=subprocess.PIPE, **{**on.client, "SWEEP_STORAGE": str(file.parent / "runs"), **environment}
    )


def test_a_server_that_starts_late_and_at_another_address_is_found(composed):
    until(lambda: composed.status() == "502", 20, composed)
    composed.named("192.0.2.1")  # nobody's
    until(
        lambda: composed.status() == "502" and "192.0.2.1:5000" in (composed.folder / "nginx.log").read_text(),
        20,
        composed,
    )
    composed.named("127.0.0.1")
    until(lambda: composed.status() == "200", 120, composed)


def test_a_sweep_is_tracked_and_a_backup_made_meanwhile_comes_back(served, curve_file, tmp_path):
    artifacts = tmp_path / "runs"

    def script(name: str, argument: object, database: str) -> str:
        files: dict[str, Any] = {
            "MLFLOW_BACKEND_STORE_URI": served.database(database),
            "MLFLOW_ARTIFACTS": str(artifacts),
        }
        return served.run(str(INFRA / "mlflow" / name), str(argument), **files).strip()

    def rows(database: str) -> dict[str, int]:
        url = served.database(database)
        lines = served.run(sys.executable, "-c", ROWS, MLFLOW_BACKEND_STORE_URI=url).splitlines()
        return {name: int(count) for name, count in map(str.split, lines)}

    process = sweep(served, curve_file, "num_trials=6", "parameters.sleep=0.3")
    until(lambda: rows("mlflow")["metrics"] > 50, 60, served)
    (artifacts / "large.npy").write_bytes(bytes(100 * 2**20))  # it changes while tar reads it
    writer = served.begin("sh", "-c", 'while touch "$0"; do sleep 0.01; done', str(artifacts / "large.npy"))
    script("backup.sh", tmp_path / "first", "mlflow")
    assert process.poll() is None
    kill(writer)
    out, _ = process.communicate()
    assert (process.returncode, "curve: 6 complete" in out) == (0, True), out
    backup = script("backup.sh", tmp_path / "last", "mlflow")
    with contextlib.closing(tarfile.open(f"{backup}/artifacts.tar")) as archive:
        assert len(archive.getnames()) == 1 + len(list(artifacts.rglob("*")))
    script("restore.sh", backup, "empty")
    whole = rows("mlflow")
    assert rows("empty") == whole
    assert (whole["runs"], whole["metrics"] > 6 * 6 * 3) == (7, True)


def test_a_large_artifact_passes_and_one_over_the_limit_is_refused_at_once(served, tmp_path):
    (tmp_path / "made.bin").write_bytes(os.urandom(200 * 2**20))
    (tmp_path / "back").mkdir()
    command = (sys.executable, "-c", LARGE, str(tmp_path / "made.bin"), str(tmp_path / "back"))
    assert served.run(*command, **served.client).startswith("mlflow-artifacts:/")
    login = f"{served.client['MLFLOW_TRACKING_USERNAME']}:{served.client['MLFLOW_TRACKING_PASSWORD']}"
    long = ("-u", login, "-X", "PUT", "-H", f"Content-Length: {2 * 2**30 + 1}")
    assert served.status("/api/2.0/mlflow-artifacts/artifacts/x", *long) == "413"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"MLFLOW_TRACKING_PASSWORD": "wrong"},
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of a user who may write",
        ),
        ({"MLFLOW_TRACKING_URI": "http://nginx:8081"}, "bytes are not (413); raise its client_max_body_size"),
    ],
)
def test_what_nginx_refuses_is_named_and_costs_no_trial(served, curve_file, wrong, said):
    process = sweep(served, curve_file, "num_trials=2", "name=refused", **wrong)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "refused: 2 complete" in out
    assert said in out, out
