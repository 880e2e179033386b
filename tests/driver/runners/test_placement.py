"""How many trials fit on which nodes, there or to be added, and what stays idle."""

import functools
import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.cluster.probe import node_types
from platform.errors import InvalidSweep, SweepError
from platform.runners.placement import (
    Nodes,
    addable,
    capacity,
    how_often,
    nodes_of,
    packing,
    readable,
    trials_over,
)
from platform.sweepfile.resources import Resources

HEAD = Nodes(1, {"CPU": 4.0}, {"ray.io/node-group": "head"})
GPUS = Nodes(2, {"CPU": 8.0, "GPU": 4.0, "memory": 2**36}, {"zone": "a"})
LATER = Nodes(3, {"CPU": 4.0, "GPU": 1.0}, {"ray.io/node-group": "spot", "zone": "b"}, added=True, name="spot")


def test_auto_takes_a_gpu_where_a_node_has_one_or_can_be_added_with_one():
    assert capacity(Resources(), None, [HEAD]).gpu == 0
    assert capacity(Resources(), None, [HEAD, GPUS]).gpu == 1
    scaled_to_zero = capacity(Resources(), None, [HEAD, LATER])
    assert (scaled_to_zero.gpu, scaled_to_zero.at_once) == (1, 3)


def test_auto_looks_only_at_nodes_that_carry_the_label():
    there = capacity(Resources(label={"zone": "a"}, cpu=2.0), None, [GPUS, Nodes(9, {"CPU": 64.0}, {})])
    assert (there.gpu, there.at_once) == (1, 8)
    assert capacity(Resources(label={"ray.io/node-group": "head"}), None, [HEAD, GPUS]).gpu == 0


@pytest.mark.parametrize(
    ("wanted", "at_once"), [("a", 8), ("!a", 3), ("in(a, b)", 11), ("!in(a, b)", None), ("b", 3), ("c", None)]
)
def test_labels_are_read_as_ray_reads_them(wanted, at_once):
    resources = Resources(label={"zone": wanted}, gpu=1)
    if at_once is None:
        with pytest.raises(SweepError):
            capacity(resources, None, [GPUS, LATER])
    else:
        assert capacity(resources, None, [GPUS, LATER]).at_once == at_once


def test_a_label_that_no_node_carries_is_refused_with_those_that_are_there():
    rule = (
        "resources.label: some node must carry zone=c, but the cluster has nodes with ray.io/node-group=head; zone=a;"
    )
    with pytest.raises(SweepError, match=re.escape(rule)):
        capacity(Resources(label={"zone": "c"}), None, [HEAD, GPUS])


def test_shares_of_a_gpu_never_span_two():
    assert how_often({"CPU": 0.1, "GPU": 0.4}, {"CPU": 64, "GPU": 4}) == 8  # 4 / 0.4 would be 10
    assert how_often({"CPU": 0.1, "GPU": 0.1}, {"CPU": 64, "GPU": 1}) == 10
    assert how_often({"CPU": 1, "GPU": 2}, {"CPU": 64, "GPU": 5}) == 2


@pytest.mark.parametrize(("gpu", "fits"), [(0.5, True), (1, True), (2.0, True), (1.5, False), (-1, False)])
def test_gpus_are_a_share_of_one_or_whole(sweep, gpu, fits):
    if fits:
        assert sweep(f"resources.gpu={gpu}").spec.resources.gpu == gpu
    else:
        with pytest.raises(InvalidSweep, match=re.escape(f"but got {gpu}")):
            sweep(f"resources.gpu={gpu}")


def test_custom_resources_are_asked_for_and_counted():
    node = Nodes(2, {"CPU": 8.0, "fast_disk": 3.0}, {})
    need = capacity(Resources(custom={"fast_disk": 1.0}, gpu=0), None, [node, HEAD])
    assert need.bundle == {"CPU": 1.0, "fast_disk": 1.0}
    assert need.at_once == 6
    with pytest.raises(SweepError, match="takes 1 CPU, 1 tape and the cluster has nodes of 4 CPU; lower"):
        capacity(Resources(custom={"tape": 1.0}, gpu=0), None, [HEAD])


def test_never_more_at_once_than_the_sweep_allows():
    assert capacity(Resources(), 5, [GPUS, LATER]).at_once == 5
    assert capacity(Resources(), 50, [GPUS, LATER]).at_once == 11


def test_the_packing_says_what_each_kind_of_node_takes_and_leaves_idle():
    kinds = [HEAD, GPUS, GPUS, LATER]
    assert packing(capacity(Resources(gpu=0.5, cpu=2.0), None, kinds), kinds) == [
        "1 node of 4 CPU: 0 trials each; 4 CPU idle on each",
        "4 nodes of 8 CPU, 4 GPU, 64.0 GiB memory: 4 trials each; 2 GPU idle on each",
        "up to 3 more of spot (4 CPU, 1 GPU): 2 trials each; nothing idle",
    ]


def test_the_packing_counts_what_a_limit_leaves_idle():
    kinds = [HEAD, GPUS, LATER]
    assert packing(capacity(Resources(gpu=1), 5, kinds), kinds) == [
        "1 node of 4 CPU: 0 trials each; 4 CPU idle on each",
        "2 nodes of 8 CPU, 4 GPU, 64.0 GiB memory: up to 4 trials each",
        "up to 3 more of spot (4 CPU, 1 GPU): up to 1 trial each",
        "5 trials at once: 15 CPU, 3 GPU idle in all",
    ]
    assert packing(capacity(Resources(gpu=1), 1, kinds), kinds)[1:] == [
        "2 nodes of 8 CPU, 4 GPU, 64.0 GiB memory: up to 1 trial each",
        "up to 3 more of spot (4 CPU, 1 GPU): up to 1 trial each",
        "1 trial at once: 19 CPU, 7 GPU idle in all",
    ]
    assert packing(capacity(Resources(gpu=1), 10, kinds), kinds)[-1] == "10 trials at once: 12 CPU idle in all"
    assert packing(capacity(Resources(gpu=1, cpu=2.0), 8, [GPUS]), [GPUS]) == [
        "2 nodes of 8 CPU, 4 GPU, 64.0 GiB memory: 4 trials each; nothing idle"
    ]


def test_a_trial_over_several_nodes_has_equal_parts_on_different_ones():
    spread = Resources(gpu=1, cpu=2.0, memory=2**30, custom={"slot": 1.0}, workers=4, nodes=2)
    kinds = [HEAD, replace(GPUS, resources={**GPUS.resources, "slot": 4.0})]
    need = capacity(spread, None, kinds)
    assert need.bundle == {"CPU": 4.0, "GPU": 2.0, "memory": 2**31, "slot": 2.0}
    assert (need.cpu, need.gpu, need.nodes, need.at_once) == (8.0, 4.0, 2, 2)
    assert need.takes == "4 CPU, 2 GPU, 2.0 GiB memory, 2 slot on each of 2 nodes"
    assert packing(need, kinds)[1:] == [
        "2 nodes of 8 CPU, 4 GPU, 64.0 GiB memory, 4 slot: 2 parts of trials each; nothing idle"
    ]
    assert packing(replace(need, at_once=1), kinds)[1:] == [
        "2 nodes of 8 CPU, 4 GPU, 64.0 GiB memory, 4 slot: up to 1 part of trials each",
        "1 trial at once: 12 CPU, 4 GPU, 4 slot idle in all",
    ]


def test_a_trial_over_more_nodes_than_there_are_or_can_be_is_refused_with_their_number():
    assert capacity(Resources(gpu=1, workers=5, nodes=5), None, [HEAD, GPUS, LATER]).at_once == 1
    rule = "resources.nodes: one trial must fit on the nodes, but it takes 1 CPU, 1 GPU on each of 6 nodes and of the "
    rule += "cluster's 3 nodes and 3 that can be added (4 CPU; 4 CPU, 1 GPU; 8 CPU, 4 GPU, 64.0 GiB memory) 5 can take "
    with pytest.raises(SweepError, match=re.escape(rule + "a part; lower `resources`, or add nodes")):
        capacity(Resources(gpu=1, workers=6, nodes=6), None, [HEAD, GPUS, LATER])
    with pytest.raises(
        SweepError, match=re.escape("on each of 2 nodes and of the cluster's 1 node (4 CPU) 1 can take")
    ):
        capacity(Resources(workers=2, nodes=2), None, [HEAD])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 4))
def test_as_many_trials_fit_as_can_be_laid_out_one_by_one(room, nodes):
    @functools.cache
    def laid_out(room: tuple[int, ...]) -> int:
        found = [0]
        for chosen in itertools.combinations(range(len(room)), nodes):
            if all(room[node] for node in chosen):
                found.append(1 + laid_out(tuple(left - (node in chosen) for node, left in enumerate(room))))
        return max(found)

    assert trials_over([(1, there) for there in room], nodes) == laid_out(tuple(room))


def test_a_cluster_is_counted_as_its_probe_tells():
    alive = [
        {"resources": {"CPU": 4.0, "node:10.0.0.1": 1.0, "object_store_memory": 9.0}, "labels": {}},
        {"resources": {"CPU": 4.0, "GPU": 1.0}, "labels": {"ray.io/node-group": "spot"}},
    ]
    told = nodes_of({"alive": alive, "node_types": TYPES})
    assert [(kind.count, dict(kind.resources)) for kind in told] == [
        (1, {"CPU": 4.0}),
        (1, {"CPU": 4.0, "GPU": 1.0}),
        (2, {"CPU": 4.0, "GPU": 1.0}),
    ]


def test_the_packing_names_nodes_that_a_label_leaves_out():
    need = capacity(Resources(label={"zone": "a"}), None, [HEAD, GPUS])
    assert packing(need, [HEAD])[0] == "1 node of 4 CPU: 0 trials each (not so labelled); 4 CPU idle on each"


TYPES = "{spot: {resources: {CPU: 4, GPU: 1}, labels: {zone: b}, max_workers: 3}, head: {resources: {CPU: 4}}}"


def test_what_can_be_added_is_told_inline_or_by_the_file_of_ray_up(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert addable(node_types({})) == []
    assert addable(node_types({"SWEEP_NODE_TYPES": TYPES})) == [LATER]
    (tmp_path / "ray_bootstrap_config.yaml").write_text(f"cluster_name: c\navailable_node_types: {TYPES}\n")
    assert addable(node_types({})) == [LATER]
    assert addable(node_types({"SWEEP_NODE_TYPES": str(tmp_path / "ray_bootstrap_config.yaml")})) == [LATER]


@pytest.mark.parametrize("said", ["{spot: 3}", "{spot: {max_workers: many}}", "{spot: {", "gone.yaml"])
def test_node_types_that_cannot_be_read_are_refused(said):
    with pytest.raises(SweepError, match=r"SWEEP_NODE_TYPES: must be .*, but .*; correct it"):
        addable(node_types({"SWEEP_NODE_TYPES": said}))


def test_resources_are_readable():
    assert readable({"memory": 2**32, "GPU": 0.5, "CPU": 2, "slot": 1}) == "2 CPU, 0.5 GPU, 4.0 GiB memory, 1 slot"
