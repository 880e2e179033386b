"""Checks of a cluster before a sweep is sent there and before anything is uploaded."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from platform.cluster import jobs, probe
from platform.errors import InvalidSweep, SweepError
from platform.storage.folder import folder_of
from platform.sweepfile.spec import SweepSpec
from platform.tracking.destination import Destination
from trainables.references import variables
from trainables.storage.objects import SCHEME

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_PACKAGES = ("ray", "optuna", "mlflow", "torch", "pydantic")
"""Packages that every sweep needs; a trainable may need more."""
_PROBE_S = 180
_SHARED = ("/", SCHEME)
_LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")


def tracking_problems(spec: SweepSpec, environment: Mapping[str, str], address: str) -> list[str]:
    """Report a tracking URI that means something else on the cluster than here.

    Args:
        spec: the sweep.
        environment: variables that are sent with the job.
        address: of the cluster; a cluster on this machine shares its loopback.
    """
    uri = spec.tracking.uri or environment.get("MLFLOW_TRACKING_URI")
    where = f"{spec.at('tracking.uri')}: tracking.uri" if spec.tracking.uri else "--env MLFLOW_TRACKING_URI"
    if not uri or variables(uri.rpartition("@")[2]):  # which only the head can read
        return []
    shown = str(Destination(uri, "", Path()))
    if urlsplit(uri).scheme in ("sqlite", "file", ""):
        return [
            f"{where}: must be a server that the cluster reaches, but got {shown!r}, a file; name http://host:port of "
            "an MLflow server (infra/mlflow), or leave it out for mlflow.db in the storage"
        ]
    if _is_loopback(uri) and not _is_loopback(address):
        return [
            f"{where}: must be a server that the cluster reaches, but {shown!r} is this machine's own loopback; "
            "name the host by an address that the cluster knows"
        ]
    return []


def storage_of(spec: SweepSpec, environment: Mapping[str, str]) -> str | None:
    """Return the storage for the cluster: an absolute folder, a bucket, or None for the cluster's own $SWEEP_STORAGE.

    Raises:
        InvalidSweep: it is neither.
    """
    folder_of(spec)  # refuses what is neither
    named = spec.storage if "storage" in spec.model_fields_set else environment.get("SWEEP_STORAGE")
    if named and not named.startswith(_SHARED):
        where = f"{spec.at('storage')}: storage" if "storage" in spec.model_fields_set else "--env SWEEP_STORAGE"
        raise InvalidSweep(
            [
                f"{where}: must be an absolute folder that every node sees, but got {named!r}, which would lie in the "
                "job's scratch space; write /shared/runs or similar, or s3://bucket/prefix"
            ]
        )
    return named or None


def ask(client: JobSubmissionClient, spec: SweepSpec, environment: Mapping[str, str]) -> dict[str, Any]:
    """The cluster's answer about itself (see `probe.answer`), by a small job without our tree."""
    uri = spec.tracking.uri or environment.get("MLFLOW_TRACKING_URI") or ""
    server = urlsplit(uri) if uri.startswith("http") and not variables(uri.rpartition("@")[2]) else None
    request = {
        "storage": storage_of(spec, environment),
        "packages": list(_PACKAGES),
        "tracking": [server.hostname, server.port or (443 if server.scheme == "https" else 80)] if server else None,
    }
    code = Path(probe.__file__).read_text()
    said = jobs.run(
        client,
        f"probe-{spec.name}-{uuid.uuid4().hex[:8]}",
        f"python -c {shlex.quote('import os; exec(os.environ.pop(' + repr('SWEEP_PROBE') + '))')}",
        {**environment, "SWEEP_PROBE": code, "SWEEP_PROBE_REQUEST": json.dumps(request)},
        _PROBE_S,
    )
    for line in said.splitlines():
        if line.startswith(probe.ANSWER):
            return dict(json.loads(line.removeprefix(probe.ANSWER)))
    raise SweepError(f"the cluster must answer a small job, but it said {said.strip()[-300:]!r}; see its dashboard")


def answer_problems(spec: SweepSpec, answer: Mapping[str, Any]) -> list[str]:
    """Problems of the sweep in the cluster's answer: versions, packages, storage, tracking."""
    problems = []
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if answer["python"] != python:
        problems.append(
            f"--address: the cluster must run Python {python} as this machine does, but it runs {answer['python']}; "
            "use one on both (infra/docker)"
        )
    theirs = answer["packages"]
    if missing := [name for name, version in theirs.items() if version is None]:
        problems.append(
            f"--address: the cluster must have the project's packages, but lacks {', '.join(missing)}; install them "
            "there with infra/constraints.txt (infra/docker has an image)"
        )
    for name, version in theirs.items():
        if version and version.partition("+")[0] != (ours := importlib.metadata.version(name).partition("+")[0]):
            problems.append(
                f"--address: the cluster must run {name} {ours} as this machine does, but it runs {version}; install "
                "one on both (infra/constraints.txt)"
            )
    where = f"{spec.at('storage')}: storage" if "storage" in spec.model_fields_set else "storage"
    if not answer["storage"] or not answer["storage"].startswith(_SHARED):
        problems.append(
            f"{where}: must be a folder that every node sees, but the sweep names none and $SWEEP_STORAGE of the "
            f"cluster is {answer['storage']!r}; write --set storage=/shared/runs, or set it on the head"
        )
    elif answer["storage_problem"]:
        in_bucket = answer["storage"].startswith(SCHEME)
        remedy = "give every node boto3, AWS_ENDPOINT_URL and credentials" if in_bucket else "mount it everywhere"
        problems.append(
            f"{where}: must be a {'bucket' if in_bucket else 'folder'} that every node sees, but of "
            f"{answer['storage']} {answer['storage_problem']}; {remedy}, or name another"
        )
    if answer["tracking_problem"]:
        problems.append(
            f"tracking.uri: must be a server that the cluster reaches, but its head gets "
            f"{answer['tracking_problem']!r}; start it, or open the way to it"
        )
    return problems


def _is_loopback(uri: str) -> bool:
    host = urlsplit(uri).hostname or ""
    return host.startswith(_LOOPBACK)
