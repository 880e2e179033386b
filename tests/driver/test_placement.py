"""How many trials fit on which nodes, there or to be added, and what stays idle."""

import re

import pytest

from platform.errors import InvalidSweep, SweepError
from platform.fields import Resources
from platform.runners.placement import Nodes, addable, capacity, how_often, packing, readable

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
    need = capacity(Resources(gpu=0.5, cpu=2.0), None, [HEAD, GPUS, LATER])
    assert packing(need, [HEAD, GPUS, GPUS, LATER]) == [
        "1 node of 4 CPU: 0 trials each; 4 CPU idle on each",
        "4 nodes of 8 CPU, 4 GPU, 64.0 GiB memory: 4 trials each; 2 GPU idle on each",
        "up to 3 more of spot (4 CPU, 1 GPU): 2 trials each; nothing idle",
    ]


def test_the_packing_names_nodes_that_a_label_leaves_out():
    need = capacity(Resources(label={"zone": "a"}), None, [HEAD, GPUS])
    assert packing(need, [HEAD])[0] == "1 node of 4 CPU: 0 trials each (not so labelled); 4 CPU idle on each"


TYPES = "{spot: {resources: {CPU: 4, GPU: 1}, labels: {zone: b}, max_workers: 3}, head: {resources: {CPU: 4}}}"


def test_what_can_be_added_is_told_inline_or_by_the_file_of_ray_up(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert addable({}) == []
    assert addable({"SWEEP_NODE_TYPES": TYPES}) == [LATER]
    (tmp_path / "ray_bootstrap_config.yaml").write_text(f"cluster_name: c\navailable_node_types: {TYPES}\n")
    assert addable({}) == [LATER]
    assert addable({"SWEEP_NODE_TYPES": str(tmp_path / "ray_bootstrap_config.yaml")}) == [LATER]


@pytest.mark.parametrize("said", ["{spot: 3}", "{spot: {max_workers: many}}", "{spot: {", "gone.yaml"])
def test_node_types_that_cannot_be_read_are_refused(said):
    with pytest.raises(SweepError, match=r"SWEEP_NODE_TYPES: must be .*, but .*; correct it"):
        addable({"SWEEP_NODE_TYPES": said})


def test_resources_are_readable():
    assert readable({"memory": 2**32, "GPU": 0.5, "CPU": 2, "slot": 1}) == "2 CPU, 0.5 GPU, 4.0 GiB memory, 1 slot"
