"""Which nodes a cluster has and can add, how many trials fit on them, and what stays idle."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from platform.errors import SweepError
from platform.spec import Resources
from platform.yaml_lines import read as read_yaml

NODE_TYPES = "SWEEP_NODE_TYPES"
"""Environment variable: what the autoscaler can add, as `{name: {resources, labels, max_workers}}` in YAML, or a file
with that under `available_node_types`; default the file that `ray up` leaves on the head."""
_RAY_UP = "~/ray_bootstrap_config.yaml"
_GROUP = "ray.io/node-group"
_SHOWN = {"CPU": "CPU", "GPU": "GPU", "memory": "GiB memory"}
_OF_RAY = ("node:", "object_store_memory", "accelerator_type:", "bundle")


@dataclass(frozen=True)
class Capacity:
    """What one trial takes and how many run at once.

    `cpu` and `gpu` are a trial's own (ranks included); `memory` is in bytes; `at_once` trials fit the cluster. `custom`
    are resources that the cluster's owner named; `label` selects nodes.
    """

    cpu: float
    gpu: float
    memory: int | None
    at_once: int
    custom: Mapping[str, float] = field(default_factory=dict)
    label: Mapping[str, str] = field(default_factory=dict)

    @property
    def bundle(self) -> dict[str, float]:
        """Ray's resource request."""
        request: dict[str, float] = {"CPU": self.cpu}
        if self.gpu:
            request["GPU"] = self.gpu
        if self.memory:
            request["memory"] = self.memory
        return {**request, **self.custom}


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind: `count` of them, `added` ones if they are not there yet but can be."""

    count: int
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    added: bool = False
    name: str = ""


def nodes() -> list[Nodes]:
    """The nodes of the connected cluster, and those that its autoscaler can add."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    there = [Nodes(1, _own(node["Resources"]), node.get("Labels") or {}) for node in alive]
    groups = [node.labels.get(_GROUP, "") for node in there]
    return [*there, *(replace(kind, count=kind.count - groups.count(kind.name)) for kind in addable())]


def addable(environment: Mapping[str, str] = os.environ) -> list[Nodes]:
    """What the autoscaler can have at most of each node type, see `NODE_TYPES`; nothing where nothing says so.

    Raises:
        SweepError: it is said in a way that cannot be read.
    """
    said = environment.get(NODE_TYPES) or str(Path(_RAY_UP).expanduser())
    inline = said.lstrip().startswith("{")
    if not inline and not Path(said).is_file():
        if NODE_TYPES in environment:
            raise SweepError(f"{NODE_TYPES}: must be node types or a file with them, but {said} is no file; correct it")
        return []
    document = read_yaml(said if inline else Path(said).read_text())
    types: Any = document.data if inline or not isinstance(document.data, dict) else (
        document.data.get("available_node_types", {})
    )  # fmt: skip
    try:
        if document.problems:
            raise ValueError(document.problems[0][1])
        return [_node_type(name, entry) for name, entry in types.items() if entry.get("max_workers", 0)]
    except (AttributeError, TypeError, ValueError) as error:
        raise SweepError(
            f"{NODE_TYPES}: must be {{name: {{resources: {{CPU: 8, GPU: 1}}, max_workers: 4}}}} or a file with that "
            f"under available_node_types, but got {said!r} ({error}); correct it"
        ) from error


def _node_type(name: str, entry: Mapping[str, Any]) -> Nodes:
    resources = {key: float(value) for key, value in entry["resources"].items()} if "resources" in entry else {}
    return Nodes(int(entry["max_workers"]), resources, {_GROUP: name, **entry.get("labels", {})}, added=True, name=name)


def capacity(resources: Resources, limit: int | None, kinds: Sequence[Nodes] | None = None) -> Capacity:
    """Resolve `gpu: auto` and how many trials run at once.

    Args:
        resources: of the sweep, per rank.
        limit: `max_concurrent_trials`; None is as many as fit.
        kinds: where they run; None is the connected cluster.

    Raises:
        SweepError: no node, there or to be added, can give what one trial takes.
    """
    kinds = nodes() if kinds is None else kinds
    label = resources.label or {}
    chosen = [kind for kind in kinds if kind.count > 0 and _carries(kind.labels, label)]
    if not chosen:
        carried = "; ".join(sorted({_labelled(kind.labels) for kind in kinds})) or "none"
        raise SweepError(
            f"resources.label: some node must carry {_labelled(label)}, but the cluster has nodes with {carried}; "
            "start one with `ray start --labels`, or correct the label"
        )
    gpu = resources.gpu
    if gpu == "auto":
        gpu = 1.0 if any(kind.resources.get("GPU") for kind in chosen) else 0.0
    ranks = resources.workers
    need = Capacity(
        resources.cpu * ranks,
        gpu * ranks,
        resources.memory * ranks if resources.memory else None,
        0,
        {name: amount * ranks for name, amount in (resources.custom or {}).items()},
        label,
    )
    fits = sum(kind.count * how_often(need.bundle, kind.resources) for kind in chosen)
    if not fits:
        largest = "; ".join(sorted({readable(kind.resources) or "nothing" for kind in chosen}))
        raise SweepError(
            f"resources: one trial must fit on a node, but it takes {readable(need.bundle)} and the cluster "
            f"has nodes of {largest}; lower `resources`, or add such a node"
        )
    return replace(need, at_once=min(fits, limit) if limit else fits)


def packing(need: Capacity, kinds: Sequence[Nodes] | None = None) -> list[str]:
    """One line for each kind of node: how many trials it takes and what then stays idle.

    `2 nodes of 8 CPU, 1 GPU: 1 trial each; 7 CPU idle on each`
    """
    counted: dict[tuple[Any, ...], int] = {}
    for kind in nodes() if kinds is None else kinds:
        carries = _carries(kind.labels, need.label)
        times = how_often(need.bundle, kind.resources) if carries else 0
        key = (kind.added, kind.name, readable(kind.resources), tuple(kind.resources.items()), times, carries)
        counted[key] = counted.get(key, 0) + kind.count
    lines = []
    for (added, name, shown, resources, times, carries), count in counted.items():
        if count <= 0:
            continue
        left = {key: amount - times * need.bundle.get(key, 0.0) for key, amount in resources}
        idle = readable({key: amount for key, amount in left.items() if amount > 1e-9 and key != "memory"})
        where = f"up to {count} more of {name} ({shown})" if added else f"{count} node{'s' * (count > 1)} of {shown}"
        reason = "" if carries else " (not so labelled)"
        trials = f"{times} trial{'s' * (times != 1)} each{reason}"
        lines.append(f"{where}: {trials}; {f'{idle} idle on each' if idle else 'nothing idle'}")
    return lines


def how_often(bundle: Mapping[str, float], node: Mapping[str, float]) -> int:
    """How many trials that take `bundle` fit on a node; shares of a GPU never span two of them."""
    times = [node.get(name, 0.0) / amount for name, amount in bundle.items() if amount]
    gpu = bundle.get("GPU", 0.0)
    if 0 < gpu < 1:
        times.append(node.get("GPU", 0.0) * math.floor(1 / gpu + 1e-9))
    return math.floor(min(times) + 1e-9)


def readable(resources: Mapping[str, float]) -> str:
    """Resources in words: `2 CPU, 0.5 GPU, 4.0 GiB memory, 1 slot`."""
    known = [
        f"{value / 2**30:.1f} {unit}" if name == "memory" else f"{value:g} {unit}"
        for name, unit in _SHOWN.items()
        if (value := resources.get(name))
    ]
    return ", ".join([*known, *(f"{value:g} {name}" for name, value in resources.items() if name not in _SHOWN)])


def _own(resources: Mapping[str, float]) -> dict[str, float]:
    """Without what Ray adds for itself."""
    return {name: value for name, value in resources.items() if not name.startswith(_OF_RAY)}


def _carries(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether a node's labels meet a selector as Ray reads it: `a`, `!a`, `in(a, b)`, `!in(a, b)`."""
    return all(_meets(labels.get(name), wanted) for name, wanted in selector.items())


def _meets(value: str | None, wanted: str) -> bool:
    negated, wanted = wanted.startswith("!"), wanted.removeprefix("!")
    listed = re.fullmatch(r"in\((.*)\)", wanted)
    values = [word.strip() for word in listed[1].split(",")] if listed else [wanted]
    return (value in values) != negated


def _labelled(labels: Mapping[str, str]) -> str:
    return ", ".join(_pairs(labels)) or "no label"


def _pairs(labels: Mapping[str, str]) -> Iterator[str]:
    own = {name: value for name, value in labels.items() if not name.startswith("ray.io/node-id")}
    for name, value in own.items():
        yield f"{name}={json.dumps(value) if ' ' in value else value}"
