"""Trials of several ranks, as a user runs them."""

import json

import pytest

RANKED = """\
name: ranked
trainable: tests.trainables.ranked
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 2
method: grid
max_concurrent_trials: 1
resources: {cpu: 1, gpu: 0, workers: 2}
parameters:
  wrong: {values: [kill_once, nothing]}
"""


@pytest.mark.slow
@pytest.mark.usefixtures("store_is_there")
def test_a_trial_that_loses_a_rank_mid_step_goes_on_from_its_checkpoint(start, ended, tmp_path):
    file = tmp_path / "ranked.yaml"
    file.write_text(RANKED)
    done = ended(start(file=file))
    assert done.code == 0, done.err
    folder = tmp_path / "runs" / "ranked"
    trials = sorted((folder / "trials").iterdir())
    lines = [[json.loads(line) for line in (trial / "journal.jsonl").read_text().splitlines()] for trial in trials]
    metrics = [[each for each in lines if "valid/ndcg_10" in each["metrics"]] for lines in lines]
    assert [[line["step"] for line in each] for each in metrics] == [[1, 2, 3, 4, 5]] * 2
    assert [each["metrics"] for each in metrics[0]] == [each["metrics"] for each in metrics[1]]
    assert [json.loads((trial / "end.json").read_text())["state"] for trial in trials] == ["COMPLETE", "COMPLETE"]
    log = (folder / "sweep.log").read_text()
    assert (
        log.count("is started again: worker lost: RankFailed: rank 1 of 2: was killed by SIGKILL; its last words: ")
        == 1
    )
    assert "Failed to fetch metrics" not in log  # from Tune's own tables, which there are none of
