"""Trials over several nodes: the trial's worker starts the ranks of its own node, node agents those of the others.

The nodes' shares are the bundles of the trial's placement group: the worker has the first one, each node agent one
more. Node agents belong to the worker, and ranks to the process that started them, so that all end with the worker. A
lost node is found in two ways: Ray says so, or its node agent does not answer after ranks elsewhere have failed.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainables.runtime import process_group
from trainables.runtime.launch import RankFailed, last_words, output_of
from trainables.runtime.rank_messages import NodeTask, RankEnd
from trainables.runtime.task import Task
from trainables.runtime.worker import run_local_ranks
from trainables.trial import EXCEPTION, FINISHED, RETIRED, WORKER_LOST, Trial, TrialStopped

_PLACED_S = 300.0  # a node that has just died is missed here; the trial is then placed anew
_ANSWER_S = 10.0
_END_S = 5.0


def run_on_nodes(task: Task, trial: Trial) -> float:
    """Run the trial on the nodes of this actor's placement group.

    Args:
        task: of the trial; ``ranks`` is a multiple of ``nodes``.
        trial: where its reports go.

    Returns:
        MiB of memory that the ranks held.

    Raises:
        RankFailed: a rank failed or its node was lost; all have ended.
        ValueError: a node has fewer GPUs than ranks, or no interface with its address.
        TrialStopped: the trial was told to end; all ranks have ended.
    """
    address, nodes, share = ray.util.get_node_ip_address(), task.nodes, task.ranks // task.nodes
    group = get_current_placement_group()
    assert group is not None, "a trial on several nodes runs in a placement group"
    assert group.bundle_count == nodes, f"a trial on {nodes} nodes has a bundle on each, but got {group.bundle_count}"
    store = process_group.open_store(address)
    own, *rest = (
        NodeTask(task=task, ranks=ranks, gpus=task.gpus / nodes, address=address, port=store.port)
        for ranks in (range(first, first + share) for first in range(0, task.ranks, share))
    )
    others: list[_Node] = []
    try:
        for bundle, node_task in enumerate(rest, 1):
            others.append(_Node(group, bundle, node_task))
        for other in others:
            other.begin()
        return run_local_ranks(own, trial, address, others=others, check=_with_node())
    finally:
        for other in others:
            other.kill()


class NodeAgent:
    """An actor on another node; `run` goes on in one thread while others answer."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def address(self) -> str:
        """The node's; answered at any time."""
        return str(ray.util.get_node_ip_address())

    def run(self, node_task: NodeTask) -> RankEnd:
        """Run ranks to their end and return the last word of all together."""
        with_node = _with_node()

        def check() -> None:
            with_node()
            if self._ended.is_set():
                raise TrialStopped

        try:
            memory = run_local_ranks(node_task, None, self.address(), check=check)
        except TrialStopped:
            return RankEnd(reason=FINISHED)
        except _NodeGone:
            os._exit(1)
        except RankFailed as error:
            return error.end
        return RankEnd(reason=FINISHED, memory_mib=memory)

    def end(self) -> None:
        """Have `run` end its ranks and return."""
        self._ended.set()


class _NodeGone(RankFailed):
    """The raylet that started this process is gone: Ray has given the node up, but does not end what runs on it."""


def _with_node() -> Callable[[], None]:
    """A check that raises once this process's raylet is gone."""
    raylet = os.getppid()

    def check() -> None:
        if os.getppid() != raylet:
            raise _NodeGone(RankEnd(reason=WORKER_LOST, text="the raylet of this node is gone"))

    return check


class _Node:
    """One other node, as the trial's worker sees it; a :class:`trainables.runtime.launch.RemoteRanks`."""

    def __init__(self, group: PlacementGroup, bundle: int, node_task: NodeTask) -> None:
        self.name = f"node {bundle + 1} of {group.bundle_count}"
        self.end: RankEnd | None = None
        self._task = node_task
        self._actor = (
            ray.remote(NodeAgent)
            .options(
                num_cpus=node_task.task.cpus / group.bundle_count,
                num_gpus=node_task.gpus,
                max_concurrency=2,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle),
            )
            .remote()
        )
        self._placed = self._actor.address.remote()
        self._run: Any = None

    def begin(self) -> None:
        """Start its ranks, once the node agent is there.

        Raises:
            RankFailed: it is not, within a while.
        """
        try:
            self.name = f"node {ray.get(self._placed, timeout=_PLACED_S)}"
        except GetTimeoutError:
            text = f"{self.name}: was not to be had within {_PLACED_S:.0f} s"
            raise RankFailed(RankEnd(reason=RETIRED, text=text)) from None
        except RayError as error:
            lost = self._lost(error)
            raise RankFailed(replace(lost, text=f"{self.name}: {lost.text}")) from error
        self._run = self._actor.run.remote(self._task)

    def poll(self) -> None:
        """See :meth:`trainables.runtime.launch.RemoteRanks.poll`."""
        if self.end is None and ray.wait([self._run], timeout=0)[0]:
            self.end = self._read_end()

    def check_alive(self) -> None:
        """See :meth:`trainables.runtime.launch.RemoteRanks.check_alive`."""
        self.poll()
        try:
            if self.end is None:
                ray.get(self._actor.address.remote(), timeout=_ANSWER_S)
        except RayError as error:
            self.end = self._lost(error)

    def kill(self) -> None:
        """End its ranks and the node agent."""
        if self._run is not None and self.end is None:
            self._actor.end.remote()
            ray.wait([self._run], timeout=_END_S)
        ray.kill(self._actor)

    def _read_end(self) -> RankEnd:
        try:
            end: RankEnd = ray.get(self._run)
        except RayTaskError as error:
            return RankEnd(reason=EXCEPTION, text=f"{type(error.cause).__name__}: {error.cause}")
        except RayError as error:
            return self._lost(error)
        return end

    def _lost(self, error: RayError) -> RankEnd:
        """The last word on a node that is gone; its ranks' output lies in the storage where that is a folder."""
        why = str(error).strip().partition("\n")[0]
        if isinstance(error, RayActorError):
            why = "its node agent died"
        elif isinstance(error, GetTimeoutError):
            why = f"no answer within {_ANSWER_S:.0f} s"
        words = (last_words(output_of(self._task.task, rank)) for rank in self._task.ranks)
        return RankEnd(reason=WORKER_LOST, text=f"is gone ({why}){next(filter(None, words), '')}")
