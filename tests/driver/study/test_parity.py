"""Trials of a sweep are what Optuna's own samplers propose, as long as nothing of the sweep intervenes."""

import pytest

from tests.benchmarks.parity import FUNCTIONS, METHODS, differing


@pytest.mark.parametrize("method", [each for each in METHODS if each != "gp"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_method_gives_optunas_own_proposals_trial_by_trial(function, method, tmp_path):
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert differing(function, method, seed, 20, folder) == 0


@pytest.mark.slow
def test_gp_without_constraints_gives_optunas_own_proposals(tmp_path):
    assert differing("Branin", "gp", 0, 12, tmp_path) == 0
