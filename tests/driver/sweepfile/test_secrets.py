"""Secrets of a sweep file: hidden in every message, read from the environment, refused where none is read."""

import pytest

from platform.errors import InvalidSweep
from platform.space.check import open_sweep
from platform.storage.folder import open_folder
from platform.study.identity import identity
from platform.sweepfile.spec import load
from platform.tracking.destination import destination_of
from trainables.redaction import redact

SWEEP = """\
name: secretive
trainable: tests.trainables.secretive
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 2
parameters:
  hub.api_key: {values: ["${HUB_A}", "${HUB_B}"]}
study: postgresql://me:${STUDY_LOGIN}@db/x
tracking: {uri: "http://me:${TRACKING_LOGIN}@host:5000"}
"""
LOGINS = {"HUB_A": "value-a-1", "HUB_B": "value-b-1", "STUDY_LOGIN": "value-s-1", "TRACKING_LOGIN": "value-t-1"}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_STORAGE", str(tmp_path / "runs"))
    for name, value in LOGINS.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "secretive.yaml"
    path.write_text(SWEEP)
    return path


def refused(file, *overrides):
    with pytest.raises(InvalidSweep) as caught:
        open_sweep(file, overrides)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_values_are_read_where_they_are_used(file):
    spec, space = open_sweep(file)
    assert spec.study_url() == "postgresql://me:value-s-1@db/x"
    destination = destination_of(spec, open_folder(spec))
    assert (destination.uri, str(destination)) == ("http://me:value-t-1@host:5000", "http://host:5000")
    assert redact("value-s-1 value-t-1") == "*** ***"
    assert not [value for value in LOGINS.values() if value in f"{spec!r} {identity(spec, space)}"]
    assert '["${HUB_A}", "${HUB_B}"]' in identity(spec, space)


def test_variables_that_are_not_set_are_told_with_their_lines(file, monkeypatch):
    for name in LOGINS:
        monkeypatch.delenv(name)
    rule = "must name a variable that is set here, but ${} is not; set it in the environment of driver and workers"
    assert refused(file) == [
        f"6: parameters.hub.api_key.values[0]: {rule.format('HUB_A')}",
        f"6: parameters.hub.api_key.values[1]: {rule.format('HUB_B')}",
        f"7: study: {rule.format('STUDY_LOGIN')}",
        f"8: tracking.uri: {rule.format('TRACKING_LOGIN')}",
    ]
    open_sweep(file, outside=False)  # to be read on another machine
    with pytest.raises(InvalidSweep, match=r"7: study: must name a variable that is set here"):
        load(file).study_url()


def test_a_variable_in_what_is_no_secret_is_refused(file):
    assert refused(file, "parameters.text=${HOME}", "storage=${HOME}/runs") == [
        f"--set {key}={text}: {key}: must be a secret (study, tracking.uri, notify.url or a field such as hub.api_key) "
        f"to be read from the environment, but got '{text}'; write the text itself"
        for key, text in (("parameters.text", "${HOME}"), ("storage", "${HOME}/runs"))
    ]


@pytest.mark.parametrize(
    "override",
    [
        "parameters.hub.api_key=[a-bare-list-1]",
        "parameters.hub.api_key=[a-bare-list-1",
        "parameters={hub.api_key: {values: [[a-bare-list-1]]}}",
        "parameters={hub.name: {values: [x], when: {x: {hub.api_key: 'a-bare-list-1 two'}}}, y: 1}",
        "study=postgresql://me:a-bare-list-1@host/x/a-bare-list-1",
    ],
)
def test_a_secret_is_hidden_in_what_refuses_it(file, override):
    problems = refused(file, override, "nmae=x")
    assert "nmae" in str(problems)
    assert "a-bare-list-1" not in redact("\n".join(problems))
