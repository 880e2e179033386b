"""A deterministic sweep of a real model: several trials at once on Ray give the numbers of one at a time without."""

import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SWEEP = """\
name: spectral
trainable: spectran
metric: {name: valid/ndcg_10, goal: maximize}
num_trials: 4
max_concurrent_trials: 2
deterministic: true
early_stopping: {type: asha, min_reports: 1, reduction_factor: 2}
parameters:
  data.name: synthetic
  fit.epochs: 2
  fit.dropout: {min: 0.0, max: 0.5}
  fit.learning_rate: {min: 1.0e-4, max: 1.0e-2, log: true}
"""


@pytest.mark.usefixtures("curve_file")
def test_two_at_once_give_the_numbers_of_one_at_a_time(start, ended, tmp_path):
    (tmp_path / "spectral.yaml").write_text(SWEEP)
    found = []
    for place, where in (("ray", ()), ("alone", ("--address", "inline"))):
        storage = tmp_path / place
        done = ended(start("--set", f"storage={storage}", *where, file=tmp_path / "spectral.yaml"), 280)
        assert done.code == 0, done.err
        found.append([_reports(storage / "spectral" / "trials" / str(number)) for number in range(4)])
    assert found[0] == found[1]
    lengths = [len(reports) for reports in found[0]]
    assert min(lengths) < max(lengths)  # early stopping ended some


def _reports(folder):
    """Step and metrics of each report, without what the platform measures of the machine."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    kept = [(line["step"], {k: v for k, v in line["metrics"].items() if _is_of_model(k)}) for line in lines]
    return [each for each in kept if each[1]]


def _is_of_model(name):
    return not name.startswith("trial/") and "seconds" not in name and "per_second" not in name
