"""What a cluster says of itself before a sweep is sent there.

This file's text runs on the cluster, as a job without our tree; so it imports the standard library and Ray only. It is
given a request and prints one line, `ANSWER` and JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from pathlib import Path
from typing import Any

ANSWER = "SWEEP-PROBE "
_TIMEOUT_S = 60
_NODES = 32


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Look at versions, storage and tracking from the head and from each node.

    Args:
        request: `storage`, an absolute folder, or None for the cluster's own $SWEEP_STORAGE; `tracking`, (host, port)
            of the server, or None; `packages`, names.

    Returns:
        `python`, `packages` (name -> version or None), `storage` (as found), `storage_problem` (None, or why not),
        `tracking_problem`, `nodes` (how many were asked).
    """
    import importlib.metadata

    versions: dict[str, str | None] = {}
    for name in request["packages"]:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    storage = request["storage"] or os.environ.get("SWEEP_STORAGE")
    problem, nodes = _storage_problem(storage) if storage and os.path.isabs(storage) else (None, 0)
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "packages": versions,
        "storage": storage,
        "storage_problem": problem,
        "tracking_problem": _unreachable(request["tracking"]),
        "nodes": nodes,
    }


def _unreachable(server: tuple[str, int] | None) -> str | None:
    try:
        if server:
            socket.create_connection((server[0], server[1]), timeout=10).close()
    except OSError as error:
        return str(error)
    return None


def _storage_problem(storage: str) -> tuple[str | None, int]:
    """Whether each node sees in the folder what the head wrote, and the head what the node wrote."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

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
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        nodes = [node for node in ray.nodes() if node["Alive"]][:_NODES]
        task = ray.remote(look)
        asked = {
            node["NodeID"]: task.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(mark), node["NodeID"])
            for node in nodes
        }
        for node in nodes:
            try:
                failed = ray.get(asked[node["NodeID"]], timeout=_TIMEOUT_S)
            except Exception as error:
                failed = f"no answer within {_TIMEOUT_S} s: {type(error).__name__}"
            if failed is None and not (mark / node["NodeID"]).exists():
                failed = "what it writes there does not reach the head"
            if failed:
                return f"node {node['NodeManagerAddress']} does not see it ({failed})", len(nodes)
        return None, len(nodes)
    finally:
        for path in mark.iterdir():
            path.unlink()
        mark.rmdir()
        if not was_there:
            Path(storage).rmdir()


if __name__ == "__main__":
    sys.stdout.write(ANSWER + json.dumps(answer(json.loads(os.environ["SWEEP_PROBE_REQUEST"]))) + "\n")
