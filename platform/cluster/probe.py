"""A cluster's answer about itself, asked before a sweep is sent there.

This file's text runs on the cluster, as a job without our tree. Therefore it imports only the standard library, Ray
and, for a bucket, boto3. It reads a request and prints one line, `ANSWER` and JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ANSWER = "SWEEP-PROBE "
NODE_TYPES = "SWEEP_NODE_TYPES"
"""Environment variable: the autoscaler's node types, as YAML `{name: {resources, labels, max_workers}}`, or a file with
these under `available_node_types`. Default: the file that `ray up` leaves on the head."""
_RAY_UP = "~/ray_bootstrap_config.yaml"
_TIMEOUT_S = 60
_NODES = 32
_BUCKET = "s3://"


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Look at versions, storage and tracking from the head and from each node.

    Args:
        request: `storage`, an absolute folder or s3://bucket/prefix, or None for the cluster's own $SWEEP_STORAGE;
            `tracking`, (host, port) of the server, or None; `packages`, names.

    Returns:
        `python`, `packages` (name -> version or None), `storage` (as found), `storage_problem` (None or text),
        `tracking_problem` (the same), `nodes` (number asked), `alive` and `node_types` (see below).
    """
    import importlib.metadata

    import ray

    versions: dict[str, str | None] = {}
    for name in request["packages"]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    storage = request["storage"] or os.environ.get("SWEEP_STORAGE")
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    problem, nodes = None, 0
    if storage and storage.startswith(_BUCKET):
        problem, nodes = _bucket_problem(storage)
    elif storage and os.path.isabs(storage):
        problem, nodes = _folder_problem(storage)
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "packages": versions,
        "storage": storage,
        "storage_problem": problem,
        "tracking_problem": _unreachable(request["tracking"]),
        "nodes": nodes,
        "alive": alive(),
        "node_types": node_types(),
    }


def alive() -> list[dict[str, Any]]:
    """`resources` and `labels` of each node of the connected cluster."""
    import ray

    return [
        {"resources": node["Resources"], "labels": node.get("Labels") or {}} for node in ray.nodes() if node["Alive"]
    ]


def node_types(environment: Mapping[str, str] = os.environ) -> str | None:
    """The text of :data:`NODE_TYPES`, or of the file that it names; None if there is neither."""
    said = environment.get(NODE_TYPES) or os.path.expanduser(_RAY_UP)
    if said.lstrip().startswith("{") or not os.path.isfile(said):
        return environment.get(NODE_TYPES) or None
    return Path(said).read_text()


def _unreachable(server: tuple[str, int] | None) -> str | None:
    try:
        if server:
            socket.create_connection((server[0], server[1]), timeout=10).close()
    except OSError as error:
        return str(error)
    return None


def _folder_problem(storage: str) -> tuple[str | None, int]:
    """Check that each node sees in the folder what the head wrote, and the head what the node wrote."""

    def look(folder: str, name: str) -> str | None:
        import os

        try:
            with open(os.path.join(folder, "head")) as stream:
                stream.read()
            with open(os.path.join(folder, name), "w") as out:
                out.write(name)
        except OSError as error:
            return f"{error.strerror}"
        return None

    was_there = os.path.isdir(storage)
    mark = Path(storage) / f".probe-{uuid.uuid4().hex}"
    try:
        mark.mkdir(parents=True)
        (mark / "head").write_text("")
    except OSError as error:
        return f"the head cannot write to it ({error.strerror})", 0
    try:
        return _ask_nodes(look, str(mark), lambda node: (mark / node).exists())
    finally:
        for path in mark.iterdir():
            path.unlink()
        mark.rmdir()
        if not was_there:
            Path(storage).rmdir()


def _bucket_problem(storage: str) -> tuple[str | None, int]:
    """Check a bucket as `_folder_problem` checks a folder, with the credentials that each node has."""

    def look(mark: str, name: str) -> str | None:
        try:
            import boto3

            bucket, _, key = mark.partition("/")
            client = boto3.client("s3")
            client.get_object(Bucket=bucket, Key=f"{key}/head")
            client.put_object(Bucket=bucket, Key=f"{key}/{name}", Body=b"")
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    bucket, _, prefix = storage.removeprefix(_BUCKET).partition("/")
    key = f"{prefix.rstrip('/')}/.probe-{uuid.uuid4().hex}".lstrip("/")
    try:
        import boto3

        client = boto3.client("s3")
        client.put_object(Bucket=bucket, Key=f"{key}/head", Body=b"")
    except Exception as error:
        return f"the head cannot write to it ({type(error).__name__}: {error})", 0

    def written() -> set[str]:
        found = client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/").get("Contents", ())
        return {entry["Key"].rpartition("/")[2] for entry in found}

    try:
        return _ask_nodes(look, f"{bucket}/{key}", lambda node: node in written())
    finally:
        for name in written():
            client.delete_object(Bucket=bucket, Key=f"{key}/{name}")


def _ask_nodes(
    look: Callable[[str, str], str | None], mark: str, is_there: Callable[[str], bool]
) -> tuple[str | None, int]:
    """Let each node read the mark and write one of its own; returns the problem and the number of nodes asked."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]][:_NODES]
    task = ray.remote(look)
    asked = {
        node["NodeID"]: task.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(mark, node["NodeID"])
        for node in nodes
    }
    for node in nodes:
        try:
            failed = ray.get(asked[node["NodeID"]], timeout=_TIMEOUT_S)
        except Exception as error:
            failed = f"no answer within {_TIMEOUT_S} s: {type(error).__name__}"
        if failed is None and not is_there(node["NodeID"]):
            failed = "what it writes there does not reach the head"
        if failed:
            return f"node {node['NodeManagerAddress']} does not see it ({failed})", len(nodes)
    return None, len(nodes)


if __name__ == "__main__":
    sys.stdout.write(ANSWER + json.dumps(answer(json.loads(os.environ["SWEEP_PROBE_REQUEST"]))) + "\n")
