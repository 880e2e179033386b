"""Diagnostics of a SpecTran trial: how far item vectors collapse, and what weighs in the spectrum."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainables.seqrec.items import IdItems
from trainables.spectran.adapters.spectran import SpectralItems
from trainables.spectran.diagnostics import cumulative_shares, spectral_weights, write_diagnostics
from trainables.trial import LocalTrial


def read(path: Path) -> tuple[list[str], np.ndarray]:
    header, *lines = csv.reader(path.open())
    return header, np.array(lines, dtype=float)


def spectral(**settings: Any) -> SpectralItems:
    generator = torch.Generator().manual_seed(0)
    left_IR = torch.randn(30, 12, generator=generator)
    return SpectralItems(
        left_IR, torch.linspace(5, 1, 12), dim=4, inner_width=3, id_width=4, generator=generator, **settings
    )


def test_shares_are_those_of_the_covariances_singular_values() -> None:
    vectors_ND = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32) * [5, 3, 2, 1, 1, 0]
    singular_D = np.linalg.svd(np.cov(vectors_ND.T), compute_uv=False)
    np.testing.assert_allclose(cumulative_shares(vectors_ND), np.cumsum(singular_D) / singular_D.sum(), atol=1e-12)
    np.testing.assert_allclose(cumulative_shares(np.array([[3, 1], [3, -1], [-3, 1], [-3, -1.0]])), [9 / 10, 1])


def test_what_all_vectors_have_in_common_is_no_direction() -> None:
    vectors_ND = np.random.default_rng(0).normal(size=(30, 6))
    np.testing.assert_allclose(cumulative_shares(vectors_ND + 100), cumulative_shares(vectors_ND), atol=1e-9)
    assert cumulative_shares(np.full((3, 2), 0.1)).tolist() == [1, 1]


def test_equal_directions_share_alike_and_one_direction_takes_all() -> None:
    np.testing.assert_allclose(cumulative_shares(np.concatenate([np.eye(20), -np.eye(20)]))[9], 0.5)
    np.testing.assert_allclose(cumulative_shares(np.outer(np.arange(9.0), np.ones(5)))[0], 1)
    assert cumulative_shares(np.eye(3, 5)).shape == (5,), "fewer vectors than columns"


def test_padding_is_left_out_of_the_singular_values(tmp_path: Path) -> None:
    items = IdItems(40, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        items.table_ID[0] = 1000
    trial = LocalTrial(tmp_path)
    summary = write_diagnostics(items, trial)
    header, table = read(trial.artifact("singular_values.csv"))
    assert header == ["dimension", "cumulative_share"]
    np.testing.assert_allclose(table[:, 1], cumulative_shares(items.table_ID[1:].detach().numpy()), atol=1e-5)
    assert summary == {"trial/top_10_share": pytest.approx(1)}
    assert not trial.artifact("spectral_weights.csv").exists()


def test_principal_weights_are_the_mixtures_diagonal_and_subordinate_ones_the_rest_of_each_row() -> None:
    items = spectral()
    mixture_DR = items.mixture().detach().numpy()
    with torch.no_grad():
        principal_D, subordinate_D = spectral_weights(items)
    np.testing.assert_allclose(principal_D, [mixture_DR[i, i] for i in range(4)], rtol=1e-6)
    np.testing.assert_allclose(subordinate_D, [sum(abs(x) for x in mixture_DR[i, 4:]) for i in range(4)], rtol=1e-5)


def test_a_spectran_trial_keeps_its_weights_and_their_means(tmp_path: Path) -> None:
    trial = LocalTrial(tmp_path)
    summary = write_diagnostics(spectral(), trial)
    header, table = read(trial.artifact("spectral_weights.csv"))
    assert header == ["dimension", "principal", "subordinate"]
    assert table[:, 0].tolist() == [1, 2, 3, 4]
    assert summary["trial/principal_weight"] == pytest.approx(table[:, 1].mean(), rel=1e-4)
    assert summary["trial/subordinate_weight"] == pytest.approx(table[:, 2].mean(), rel=1e-4)
    assert "trial/principal_weight" not in write_diagnostics(spectral(attention=False), LocalTrial(tmp_path / "other"))
