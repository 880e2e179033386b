"""make_items: every adapter trains on every backbone's terms, reads the text it should, and refuses what cannot be."""

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from tests.worker.small import SMALL_SPECTRAN
from trainables.backbones.make import make_backbone
from trainables.config import ConfigError, build
from trainables.data.batches import Batch, batches
from trainables.data.sequences import Sequences, load
from trainables.data.splits import Rows, split
from trainables.data.text import text_stage
from trainables.seqrec.items import IdItems
from trainables.seqrec.objectives import after, sampled_loss
from trainables.seqrec.text import mapped, mean_length
from trainables.spectran.adapters.config import Adapter, AlphaFuse, problems
from trainables.spectran.adapters.ingredients import item_counts, last_rows
from trainables.spectran.adapters.spectran import SpectralItems
from trainables.spectran.config import Config
from trainables.spectran.items import Made, make_items
from trainables.storage.stages import Stages
from trainables.trial import LocalTrial

SMALL = SMALL_SPECTRAN | {"data.text_width": 48, "fit.batch_size": 256, "fit.dropout": 0.1}
NULL: dict[str, Any] = {"adapter.null_width": 6}
DEFAULTS: list[dict[str, object]] = [
    {"adapter.name": settings().name} | (NULL if settings is AlphaFuse else {}) for settings in get_args(Adapter)
]
CHOICES: list[dict[str, Any]] = [
    *DEFAULTS,
    {"adapter.name": "morec", "adapter.layers": 2, "adapter.dropout": 0.1},
    {"adapter.name": "unisrec", "adapter.ids": True, "adapter.experts": 2},
    {"adapter.name": "rlmrec", "adapter.objective": "gen"},
    {"adapter.name": "rlmrec", "adapter.loss": "info_nce"},
    {"adapter.name": "rlmrec", "adapter.loss": "info_nce", "adapter.objective": "gen"},
    {"adapter.name": "llm_esr", "adapter.distillation": 0.1, "adapter.alignment": 0},
    {"adapter.name": "whitenrec", "adapter.rotation": "zca", "adapter.groups": 4},
    {"adapter.name": "llminit", "adapter.select": "whitened", "adapter.std": 0.1},
    {"adapter.name": "alphafuse", "adapter.cover": True, "adapter.weighted": True, "adapter.start": "normal"} | NULL,
    {"adapter.name": "spectran", "adapter.fusion": "concat", "adapter.threshold": "row"} | NULL,
    {"adapter.name": "spectran", "adapter.fusion": "init", "adapter.coefficients": "component"},
]


def prepare(values: dict[str, object], stages: Stages, folder: Path) -> tuple[Config, Sequences, Rows, Made]:
    config = build(Config, SMALL | values)
    trial = LocalTrial(folder, stages=stages, seed=1)
    sequences = load(config.data, stages)
    train = split(sequences, config.data).train
    return config, sequences, train, make_items(config, sequences, train, trial)


def name_of(values: object) -> str | None:
    return " ".join(str(value) for value in values.values()) if isinstance(values, dict) else None


@pytest.mark.parametrize("values", CHOICES, ids=name_of)
def test_some_rows_are_the_rows_of_all(values: dict[str, object], stages: Stages, tmp_path: Path) -> None:
    config, sequences, _, items = prepare(values, stages, tmp_path)
    items.eval()
    index_N = torch.tensor([5, 1, 399, 5])
    with torch.inference_mode():
        all_IW = items.rows()
        torch.testing.assert_close(items.rows(index_N), all_IW[index_N], atol=1e-5, rtol=1e-5)
    assert all_IW.shape == (sequences.num_items, items.width)
    assert items.num_items == sequences.num_items
    assert items.width == (32 if config.adapter.name == "llm_esr" else 16)
    assert all_IW[1:].std(dim=0).min() > 0


@pytest.mark.parametrize(
    ("values", "backbone"),
    [
        *((values, "sasrec") for values in CHOICES),
        *((values, "bert4rec") for values in DEFAULTS),
        ({"adapter.name": "llm_esr"}, "hstu"),
    ],
    ids=name_of,
)
def test_training_lowers_the_loss(values: dict[str, object], backbone: str, stages: Stages, tmp_path: Path) -> None:
    config, _, train, items = prepare(values | {"backbone.name": backbone}, stages, tmp_path)
    generator = torch.Generator().manual_seed(0)
    encoder, read = make_backbone(config.backbone, dim=16, max_history=10, dropout=0.1, generator=generator)
    loss = sampled_loss(items, encoder, read, negatives=8, exclude="target", cosine=False, temperature=1.0)
    model = nn.ModuleDict({"item": items, "backbone": encoder}).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    batch = next(batches(train, 128))
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        value = loss(batch, torch.Generator().manual_seed(0))
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    if not isinstance(items, IdItems):
        assert not any(name.startswith(("text_", "frozen_", "whitened_", "left_")) for name in items.state_dict())


@pytest.mark.parametrize("values", CHOICES, ids=name_of)
def test_padding_changes_no_state(values: dict[str, object], stages: Stages, tmp_path: Path) -> None:
    config, _, _, items = prepare(values, stages, tmp_path)
    generator = torch.Generator().manual_seed(0)
    encoder, _ = make_backbone(config.backbone, dim=16, max_history=10, dropout=0.1, generator=generator)
    nn.ModuleDict({"item": items, "backbone": encoder}).eval()
    short_BL = torch.tensor([[7, 8]])
    padded_BL = torch.tensor([[0, 0, 7, 8]])
    with torch.inference_mode():
        lookup = items.lookup()
        states = [after(items, encoder, lookup, history_BL) for history_BL in (short_BL, padded_BL)]
    torch.testing.assert_close(states[1], states[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "values", [c for c in CHOICES if c["adapter.name"] in ("unisrec", "llm_esr", "alphafuse")], ids=name_of
)
def test_padding_gets_no_gradient_through_a_table_of_some_rows(
    values: dict[str, object], stages: Stages, tmp_path: Path
) -> None:
    *_, items = prepare(values, stages, tmp_path)
    items.eval()
    items.lookup(torch.tensor([0, 3])).vectors(torch.tensor([0, 3])).sum().backward()
    for name, parameter in items.named_parameters():
        if name.startswith("id_") and parameter.grad is not None:
            assert not parameter.grad[0].any()
            assert parameter.grad[3].any()


def test_the_text_is_mapped_from_the_stage_and_no_weight(stages: Stages, tmp_path: Path) -> None:
    *_, items = prepare({"adapter.name": "morec"}, stages, tmp_path)
    *_, again = prepare({"adapter.name": "unisrec"}, stages, tmp_path)
    config = build(Config, SMALL)
    array = text_stage(load(config.data, stages), config.data, stages)["vectors"]
    torch.testing.assert_close(items.text_IV, mapped(array))
    assert items.text_IV.data_ptr() != again.text_IV.data_ptr()  # one map a stage result, the same pages below
    assert isinstance(array, np.memmap)
    scaled = items.text_IV[1:].norm(dim=1).mean() * items.project.scale
    assert scaled.item() == pytest.approx(40, rel=1e-5)


@pytest.mark.parametrize("name", ["llminit", "llm_esr"])
def test_pca_starts_are_the_texts_principal_coordinates(name: str, stages: Stages, tmp_path: Path) -> None:
    extra: dict[str, Any] = {"adapter.select": "pca", "adapter.std": None} if name == "llminit" else {}
    config, sequences, _, items = prepare({"adapter.name": name} | extra, stages, tmp_path)
    vectors = text_stage(sequences, config.data, stages)["vectors"][1:].astype(np.float64)
    left, singular, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = left[:, :16] * singular[:16] / (mean_length(vectors_with_padding(vectors)) if name == "llm_esr" else 1)
    table_ID = (items.table_ID if name == "llminit" else items.id_ID).detach().numpy()
    sign_D = np.sign((table_ID[1:] * expected).sum(axis=0))
    np.testing.assert_allclose(table_ID[1:], expected * sign_D, atol=1e-4)
    assert not table_ID[0].any()


def vectors_with_padding(vectors: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, vectors.shape[1])), vectors])


def test_alphafuses_text_has_identity_covariance_times_its_variance(stages: Stages, tmp_path: Path) -> None:
    *_, items = prepare({"adapter.name": "alphafuse", "adapter.std": 0.5} | NULL, stages, tmp_path)
    frozen = items.frozen_IC[1:].double().numpy()
    np.testing.assert_allclose(frozen.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frozen.T @ frozen / len(frozen), 0.25 * np.eye(16), atol=1e-4)


def test_an_item_without_text_has_no_coordinates_and_changes_no_others_variance(stages: Stages, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(loc=1, size=(400, 48)).astype(np.float32)
    vectors[10:60] = 0
    np.save(tmp_path / "text.npy", vectors)
    values = {"adapter.name": "alphafuse", "adapter.std": 1.0, "data.text": str(tmp_path / "text.npy")}
    *_, items = prepare(values | NULL, stages, tmp_path)
    frozen = items.frozen_IC[1:].double().numpy()
    assert not frozen[10:60].any()
    titled = np.delete(frozen, np.arange(10, 60), axis=0)
    np.testing.assert_allclose(titled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(titled.T @ titled / 350, np.eye(16), atol=1e-4)


def test_spectrans_init_fusion_starts_ids_from_its_mixture(stages: Stages, tmp_path: Path) -> None:
    *_, whole = prepare({"adapter.name": "spectran"}, stages, tmp_path)
    *_, items = prepare({"adapter.name": "spectran", "adapter.fusion": "init"}, stages, tmp_path)
    assert isinstance(items, IdItems)
    assert isinstance(whole, SpectralItems)
    torch.testing.assert_close(items.table_ID, whole.semantic(whole.left_IR))


def rows(users: list[int], starts: list[int], stops: list[int], items: np.ndarray) -> Rows:
    history_NL = np.stack([np.pad(items[a:b][-2:], (2 - min(2, b - a), 0)) for a, b in zip(starts, stops, strict=True)])
    return Rows(history_NL, items[stops], np.array(users), np.array(starts), np.array(stops))


def test_items_are_counted_once_a_user_up_to_the_last_training_target() -> None:
    items = np.array([1, 2, 2, 3, 4, 5, 1, 3], np.int32)
    sequences = Sequences("x", "", items, np.array([0, 5, 8]), 7, [""] * 7)
    all_prefixes = rows([0, 1, 0, 0], [0, 5, 0, 0], [2, 6, 3, 1], items)
    assert last_rows(all_prefixes).tolist() == [2, 1]
    assert item_counts(sequences, all_prefixes).tolist() == [0, 2, 2, 1, 0, 1, 0]


def test_distillation_reads_each_users_own_similar_users(stages: Stages, tmp_path: Path) -> None:
    values = {"adapter.name": "llm_esr", "adapter.distillation": 0.1, "adapter.similar_users": 3}
    *_, train, items = prepare(values | {"data.train_rows": "all"}, stages, tmp_path)
    last = last_rows(train)
    user, row = int(train.user_N[last[7]]), last[7]
    assert items.history_UL[user].tolist() == train.history_NL[row].tolist()
    vectors = items.text_IV.numpy()
    means = np.stack([vectors[h[h != 0]].mean(axis=0) for h in train.history_NL[last]])
    cosine = means @ means[7] / np.linalg.norm(means, axis=1)
    cosine[7] = -np.inf
    expected = train.user_N[last][np.argsort(-cosine)[:3]]
    assert items.similar_UN[user].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"adapter.name": "alphafuse", "adapter.null_width": 17},
            "null_width must be at most dim, but got 17 with dim 16",
        ),
        (
            {"adapter.name": "alphafuse", "adapter.null_width": 16, "adapter.cover": True},
            "null_width must be less than dim where IDs stand beside the text, but got 16 with dim 16",
        ),
        ({"adapter.fusion": "concat", "adapter.null_width": 16}, "less than dim where IDs stand beside the text"),
        ({"adapter.name": "llm_esr", "dim": 15}, "dim must be even for the two attention heads of llm_esr, but got 15"),
        (
            {"adapter.name": "whitenrec", "adapter.groups": 2},
            "rotation must be zca where groups is above 1, but got pca",
        ),
    ],
    ids=name_of,
)
def test_widths_that_cannot_be_are_refused_when_the_config_is_built(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(Config, SMALL | values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"adapter.name": "llm_esr"},
            "dim: must be at most the rank of the text vectors, which is 8 or less, but got 16",
        ),
        ({"adapter.name": "llminit"}, "dim: must be at most the width of the text vectors, 8, but got 16"),
        ({"adapter.name": "llminit", "adapter.select": "pca"}, "which is 8 or less, but got 16; lower dim"),
        ({"adapter.name": "alphafuse"} | NULL, "which is 8 or less, but got 16; lower dim"),
        (
            {"adapter.name": "alphafuse", "adapter.cover": True} | NULL,
            "which is 8 or less, but got 10 (dim 16 without adapter.null_width); lower dim",
        ),
        (
            {"adapter.name": "whitenrec", "adapter.groups": 9, "adapter.rotation": "zca"},
            "adapter.groups: must be at most",
        ),
    ],
    ids=name_of,
)
def test_too_narrow_text_is_a_problem_before_the_trial_and_an_error_in_it(
    values: dict[str, object], message: str, stages: Stages, tmp_path: Path
) -> None:
    config = build(Config, SMALL | {"data.text_width": 8} | values)
    (problem,) = problems(config.adapter, config.dim, config.data)
    assert message in problem
    if config.adapter.name != "whitenrec":
        with pytest.raises(ValueError, match=r"dim must be at most the (rank|width) of the text vectors, but got"):
            prepare({"data.text_width": 8} | values, stages, tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"adapter.name": "morec"},
        {"adapter.name": "whitenrec"},
        {"adapter.name": "alphafuse", "adapter.cover": True, "adapter.null_width": 8},
        {"adapter.fusion": "concat", "adapter.null_width": 8},
    ],
    ids=name_of,
)
def test_narrow_text_is_no_problem_where_it_is_wide_enough(values: dict[str, object]) -> None:
    config = build(Config, SMALL | {"data.text_width": 8} | values)
    assert problems(config.adapter, config.dim, config.data) == []


def test_a_batch_without_a_hidden_target_has_no_penalty(stages: Stages, tmp_path: Path) -> None:
    values = {"adapter.loss": "info_nce", "adapter.objective": "gen", "adapter.mask_ratio": 1e-9}
    *_, items = prepare({"adapter.name": "rlmrec"} | values, stages, tmp_path)
    batch = Batch(torch.tensor([[1, 2]]), torch.tensor([3]), torch.tensor([0]))
    assert items.penalty(batch, items.lookup(), lambda history_BL: history_BL) is None
