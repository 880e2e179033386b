"""Problems on a cluster are found before anything is sent."""

import importlib.metadata
import sys

import pytest

from platform.cluster import preflight
from platform.errors import InvalidSweep

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HEAD = "http://head:8265"
GOOD = {
    "python": PYTHON,
    "packages": {"optuna": importlib.metadata.version("optuna")},
    "storage": "/shared/runs",
    "storage_problem": None,
    "tracking_problem": None,
    "nodes": 3,
}


@pytest.mark.parametrize(
    ("uri", "address", "problem"),
    [
        ("http://localhost:5000", HEAD, "'http://localhost:5000' is this machine's own loopback; name the host"),
        ("https://u:secret@127.0.0.1:5000", HEAD, "'https://127.0.0.1:5000' is this machine's own loopback"),
        ("sqlite:////home/me/mlflow.db", HEAD, "but got 'sqlite:////home/me/mlflow.db', a file; name http://host:port"),
        ("./mlruns", HEAD, "but got './mlruns', a file"),
        ("http://mlflow:5000", HEAD, None),
        ("${TRACKING_URI}", HEAD, None),
        ("http://me:${TRACKING_LOGIN}@mlflow:5000", HEAD, None),
        ("http://me:${TRACKING_LOGIN}@127.0.0.1:5000", HEAD, "'http://127.0.0.1:5000' is this machine's own loopback"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:8265", None),
    ],
)
def test_a_tracking_uri_that_means_something_else_there_is_refused(sweep, uri, address, problem):
    spec = sweep(f"tracking.uri={uri}").spec
    by_file = preflight.tracking_problems(spec, {}, address)
    by_env = preflight.tracking_problems(sweep().spec, {"MLFLOW_TRACKING_URI": uri}, address)
    if problem is None:
        assert by_file == by_env == []
    else:
        assert problem in by_file[0]
        assert by_file[0].startswith(f"--set tracking.uri={uri}: tracking.uri: must be a server")
        assert by_env[0].startswith("--env MLFLOW_TRACKING_URI: must be a server")


def test_our_own_variables_do_not_decide_for_the_cluster(sweep, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert preflight.tracking_problems(sweep().spec, {}, HEAD) == []
    assert preflight.storage_of(sweep().spec, {}) is None  # the fixture sets SWEEP_STORAGE here


def test_the_storage_is_absolute(sweep):
    assert preflight.storage_of(sweep("storage=/shared/runs").spec, {}) == "/shared/runs"
    assert preflight.storage_of(sweep().spec, {"SWEEP_STORAGE": "/mnt/runs"}) == "/mnt/runs"
    assert preflight.storage_of(sweep().spec, {"SWEEP_STORAGE": "s3://runs/here"}) == "s3://runs/here"
    with pytest.raises(
        InvalidSweep, match=r"--set storage=runs: storage: must be an absolute folder .* got 'runs', which"
    ):
        preflight.storage_of(sweep("storage=runs").spec, {})
    with pytest.raises(InvalidSweep, match="--env SWEEP_STORAGE: must be an absolute folder"):
        preflight.storage_of(sweep().spec, {"SWEEP_STORAGE": "runs"})


def test_a_good_answer_is_no_problem(sweep):
    assert preflight.answer_problems(sweep().spec, GOOD) == []


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"python": "3.9"}, f"must run Python {PYTHON} as this machine does, but it runs 3.9; use one on both"),
        (
            {"packages": {"optuna": None, "ray": None}},
            "but lacks optuna, ray; install them there with infra/constraints",
        ),
        ({"packages": {"optuna": "4.1.0"}}, "but it runs 4.1.0; install one on both"),
        ({"storage": None}, "the sweep names none and $SWEEP_STORAGE of the cluster is None; write --set storage="),
        ({"storage": "runs"}, "$SWEEP_STORAGE of the cluster is 'runs'"),
        (
            {"storage_problem": "node 10.0.0.2 does not see it (No such file or directory)"},
            "of /shared/runs node 10.0.0.2 does not see it (No such file or directory); mount it everywhere",
        ),
        (
            {"storage": "s3://runs", "storage_problem": "node 10.0.0.2 does not see it (NoCredentialsError: none)"},
            "must be a bucket that every node sees, but of s3://runs node 10.0.0.2 does not see it "
            "(NoCredentialsError: none); give every node boto3, AWS_ENDPOINT_URL and credentials, or name another",
        ),
        ({"tracking_problem": "timed out"}, "but its head gets 'timed out'; start it, or open the way to it"),
    ],
)
def test_each_problem_of_an_answer_is_told(sweep, said, problem):
    (told,) = preflight.answer_problems(sweep().spec, {**GOOD, **said})
    assert problem in told


def test_all_problems_of_an_answer_are_told_at_once(sweep):
    said = {**GOOD, "python": "3.9", "storage": None, "tracking_problem": "timed out"}
    assert len(preflight.answer_problems(sweep().spec, said)) == 3


def test_a_build_of_the_same_version_is_the_same(sweep):
    version = importlib.metadata.version("torch").partition("+")[0]
    assert preflight.answer_problems(sweep().spec, {**GOOD, "packages": {"torch": f"{version}+cu130"}}) == []
