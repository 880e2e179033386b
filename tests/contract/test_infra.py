"""Every file of infra/ says how it is used, parses, holds no secret, agrees with the code and the pinned versions."""

import os
import re
import subprocess
import tomllib

import pytest

from tests.contract.infra import FILES, INFRA, ROOT, YAML, documents, walk

SCRIPTS = [name for name in FILES if name.endswith((".sh", ".sbatch"))]
PINNED = dict(line.split("==") for line in (INFRA / "constraints.txt").read_text().split())
IMAGE = "sweeps:" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CODE = "".join(path.read_text() for side in ("platform", "trainables") for path in (ROOT / side).rglob("*.py"))
OF_OTHERS = {
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "RAY_AUTH_MODE", "RAY_HEAD_IP",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S",
}  # fmt: skip
"""Read by MLflow and Ray themselves."""
OF_SCRIPTS = {"MLFLOW_ARTIFACTS", "SWEEP_SCRATCH", "SWEEP_NODES_WAIT_S", "SWEEP_DATA_HOST"}
"""Read by the file that names them."""


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
        assert re.search(r":[\w.-]*\d", image), f"{image}: without a version, it is another one tomorrow"
        assert image == IMAGE or image.startswith(("postgres:", "nginx:", "nginxinc/", "versity/")), image


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
    assert "--build-arg SWEEP_GIT_COMMIT=$(git rev-parse HEAD)" in dockerfile
    assert re.search(r"^ARG SWEEP_GIT_COMMIT=unknown\nENV SWEEP_GIT_COMMIT=\$SWEEP_GIT_COMMIT$", dockerfile, flags=re.M)
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


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_can_be_run(name):
    subprocess.run(["bash", "-n", str(INFRA / name)], check=True)
    assert os.access(INFRA / name, os.X_OK)
