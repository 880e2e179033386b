"""MoRec, UniSRec, RLMRec and WhitenRec against their equations."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainables.data import text as texts
from trainables.data.batches import Batch
from trainables.seqrec.text import TextItems
from trainables.spectran.adapters.rlmrec import RLMRecItems, in_batch_info_nce
from trainables.spectran.adapters.unisrec import UniSRecItems
from trainables.spectran.adapters.whitenrec import WhitenRecItems, whiten

ITEMS, WIDTH, DIM = 200, 12, 4


def text(items: int = ITEMS, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Text vectors whose dimensions are neither centred, nor of one variance, nor independent; row 0 zero."""
    random = np.random.default_rng(seed)
    vectors_IV = random.normal(size=(items + 1, width)) @ random.normal(size=(width, width)) + 3
    vectors_IV[0] = 0
    return vectors_IV.astype(np.float32)


def tensor() -> torch.Tensor:
    return torch.from_numpy(text())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(module: torch.nn.Module, std: float = 0.3) -> None:
    """Random values for every parameter, biases and gates too, which start at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std, generator=generator(1))


def test_morec_is_gelu_of_a_linear_map_of_the_scaled_text() -> None:
    items = TextItems(tensor(), dim=DIM, scale=5.0, generator=generator())
    spread(items)
    first = items.project.first
    expected_ID = functional.gelu(5 * tensor() @ first.weight.T + first.bias)
    torch.testing.assert_close(items.rows(), expected_ID)
    assert set(items.state_dict()) == {"project.first.weight", "project.first.bias"}


def test_morec_stacks_layers_with_dropout_between_them() -> None:
    items = TextItems(tensor(), dim=DIM, layers=3, dropout=0.5, generator=generator())
    spread(items)
    vector_ID = functional.gelu(items.project.first(tensor()))
    for layer in items.project.others:
        vector_ID = functional.gelu(layer(vector_ID))
    items.eval()
    torch.testing.assert_close(items.rows(), vector_ID)
    items.train()
    assert not torch.equal(items.rows(), vector_ID)


def test_unisrec_is_the_gated_sum_of_parametric_whitenings() -> None:
    items = UniSRecItems(tensor(), dim=DIM, experts=3, scale=0.5, generator=generator())
    spread(items)
    items.eval()
    gate_IE = torch.softmax(0.5 * tensor() @ items.gate_EV.T, dim=1)
    expected_ID = torch.zeros(ITEMS + 1, DIM)
    for e in range(3):
        expected_ID += gate_IE[:, e, None] * ((0.5 * tensor() - items.shift_EV[e]) @ items.weight_EDV[e].T)
    torch.testing.assert_close(items.rows(), expected_ID, atol=1e-4, rtol=1e-4)


def test_unisrecs_gate_starts_uniform_and_is_noisy_in_training_alone() -> None:
    items = UniSRecItems(tensor(), dim=DIM, generator=generator())
    items.eval()
    torch.testing.assert_close(items.gate(tensor()), torch.full((ITEMS + 1, 8), 1 / 8))
    items.train()
    torch.manual_seed(0)
    noise_NE = torch.randn(ITEMS + 1, 8)
    torch.manual_seed(0)
    spread_of_start = np.log(2) + 0.01  # softplus(0) + .01
    torch.testing.assert_close(items.gate(tensor()), torch.softmax(noise_NE * spread_of_start, dim=1))


def test_unisrec_drops_text_in_training_and_adds_ids_where_asked() -> None:
    without, with_ids = (UniSRecItems(tensor(), dim=DIM, ids=ids, generator=generator()) for ids in (False, True))
    without.eval()
    with_ids.eval()
    assert without.id_ID is None
    assert not with_ids.id_ID[0].any()
    torch.testing.assert_close(with_ids.rows() - with_ids.id_ID, without.rows())
    dropping = UniSRecItems(tensor(), dim=DIM, dropout=0.9, generator=generator())
    dropping.gate = lambda text_NV: torch.full((len(text_NV), 8), 1 / 8)
    dropping.train()
    assert not torch.allclose(dropping.rows(), dropping.rows())


def batch() -> Batch:
    history_BL = torch.tensor([[0, 3, 4], [5, 3, 6], [0, 0, 9]])
    return Batch(history_BL=history_BL, target_B=torch.tensor([7, 8, 3]), user_B=torch.arange(3))


@pytest.mark.parametrize("objective", ["con", "gen"])
def test_rlmrecs_penalty_is_the_mean_cosine_distance_over_all_items(objective: str) -> None:
    items = RLMRecItems(tensor(), dim=DIM, objective=objective, weight=0.3, generator=generator())  # type: ignore[arg-type]
    spread(items)
    vectors, ids = text()[1:].astype(np.float64), items.table_ID.detach().numpy()[1:].astype(np.float64)
    w_in, b_in, w_out, b_out = (
        x.detach().numpy().astype(np.float64)
        for x in (items.inner.weight, items.inner.bias, items.outer.weight, items.outer.bias)
    )
    source, wanted = (vectors, ids) if objective == "con" else (ids, vectors)
    inner = source @ w_in.T + b_in
    mapped = np.where(inner > 0, inner, 0.01 * inner) @ w_out.T + b_out
    cosine = (mapped * wanted).sum(1) / np.linalg.norm(mapped, axis=1) / np.linalg.norm(wanted, axis=1)
    penalty = items.penalty(batch(), items.lookup(), lambda history_BL: None)  # type: ignore[arg-type,return-value]
    assert penalty.item() == pytest.approx(0.3 * (1 - cosine.mean()), rel=1e-5)
    assert w_in.shape[0] == (WIDTH + DIM) // 2
    torch.testing.assert_close(items.rows(), items.table_ID)


def test_rlmrecs_contrast_is_over_the_distinct_items_of_the_batch() -> None:
    items = RLMRecItems(tensor(), dim=DIM, loss="info_nce", weight=2.0, temperature=0.5, generator=generator())
    spread(items)
    chosen = torch.tensor([3, 4, 5, 6, 7, 8, 9])
    id_ND = functional.normalize(items.table_ID[chosen], dim=1)
    mapped_ND = items.outer(functional.leaky_relu(items.inner(tensor()[chosen])))
    score_NN = id_ND @ functional.normalize(mapped_ND, dim=1).T / 0.5
    expected = -(score_NN.diag() - score_NN.logsumexp(dim=1)).mean()
    penalty = items.penalty(batch(), items.lookup(), lambda history_BL: None)  # type: ignore[arg-type,return-value]
    assert penalty.item() == pytest.approx(2 * expected.item(), rel=1e-5)


def test_rlmrecs_generation_restores_the_hidden_targets_text_from_the_state_before_it() -> None:
    items = RLMRecItems(
        tensor(), dim=DIM, objective="gen", loss="info_nce", mask_ratio=1.0, weight=1.0, generator=generator()
    )
    spread(items)
    state_BD = torch.randn(3, DIM, generator=generator())
    asked = []

    def encode(history_BL: torch.Tensor) -> torch.Tensor:
        asked.append(history_BL)
        return state_BD

    penalty = items.penalty(batch(), items.lookup(), encode)
    restored_BV = items.outer(functional.leaky_relu(items.inner(state_BD)))
    expected = in_batch_info_nce(restored_BV, tensor()[[7, 8, 3]], temperature=0.2)
    assert torch.equal(asked[0], batch().history_BL)
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("rotation", ["pca", "zca"])
def test_whitened_text_has_mean_zero_and_identity_covariance(rotation: str) -> None:
    whitened_IV = whiten(text(), rotation=rotation, floor=1e-12)  # type: ignore[arg-type]
    assert whitened_IV.dtype == np.float32
    assert not whitened_IV[0].any()
    item_V = whitened_IV[1:].astype(np.float64)
    np.testing.assert_allclose(item_V.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(item_V.T @ item_V / ITEMS, np.eye(WIDTH), atol=1e-4)


@pytest.mark.parametrize("rotation", ["pca", "zca"])
def test_an_item_without_text_takes_no_part_in_whitening_and_stays_zero(rotation: str) -> None:
    vectors_IV = text()
    vectors_IV[[3, 7]] = 0
    titled = [place for place in range(ITEMS + 1) if place not in (3, 7)]
    whitened_IV = whiten(vectors_IV, rotation=rotation)  # type: ignore[arg-type]
    assert not whitened_IV[[3, 7]].any()
    np.testing.assert_allclose(whitened_IV[titled], whiten(vectors_IV[titled], rotation=rotation), atol=1e-4)  # type: ignore[arg-type]


def test_zca_is_the_whitening_nearest_to_the_text_and_pca_orders_by_strength() -> None:
    centred = text()[1:] - text()[1:].mean(axis=0)
    zca = whiten(text(), rotation="zca", floor=1e-12)[1:]
    cross = zca.T.astype(np.float64) @ centred / ITEMS
    np.testing.assert_allclose(cross, cross.T, atol=1e-4)  # ZCA's cross-covariance with the text is its square root
    np.testing.assert_allclose(cross @ cross, centred.T @ centred / ITEMS, rtol=1e-3, atol=1e-3)
    strength = np.linalg.norm(centred.T @ whiten(text(), rotation="pca", floor=1e-12)[1:], axis=0)
    assert (np.diff(strength) < 0).all()


def test_groups_are_whitened_each_apart() -> None:
    grouped_IV = whiten(text(), rotation="zca", groups=3, floor=1e-12)
    for start in range(0, WIDTH, 4):
        alone_IV = whiten(text()[:, start : start + 4], rotation="zca", floor=1e-12)
        np.testing.assert_allclose(grouped_IV[:, start : start + 4], alone_IV, atol=1e-6)
    covariance_VV = grouped_IV[1:].T @ grouped_IV[1:] / ITEMS
    assert abs(covariance_VV[0, 3]) < 1e-3
    assert np.abs(covariance_VV[:4, 4:]).max() > 0.05


def test_fewer_items_than_dimensions_leave_directions_without_variance_at_zero() -> None:
    for rotation in ("pca", "zca"):
        whitened_IV = whiten(text(items=5), rotation=rotation, floor=1e-5)
        assert np.isfinite(whitened_IV).all()
        singular = np.linalg.svd(whitened_IV[1:] / np.sqrt(5), compute_uv=False)
        np.testing.assert_allclose(singular, [1, 1, 1, 1, 0], atol=1e-3)


@pytest.mark.parametrize("groups", [1, 3])
def test_rows_in_blocks_are_whitened_as_all_at_once(monkeypatch: pytest.MonkeyPatch, groups: int) -> None:
    whole_IV = whiten(text(), rotation="zca", groups=groups)
    monkeypatch.setattr(texts, "AT_ONCE", 17 * WIDTH)
    np.testing.assert_allclose(whiten(text(), rotation="zca", groups=groups), whole_IV, atol=1e-5)


def test_the_floor_is_a_share_of_the_largest_eigenvalue() -> None:
    for size in (1.0, 100.0):
        whitened_IV = whiten(size * text(), rotation="pca", floor=0.2)
        variance_V = whitened_IV[1:].var(axis=0)
        centred = text()[1:].astype(np.float64) - text()[1:].mean(axis=0)
        eigenvalue_V = np.linalg.eigvalsh(centred.T @ centred / ITEMS)[::-1]
        np.testing.assert_allclose(variance_V, np.minimum(eigenvalue_V / (0.2 * eigenvalue_V[0]), 1), rtol=1e-3)


def test_whitenrec_averages_both_whitenings_behind_one_projection() -> None:
    full_IV, grouped_IV = (torch.from_numpy(whiten(text(), rotation="zca", groups=g)) for g in (1, 3))
    items = WhitenRecItems(full_IV, grouped_IV, dim=DIM, generator=generator())
    spread(items)
    first = items.project.first
    expected_ID = (functional.gelu(first(full_IV)) + functional.gelu(first(grouped_IV))) / 2
    torch.testing.assert_close(items.rows(), expected_ID)
    alone = WhitenRecItems(full_IV, dim=DIM, generator=generator())
    spread(alone)
    torch.testing.assert_close(alone.rows(), functional.gelu(first(full_IV)))
    assert set(items.state_dict()) == set(alone.state_dict()) == {"project.first.weight", "project.first.bias"}
