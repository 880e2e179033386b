"""The verbs of the command where nothing runs: each says what it did, and starts no sweep."""

import json

import pytest

INLINE = ("--address", "inline")


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_a_setting_that_is_enqueued_runs_and_a_pause_is_seen(start, ended, tmp_path):
    told = ended(start("--enqueue", "x=0.25,width=16,part.name=plain"))
    assert (told.code, told.out) == (
        0,
        "curve: trial 0 is enqueued when the same command is given without --enqueue\n",
    )
    assert ended(start("--pause")).out == "curve: no trial is started until --unpause\n"
    assert "curve: not started, paused" in ended(start("--status")).out
    assert ended(start("--unpause")).out == "curve: trials are started\n"
    assert ended(start(*INLINE, "--set", "num_trials=1")).code == 0
    record = json.loads((tmp_path / "runs" / "curve" / "trials" / "0" / "trial.json").read_text())
    assert (record["values"]["x"], record["values"]["width"], record["values"]["part.name"]) == (0.25, 16, "plain")
    done = ended(start("--status", "--set", "num_trials=1")).out
    assert "curve: done" in done
    assert "1 complete, of 1" in done
    assert "x 0.25" in done
    refused = ended(start("--end", "0"))
    assert (refused.code, refused.out) == (2, "")
    assert "--end: must name trials that run, but got 0 (it is COMPLETE); there are none" in refused.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--end", "x"], "--end: must be numbers of trials, such as 3,7, but got 'x'"),
        (["--end", "5"], "--end: must name trials that run, but got 5 (it has not started); there are none"),
        (["--enqueue", "x"], "--enqueue: must be name=value with commas between, but got 'x'"),
        (["--enqueue", "x=[1, 2]"], "--enqueue: must be name=value with commas between, but got 'x=[1, 2]'"),
        (["--enqueue", "x=7"], "--enqueue: x: must be between 0.0 and 1.0, but got 7"),
    ],
)
def test_a_verb_that_makes_no_sense_exits_2(start, ended, words, told):
    done = ended(start(*words))
    assert (done.code, done.out) == (2, "")
    assert told in done.err
