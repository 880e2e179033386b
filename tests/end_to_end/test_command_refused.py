"""Sweeps that `python -m platform.sweep` refuses before a trial starts: exit code and message."""

import pytest


def test_an_invalid_file_exits_2_and_starts_nothing(start, ended, curve_file, tmp_path):
    curve_file.write_text(curve_file.read_text().replace("width:", "widht:"))
    done = ended(start())
    assert done.code == 2
    assert done.out == ""
    assert f"{curve_file}:8: parameters.widht: " in done.err
    assert "did you mean width?" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "where"), [(["--address", "inline", "--check"], "this process"), ([], "Ray on this machine")]
)
def test_a_trial_over_several_nodes_needs_a_cluster(start, ended, tmp_path, options, where):
    settings = ("resources.workers=2", "resources.nodes=2")
    done = ended(start(*options, *(word for setting in settings for word in ("--set", setting))))
    assert (done.code, done.out) == (2, "")
    rule = f"must be 1 where a sweep runs on one node, which is {where}, but got 2; leave it out, or name a cluster"
    assert done.err == f"--set resources.nodes=2: resources.nodes: {rule} by --address\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_resources_that_do_not_fit_exit_1_before_a_trial_starts(start, ended, tmp_path):
    done = ended(start("--set", "resources.cpu=999"))
    assert done.code == 1
    assert "resources: one trial must fit on a node, but it takes 999 CPU and the cluster has nodes of" in done.err
    assert "Traceback" not in done.err
    assert not list((tmp_path / "runs" / "curve").glob("trials/*"))


@pytest.mark.usefixtures("store_is_there")
def test_a_ray_client_address_is_refused(start, ended):
    done = ended(start("--address", "ray://head:10001"))
    assert done.code == 1
    assert "must be a cluster that the driver itself joins (auto, host:port), but got 'ray://head:10001'" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_a_cluster_that_is_not_there_is_told(start, ended):
    done = ended(start("--address", "127.0.0.1:9"))
    assert done.code == 1
    assert "--address: must be a Ray cluster that answers, but nothing does at '127.0.0.1:9'" in done.err
    assert "Traceback" not in done.err


def test_an_unwritable_storage_exits_2_with_the_folder_and_the_remedy(start, ended, tmp_path):
    (tmp_path / "taken").write_text("a file")
    done = ended(start("--address", "inline", "--set", f"storage={tmp_path}/taken"))
    assert done.code == 2
    assert f"must be a folder that can be written, but {tmp_path}/taken/curve gave" in done.err
    assert "Traceback" not in done.err
