"""Nodes that a cluster has and can add, the trials that fit on them, and the resources that stay idle."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from platform.cluster import probe
from platform.errors import SweepError
from platform.sweepfile.spec import Resources
from platform.sweepfile.yaml_lines import read as read_yaml

_SHORT = 200  # characters
_GROUP = "ray.io/node-group"
_SHOWN = {"CPU": "CPU", "GPU": "GPU", "memory": "GiB memory"}
_OF_RAY = ("node:", "object_store_memory", "accelerator_type:", "bundle")


@dataclass(frozen=True)
class Capacity:
    """The resources of one trial, and the number that run at once.

    `cpu`, `gpu`, `memory` (in bytes) and `custom` (resources that the cluster's owner named) are a whole trial's, ranks
    included, in equal parts on `nodes` different nodes; `label` selects nodes. `at_once` trials run at once.
    """

    cpu: float
    gpu: float
    memory: int | None
    at_once: int
    custom: Mapping[str, float] = field(default_factory=dict)
    label: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 1

    @property
    def bundle(self) -> dict[str, float]:
        """Ray's resource request for one node's part of a trial."""
        request: dict[str, float] = {"CPU": self.cpu}
        if self.gpu:
            request["GPU"] = self.gpu
        if self.memory:
            request["memory"] = self.memory
        return {name: amount / self.nodes for name, amount in {**request, **self.custom}.items()}

    @property
    def takes(self) -> str:
        """The resources of a trial, in words."""
        return readable(self.bundle) + (f" on each of {self.nodes} nodes" if self.nodes > 1 else "")


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
    return nodes_of({"alive": probe.alive(), "node_types": probe.node_types()})


def nodes_of(answer: Mapping[str, Any]) -> list[Nodes]:
    """The nodes of a cluster as :func:`platform.cluster.probe.answer` tells them: `alive` and `node_types`.

    Raises:
        SweepError: the node types cannot be read.
    """
    there = [Nodes(1, _own(node["resources"]), node["labels"]) for node in answer["alive"]]
    groups = [node.labels.get(_GROUP, "") for node in there]
    later = addable(answer["node_types"])
    return [*there, *(replace(kind, count=kind.count - groups.count(kind.name)) for kind in later)]


def addable(said: str | None) -> list[Nodes]:
    """The most nodes of each type that the autoscaler can have; empty if nothing says so.

    Args:
        said: see :func:`platform.cluster.probe.node_types`.

    Raises:
        SweepError: it cannot be read.
    """
    if said is None:
        return []
    document = read_yaml(said)
    types: Any = document.data
    if isinstance(types, dict) and not said.lstrip().startswith("{"):
        types = types.get("available_node_types", {})
    try:
        if document.problems:
            raise ValueError(document.problems[0][1])
        if not isinstance(types, dict):
            raise TypeError("neither node types nor a file")
        return [_node_type(name, entry) for name, entry in types.items() if entry.get("max_workers", 0)]
    except (AttributeError, TypeError, ValueError) as error:
        raise SweepError(
            f"{probe.NODE_TYPES}: must be {{name: {{resources: {{CPU: 8, GPU: 1}}, max_workers: 4}}}} or a file with "
            f"that under available_node_types, but got {said[:_SHORT]!r} ({error}); correct it"
        ) from error


def _node_type(name: str, entry: Mapping[str, Any]) -> Nodes:
    resources = {key: float(value) for key, value in entry["resources"].items()} if "resources" in entry else {}
    return Nodes(int(entry["max_workers"]), resources, {_GROUP: name, **entry.get("labels", {})}, added=True, name=name)


def capacity(resources: Resources, limit: int | None, kinds: Sequence[Nodes] | None = None) -> Capacity:
    """Resolve `gpu: auto` and the number of trials at once.

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
        resources.nodes,
    )
    parts = [(kind.count, how_often(need.bundle, kind.resources)) for kind in chosen]
    fits = trials_over(parts, need.nodes)
    if not fits:
        raise SweepError(_too_large(need, chosen, sum(count for count, parts_there in parts if parts_there)))
    return replace(need, at_once=min(fits, limit) if limit else fits)


def trials_over(parts: Sequence[tuple[int, int]], nodes: int) -> int:
    """Number of trials that fit at once, each with one part on each of `nodes` different nodes.

    Args:
        parts: (number of such nodes, parts that fit on each).
        nodes: of one trial.
    """
    # So many trials fit exactly if the nodes take all their parts, none more than one of each trial.
    most = sum(count * there for count, there in parts) // nodes
    while most and sum(count * min(there, most) for count, there in parts) < most * nodes:
        most -= 1
    return most


def _too_large(need: Capacity, kinds: Sequence[Nodes], roomy: int) -> str:
    """The reason that no trial fits on nodes of these kinds, of which `roomy` can take a part."""
    sizes = "; ".join(sorted({readable(kind.resources) or "nothing" for kind in kinds}))
    if need.nodes == 1:
        return (
            f"resources: one trial must fit on a node, but it takes {need.takes} and the cluster "
            f"has nodes of {sizes}; lower `resources`, or add such a node"
        )
    there, added = (sum(kind.count for kind in kinds if kind.added == added) for added in (False, True))
    counted = f"{there} node{'s' * (there != 1)}" + (f" and {added} that can be added" if added else "")
    return (
        f"resources.nodes: one trial must fit on the nodes, but it takes {need.takes} and of the cluster's {counted} "
        f"({sizes}) {roomy} can take a part; lower `resources`, or add nodes"
    )


def packing(need: Capacity, kinds: Sequence[Nodes] | None = None) -> list[str]:
    """One line for each kind of node: trials that fit on it, and the resources that then stay idle.

    `2 nodes of 8 CPU, 1 GPU: 1 trial each; 7 CPU idle on each`

    Where fewer trials run than places exist, Ray chooses the places that stay free. A last line then says how much is
    idle in all on the existing nodes.
    """
    alike = _alike(nodes() if kinds is None else kinds, need.label)
    rows = [
        (kind, how_often(need.bundle, kind.resources) if _carries(kind.labels, need.label) else 0) for kind in alike
    ]
    parts = need.at_once * need.nodes
    some_free = sum(kind.count * places for kind, places in rows) > parts
    lines = [_line(need, kind, min(places, need.at_once), some_free) for kind, places in rows]
    if some_free:
        there = [(kind, places) for kind, places in rows if not kind.added]
        all_of_them = Counter[str]()
        for kind, _ in there:
            all_of_them.update({name: kind.count * amount for name, amount in kind.resources.items()})
        taken = min(parts, sum(kind.count * places for kind, places in there))
        idle = _idle(all_of_them, need.bundle, taken) or "nothing"
        lines.append(f"{need.at_once} trial{'s' * (need.at_once > 1)} at once: {idle} idle in all")
    return lines


def _alike(kinds: Sequence[Nodes], label: Mapping[str, str]) -> list[Nodes]:
    """The same nodes, those of one kind counted together."""
    found: dict[tuple[Any, ...], Nodes] = {}
    for kind in kinds:
        key = (kind.added, kind.name, tuple(kind.resources.items()), _carries(kind.labels, label))
        found[key] = replace(kind, count=max(0, kind.count) + (found[key].count if key in found else 0))
    return [kind for kind in found.values() if kind.count]


def _line(need: Capacity, kind: Nodes, places: int, some_free: bool) -> str:
    """Trials that `kind` takes, and its idle resources if no place on it may stay free."""
    shown = readable(kind.resources)
    where = f"{kind.count} node{'s' * (kind.count > 1)} of {shown}"
    if kind.added:
        where = f"up to {kind.count} more of {kind.name} ({shown})"
    what = f"trial{'s' * (places != 1)}" if need.nodes == 1 else f"part{'s' * (places != 1)} of trials"
    reason = "" if _carries(kind.labels, need.label) else " (not so labelled)"
    if some_free and places:
        return f"{where}: up to {places} {what} each{reason}"
    idle = _idle(kind.resources, need.bundle, places)
    return f"{where}: {places} {what} each{reason}; {f'{idle} idle on each' if idle else 'nothing idle'}"


def _idle(resources: Mapping[str, float], bundle: Mapping[str, float], times: int) -> str:
    """Resources that `times` bundles leave, in words and without memory; "" if there are none."""
    left = {name: amount - times * bundle.get(name, 0.0) for name, amount in resources.items() if name != "memory"}
    return readable({name: amount for name, amount in left.items() if amount > 1e-9})


def how_often(bundle: Mapping[str, float], node: Mapping[str, float]) -> int:
    """Number of trials that take `bundle` on a node; shares of a GPU never span two of them."""
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
    """Drop the resources that Ray adds for itself."""
    return {name: value for name, value in resources.items() if not name.startswith(_OF_RAY)}


def _carries(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """True if a node's labels meet a selector as Ray reads it: `a`, `!a`, `in(a, b)`, `!in(a, b)`."""
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
