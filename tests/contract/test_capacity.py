"""Resources of a trial and the number that fits, on the Ray of this machine."""

import pytest

from platform.errors import SweepError
from platform.runners import placement, tune


def test_the_capacity_is_what_fits_the_nodes_and_the_limit(ray, sweep):
    import ray as engine

    cores = int(engine.cluster_resources()["CPU"])
    resources = sweep("resources={cpu: 1, gpu: 0}").spec.resources
    assert placement.capacity(resources, None).at_once == cores
    assert placement.capacity(resources, 1).at_once == 1
    assert placement.capacity(resources, None).bundle == {"CPU": 1.0}
    half = sweep("resources={cpu: 0.5, memory: 1MiB, gpu: 0}").spec.resources
    assert placement.capacity(half, None).at_once == 2 * cores
    assert placement.capacity(half, None).bundle == {"CPU": 0.5, "memory": 2**20}


def test_resources_that_no_node_has_are_told_with_what_there_is(ray, sweep):
    with pytest.raises(SweepError, match=r"must fit on a node, but it takes 999 CPU and the cluster has nodes of"):
        placement.capacity(sweep("resources.cpu=999").spec.resources, None)
    with pytest.raises(SweepError, match=r"it takes 1 CPU, 1 GPU and the cluster"):
        placement.capacity(sweep("resources={cpu: 1, gpu: 1}").spec.resources, None)


def test_a_ray_client_address_is_refused_with_the_remedy():
    with pytest.raises(SweepError, match=r"got 'ray://head:10001'; Ray Client would move .* use platform.submit"):
        tune.connect("ray://head:10001")
