"""Clusters by `ray up` and on Kubernetes: Ray, Kubernetes' schemas and the driver accept their files."""

import os
import re
import subprocess

import pytest
import yaml

from platform.cluster.probe import node_types
from platform.runners.placement import addable
from tests.contract.infra import INFRA, ROOT, YAML, documents, templates


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
