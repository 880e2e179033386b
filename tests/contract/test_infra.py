"""Every file of infra/ says how it is used, parses, holds no secret, agrees with the code and the pinned versions."""

import os
import re
import sqlite3
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from platform.cluster.probe import node_types
from platform.runners.placement import addable

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(
    path.relative_to(INFRA).as_posix()
    for path in INFRA.rglob("*")
    if path.is_file() and path.parts[len(INFRA.parts)] not in ("decisions", "deepspeed") and path.suffix != ".md"
    and path.name != "constraints.txt" and "secrets" not in path.parts
)  # fmt: skip
YAML = [name for name in FILES if name.endswith(".yaml")]
SCRIPTS = [name for name in FILES if name.endswith((".sh", ".sbatch"))]
PINNED = dict(line.split("==") for line in (INFRA / "constraints.txt").read_text().split())
IMAGE = "sweeps:" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CODE = "".join(path.read_text() for side in ("platform", "trainables") for path in (ROOT / side).rglob("*.py"))
OF_OTHERS = {
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "RAY_AUTH_MODE", "RAY_HEAD_IP",
}  # fmt: skip
"""Read by MLflow and Ray themselves."""
OF_SCRIPTS = {"MLFLOW_ARTIFACTS", "SWEEP_SCRATCH", "SWEEP_NODES_WAIT_S", "SWEEP_DATA_HOST"}
"""Read by the file that names them."""


def documents(name: str) -> list[Any]:
    return [document for document in yaml.safe_load_all((INFRA / name).read_text()) if document]


def templates(document: Any) -> list[dict[str, Any]]:
    """The templates of the pods that a file of Kubernetes makes."""
    return [
        {key: entry[key] for key in ("metadata", "spec") if key in entry}
        for around in walk(document)
        if isinstance(around, dict)
        for name, entry in around.items()
        if name in ("template", "submitterPodTemplate")
    ]


def walk(data: Any) -> Iterator[Any]:
    yield data
    for inner in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from walk(inner)


def test_all_files_are_looked_at():
    assert {"docker/Dockerfile", "docker/compose.yaml", "ray/cluster.yaml", "slurm/sweep.sbatch"} < set(FILES)
    assert len(YAML) >= 6
    assert len(SCRIPTS) == 3


@pytest.mark.parametrize("name", FILES)
def test_the_first_comment_is_the_command(name):
    comment = next(line for line in (INFRA / name).read_text().splitlines() if not line.startswith("#!"))
    assert comment.startswith("# ")
    assert f"infra/{name}" in comment or name.endswith("nginx.conf")


@pytest.mark.parametrize("name", FILES)
def test_no_host_of_a_registry_is_named(name):
    hosts = r"pypi|index-url|pythonhosted|download\.pytorch|docker\.io|ghcr\.|quay\.|gcr\.|ecr\.|nvcr\.|registry"
    assert not re.search(hosts, (INFRA / name).read_text(), flags=re.IGNORECASE)


@pytest.mark.parametrize("name", YAML)
def test_yaml_parses_and_names_our_image_by_the_version_of_the_project(name):
    found = documents(name)
    assert found
    images = {
        entry["image"] for entry in walk(found) if isinstance(entry, dict) and isinstance(entry.get("image"), str)
    }
    for image in images:
        assert image == IMAGE or image.startswith(("postgres:", "nginx:", "nginxinc/", "minio/")), image


def test_versions_are_the_pinned_ones():
    (cluster,) = documents("kubernetes/raycluster.yaml")
    assert cluster["spec"]["rayVersion"] == PINNED["ray"]
    dockerfile = (INFRA / "docker" / "Dockerfile").read_text()
    assert f"-t {IMAGE} ." in dockerfile
    assert "-c infra/constraints.txt" in dockerfile
    (python,) = re.findall(r"^FROM python:(\d+\.\d+)-slim$", dockerfile, flags=re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={python}"
    for extra in re.findall(r"-e \"\.\[(\w+)\]\"", dockerfile):
        assert extra in project["optional-dependencies"]
    for source in re.findall(r"^COPY --chown=sweeps ([\w./ ]+) \S+$", dockerfile, flags=re.MULTILINE):
        assert all((ROOT / word).exists() for word in source.split())
    assert re.search(r"^USER sweeps$", dockerfile, flags=re.MULTILINE)


@pytest.mark.parametrize("name", FILES)
def test_environment_variables_are_read_by_somebody(name):
    for variable in set(re.findall(r"\b(?:SWEEP|MLFLOW|RAY)_[A-Z0-9_]+\b", (INFRA / name).read_text())):
        known = variable in OF_OTHERS or variable in OF_SCRIPTS or f'"{variable}"' in CODE
        assert known, f"{variable} is read by nobody"


@pytest.mark.parametrize("name", YAML)
def test_secrets_are_named_and_never_held(name):
    for entry in walk(documents(name)):
        if isinstance(entry, dict):
            for key, value in entry.items():
                secret = re.search(r"PASSWORD|TOKEN|SECRET|_KEY", str(key)) and isinstance(value, str)
                assert not secret or value.startswith(("/run/secrets/", "mlflow")), f"{key}: {value}"
            if re.search(r"PASSWORD|TOKEN|SECRET|STORE_URI", str(entry.get("name"))) and "image" not in entry:
                assert "value" not in entry


def test_no_secret_gets_into_the_image():
    (compose,) = documents("docker/compose.yaml")
    kept = {(INFRA / "docker" / secret["file"]).parent for secret in compose["secrets"].values()}
    for ignore in (".dockerignore", ".gitignore"):
        left_out = (ROOT / ignore).read_text().split()
        assert all(f"{folder.relative_to(ROOT)}" in [word.rstrip("/") for word in left_out] for folder in kept), ignore


def test_the_lines_of_compose_make_every_secret(tmp_path):
    """`htpasswd` is stood in for: it takes the password from standard input and writes the file that it is told."""
    (compose,) = documents("docker/compose.yaml")
    stand_in = tmp_path / "bin" / "htpasswd"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\n[ "$1" = -ciB ] && printf "%s:%s" "$3" "$(cat)" > "$2"\n')
    stand_in.chmod(0o755)
    comments = re.findall(r"^#   (.*)$", (INFRA / "docker" / "compose.yaml").read_text(), flags=re.MULTILINE)
    lines = [line for line in comments if "platform.submit" not in line]
    environment = {**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", "\n".join(lines)], cwd=tmp_path, env=environment, check=True)
    folder = tmp_path / "infra" / "docker"
    made = {name: (folder / secret["file"]).read_text() for name, secret in compose["secrets"].items()}
    assert made.pop("htpasswd") == f"sweeps:{made['mlflow_password']}"
    assert len(set(made.values())) == 4
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in made.values())


def test_only_loopback_is_published():
    (compose,) = documents("docker/compose.yaml")
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any(
        spec.get("type") in ("LoadBalancer", "NodePort")
        for name in YAML
        for document in documents(name)
        if isinstance(spec := document.get("spec"), dict)
    )


def test_the_ways_to_mlflow_agree():
    conf = (INFRA / "mlflow" / "nginx.conf").read_text()
    (listen,), upstreams = re.findall(r"listen (\d+);", conf), set(re.findall(r"proxy_pass http://(\S+);", conf))
    assert upstreams == {"mlflow:5000"}
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


def test_the_node_types_of_kubernetes_are_those_that_the_driver_counts():
    (cluster,) = documents("kubernetes/raycluster.yaml")
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    (said,) = (entry["value"] for entry in head["env"] if entry["name"] == "SWEEP_NODE_TYPES")
    told = {kind.name: (kind.count, dict(kind.resources)) for kind in addable(node_types({"SWEEP_NODE_TYPES": said}))}
    for group in cluster["spec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        resources = {"CPU": float(limits["cpu"])}
        if "nvidia.com/gpu" in limits:
            resources["GPU"] = float(limits["nvidia.com/gpu"])
        assert told.pop(group["groupName"]) == (group["maxReplicas"], resources)
    assert told == {}


def test_the_node_types_of_ray_up_are_read():
    (spot,) = addable(node_types({"SWEEP_NODE_TYPES": str(INFRA / "ray" / "cluster.yaml")}))
    assert (spot.name, spot.count, spot.resources, spot.labels["capacity"]) == (
        "gpu_spot", 12, {"CPU": 8.0, "GPU": 1.0}, "spot",
    )  # fmt: skip


def test_ray_accepts_the_cluster_file():
    from ray.autoscaler._private.util import validate_config

    (config,) = documents("ray/cluster.yaml")
    validate_config({**config, "cluster_synced_files": []})  # which `ray up` fills in


def test_the_files_of_kubernetes_fit_its_schemas():
    import kubernetes_validate

    pods = []
    for name in YAML:
        for document in documents(name) if name.startswith("kubernetes/") else ():
            pods += [{"kind": "Pod", "apiVersion": "v1", **template} for template in templates(document)]
            if not document["apiVersion"].startswith("ray.io/"):  # of whose own keys it has no schema
                kubernetes_validate.validate(document, "1.37", strict=True)
    assert len(pods) == 6
    for pod in pods:
        kubernetes_validate.validate(pod, "1.37", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError, match="runAsNonRoot"):
        kubernetes_validate.validate({**pods[0], "spec": {"securityContext": {"runAsNonRoot": "yes"}}}, "1.37")


def test_every_pod_is_one_that_restricted_accepts():
    for pod in [template for name in YAML for document in documents(name) for template in templates(document)]:
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert ("fsGroup" in context) == (context.get("fsGroupChangePolicy") == "OnRootMismatch")
        for container in pod["spec"]["containers"]:
            restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == restricted, container["name"]


def test_mlflow_runs_no_jobs_of_its_own():
    """With them it takes 2.5 GiB idle, more than its limit on Kubernetes, without them 0.9."""
    name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
    (server,) = (
        container for document in documents("kubernetes/mlflow.yaml") for pod in templates(document)
        for container in pod["spec"]["containers"] if container["name"] == "mlflow"
    )  # fmt: skip
    assert {"name": name, "value": "false"} in server["env"]
    assert documents("docker/compose.yaml")[0]["services"]["mlflow"]["environment"][name] == "false"


def test_ray_up_starts_with_our_commands_only():
    from ray.autoscaler._private.util import prepare_config

    (config,) = documents("ray/cluster.yaml")
    ready = prepare_config(config)
    commands = [name for name in ready if name.endswith("_commands")]
    assert len(commands) == 6
    assert {name: ready[name] for name in commands if name.endswith("setup_commands")} == {
        "setup_commands": [], "head_setup_commands": [], "worker_setup_commands": [],
    }  # fmt: skip
    assert all(ready[name] == config[name] for name in commands)


def test_a_login_shell_of_the_image_finds_its_programs(tmp_path):
    dockerfile = (INFRA / "docker" / "Dockerfile").read_text()
    (line, file), (environment,) = (
        re.findall(r"echo '(PATH=.*)' > (\S+)", dockerfile)[0],
        re.findall(r"^ENV PATH=(\S+):\$PATH", dockerfile, flags=re.MULTILINE),
    )
    assert re.fullmatch(r"/etc/profile\.d/\w+\.sh", file)
    (tmp_path / "sweeps.sh").write_text(line)
    command = f"PATH=/usr/bin:/bin; . {tmp_path}/sweeps.sh; printenv PATH"  # as Debian's /etc/profile does
    said = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=True)
    assert said.stdout == f"{environment}:/usr/bin:/bin\n"


def test_the_driver_alone_has_mlflows_login_on_a_cluster_of_ray_up(tmp_path):
    """Ray's own command for docker, run by a shell as `ray up` does; `docker` and `sudo` are stood in for."""
    from ray.autoscaler._private.docker import docker_start_cmds

    docker = documents("ray/cluster.yaml")[0]["docker"]
    (tmp_path / "sudo").write_text('#!/bin/sh\n[ "$*" = "cat /shared/mlflow.env" ] && echo PASSWORD=x\n')
    (tmp_path / "docker").write_text(
        '#!/bin/bash\nfor word; do case $word in --env-file=/dev/*) cat "${word#*=}";; esac; done\n'
    )
    for name in ("sudo", "docker"):
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    seen = {}
    for kind in ("head", "worker"):
        options = docker["run_options"] + docker.get(f"{kind}_run_options", [])
        command = docker_start_cmds("ubuntu", docker["image"], {}, "sweeps", options, "sweeps", "/home", "docker")
        said = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
        seen[kind] = said.stdout
    assert seen == {"head": "PASSWORD=x\n", "worker": ""}
    assert "mlflow.env" not in str(documents("ray/cluster.yaml")[0]["initialization_commands"])
    services = documents("docker/compose.yaml")[0]["services"]
    assert [name for name in services if "mlflow_password" in services[name].get("secrets", ())] == ["head"]


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


def test_the_job_of_kubernetes_is_found_by_the_name_of_its_sweep():
    (job,) = documents("kubernetes/rayjob.yaml")
    (file,) = re.findall(r"sweeps/\S+\.yaml", job["spec"]["entrypoint"])
    assert job["spec"]["metadata"] == {"sweep": yaml.safe_load((ROOT / file).read_text())["name"]}


def test_no_job_on_a_shared_cluster_is_retried_by_kuberay():
    """KubeRay retries with a new cluster, for which it deletes the old one (its issue 4516), or refuses the job."""
    jobs = [document for name in YAML for document in documents(name) if document.get("kind") == "RayJob"]
    assert any("clusterSelector" in job["spec"] for job in jobs)
    assert not any("clusterSelector" in job["spec"] and "backoffLimit" in job["spec"] for job in jobs)
    assert not any("ttlSecondsAfterFinished" in job["spec"] for job in jobs if "clusterSelector" in job["spec"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_can_be_run(name):
    subprocess.run(["bash", "-n", str(INFRA / name)], check=True)
    assert os.access(INFRA / name, os.X_OK)


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
