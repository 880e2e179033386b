"""MLflow's installations: one way to it, no password in a process list, backups that come back."""

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.contract.infra import INFRA, documents, templates


def test_mlflow_runs_no_jobs_of_its_own():
    """With them it takes 2.5 GiB idle, more than its limit on Kubernetes, without them 0.9."""
    name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
    (server,) = (
        container for document in documents("kubernetes/mlflow.yaml") for pod in templates(document)
        for container in pod["spec"]["containers"] if container["name"] == "mlflow"
    )  # fmt: skip
    assert {"name": name, "value": "false"} in server["env"]
    assert documents("docker/compose.yaml")[0]["services"]["mlflow"]["environment"][name] == "false"


def test_no_process_of_compose_has_a_password_among_its_arguments(tmp_path):
    """`mlflow` and `python` are stood in for."""
    command = documents("docker/compose.yaml")[0]["services"]["mlflow"]["command"]
    for name in ("postgres", "s3"):
        (tmp_path / f"{name}_password").write_text(f"of-{name}")
    shown = 'echo "$0 $*" >> $SHOWN; echo "$MLFLOW_BACKEND_STORE_URI $AWS_SECRET_ACCESS_KEY" > $HELD'
    for name in ("mlflow", "python"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{shown}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SHOWN": f"{tmp_path}/shown", "HELD": f"{tmp_path}/held"}
    line = command.replace("$$", "$").replace("/run/secrets", str(tmp_path))
    subprocess.run(["bash", "-ec", line], env=environment, check=True)
    assert (tmp_path / "held").read_text() == "postgresql+psycopg://mlflow:of-postgres@postgres/mlflow of-s3\n"
    assert len(re.findall(r"mlflow server|python -c", text := (tmp_path / "shown").read_text())) == 2
    assert not re.search("of-postgres|of-s3", text)


def test_the_ways_to_mlflow_agree():
    conf = (INFRA / "mlflow" / "nginx.conf").read_text()
    (listen,), upstreams = re.findall(r"listen (\d+);", conf), set(re.findall(r"proxy_pass http://(\S+);", conf))
    assert (upstreams, "set $mlflow mlflow:5000;" in conf) == ({"$mlflow"}, True)
    (line,) = re.findall(r"# +(sed .*) > default.conf", (INFRA / "kubernetes" / "mlflow.yaml").read_text())
    in_pod = subprocess.run(["sh", "-c", line], cwd=INFRA.parent, capture_output=True, text=True, check=True).stdout
    assert in_pod == conf.replace("mlflow mlflow:5000", "mlflow 127.0.0.1:5000")  # no name: nothing to ask for
    names = re.findall(r"server_name (.*);", conf)[0].split()
    for file in ("docker/compose.yaml", "kubernetes/mlflow.yaml"):
        text = (INFRA / file).read_text()
        (allowed,) = re.findall(r"--allowed-hosts[= ]([^\s\"]+)", text)
        assert all(host in [f"{name}:{listen}" for name in names] for host in allowed.split(",")), file
    (compose,) = documents("docker/compose.yaml")
    assert compose["services"]["head"]["environment"]["MLFLOW_TRACKING_URI"] == f"http://nginx:{listen}"
    assert f'value: "http://mlflow:{listen}"' in (INFRA / "kubernetes" / "raycluster.yaml").read_text()
    policies = {document["metadata"]["name"]: document for document in documents("kubernetes/network-policy.yaml")}
    assert policies["mlflow"]["spec"]["ingress"][0]["ports"] == [{"port": int(listen)}]
    (to_database,) = policies["postgres"]["spec"]["ingress"]
    allowed = [entry["podSelector"]["matchLabels"] for entry in to_database["from"]]
    assert allowed == [{"app": "mlflow"}, {"ray.io/node-type": "head"}]  # the latter for a sweep's study
    assert policies["nothing-by-default"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_a_backup_is_restored_and_never_over_a_database_that_is_there(tmp_path):
    store = tmp_path / "mlflow.db"
    with sqlite3.connect(store) as database:
        database.execute("create table runs (name text)")
        database.execute("insert into runs values ('first')")
    (tmp_path / "artifacts" / "0").mkdir(parents=True)
    (tmp_path / "artifacts" / "0" / "ranks.npy").write_text("ranks")
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{store}"}
    environment["MLFLOW_ARTIFACTS"] = str(tmp_path / "artifacts")

    def script(name: str, argument: str) -> subprocess.CompletedProcess[str]:
        command = [str(INFRA / "mlflow" / name), argument]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    made = script("backup.sh", str(tmp_path / "backups"))
    assert made.returncode == 0, made.stderr
    refused = script("restore.sh", made.stdout.strip())
    assert (refused.returncode, refused.stderr) == (2, f"{store} must not be there yet, but is; move it aside\n")
    store.unlink()
    (tmp_path / "artifacts" / "0" / "ranks.npy").unlink()
    assert script("restore.sh", made.stdout.strip()).returncode == 0
    with sqlite3.connect(store) as database:
        assert database.execute("select name from runs").fetchall() == [("first",)]
    assert (tmp_path / "artifacts" / "0" / "ranks.npy").read_text() == "ranks"


@pytest.fixture
def clients(tmp_path: Path) -> dict[str, str]:
    """An environment in which `pg_dump`, `pg_restore` and `tar` are stood in for: they note arguments and password."""
    noted = tmp_path / "noted"
    for name in ("pg_dump", "pg_restore", "tar"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        ends = "exit ${TAR_ENDS:-0}" if name == "tar" else ""
        program.write_text(f'#!/bin/sh\necho "{name} $* / $PGPASSWORD" >> {noted}\n{ends}\n')
        program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def run_script(environment: dict[str, str], name: str, argument: Path) -> subprocess.CompletedProcess[str]:
    command = [str(INFRA / "mlflow" / name), str(argument)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgres"])
def test_no_client_of_a_database_has_its_password_among_its_arguments(clients, tmp_path, scheme):
    clients["MLFLOW_BACKEND_STORE_URI"] = f"{scheme}://me:of%2Fa%20url@host:5432/mlflow?sslmode=require"
    made = run_script(clients, "backup.sh", tmp_path / "backups")
    assert (made.returncode, made.stderr) == (0, "")
    assert run_script(clients, "restore.sh", Path(made.stdout.strip())).returncode == 0
    lines = (tmp_path / "noted").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["pg_dump", "pg_restore"]
    assert all(line.endswith("--dbname=postgresql://me@host:5432/mlflow?sslmode=require / of/a url") for line in lines)


@pytest.mark.parametrize(("code", "ends", "left"), [(1, 0, 1), (2, 2, 0)])
def test_artifacts_that_change_while_they_are_read_are_saved_and_an_error_leaves_nothing(
    clients, tmp_path, code, ends, left
):
    clients |= {"MLFLOW_BACKEND_STORE_URI": "postgresql://host/x", "MLFLOW_ARTIFACTS": "/a", "TAR_ENDS": str(code)}
    assert bool(run_script(clients, "backup.sh", tmp_path / "backups").returncode) == bool(ends)
    assert len(list((tmp_path / "backups").iterdir())) == left


@pytest.mark.parametrize("name", ["backup.sh", "restore.sh"])
def test_a_database_of_another_kind_is_refused(clients, tmp_path, name):
    clients["MLFLOW_BACKEND_STORE_URI"] = "mysql://me:secret@host/mlflow"
    refused = run_script(clients, name, tmp_path / "backups")
    rule = "MLFLOW_BACKEND_STORE_URI must start with sqlite:/// or postgresql, but does not; correct it\n"
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", rule)
    assert not list((tmp_path / "backups").glob("*"))
