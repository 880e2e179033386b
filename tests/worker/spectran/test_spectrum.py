"""The decomposition of text vectors: exact, deterministic, cut at its rank, shared as a stage."""

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data import text as texts
from trainables.data.config import Data
from trainables.seqrec.text import mean_length
from trainables.spectran.adapters.alphafuse import standardise
from trainables.spectran.adapters.whitenrec import whiten
from trainables.spectran.spectrum import decompose, has_text, largest, largest_rank, principal_directions, spectrum
from trainables.storage.stages import Arrays, Stages, stage


def table(items: int, width: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(loc=2.0, size=(items + 1, width)).astype(np.float32)
    drawn[0] = 0
    return drawn


@settings(max_examples=30)
@given(st.integers(2, 25), st.integers(1, 12), st.booleans(), st.integers(0, 99))
def test_left_vectors_are_orthonormal_and_give_the_gram_matrix(items: int, width: int, center: bool, seed: int) -> None:
    vectors_IV = table(items, width, seed)
    left_IR, singular_R = decompose(vectors_IV, center=center, normalise=False)
    assert not left_IR[0].any()
    np.testing.assert_allclose(left_IR.T @ left_IR, np.eye(len(singular_R)), atol=1e-5)
    assert (np.diff(singular_R) <= 0).all()
    item_V = vectors_IV[1:] - (vectors_IV[1:].mean(axis=0) if center else 0)
    weighted = left_IR[1:] * singular_R
    np.testing.assert_allclose(weighted @ weighted.T, item_V @ item_V.T, atol=1e-3, rtol=1e-4)


def test_unit_length_rows_after_centring() -> None:
    vectors_IV = table(40, 6)
    vectors_IV[7] = vectors_IV[1:].mean(axis=0)
    left_IR, singular_R = decompose(vectors_IV, center=True, normalise=True)
    lengths = np.linalg.norm(left_IR[1:] * singular_R, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    zero = np.zeros((5, 3), np.float32)
    zero[2:] = np.eye(3)
    left_IR, _ = decompose(zero, center=False, normalise=True)
    assert not left_IR[:2].any()  # an item without text stays zero


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("items", [40, 5])
def test_an_item_without_text_is_no_part_of_the_mean_and_stays_zero(center: bool, items: int) -> None:
    vectors_IV = table(items, 6)
    vectors_IV[[2, 4]] = 0
    titled = [0, 1, 3, *range(5, items + 1)]
    left_IR, singular_R = decompose(vectors_IV, center=center, normalise=True)
    assert not left_IR[[2, 4]].any()
    alone_IR, alone_R = decompose(vectors_IV[titled], center=center, normalise=True)
    np.testing.assert_allclose(singular_R, alone_R, rtol=1e-5)
    np.testing.assert_allclose(left_IR[titled], alone_IR, atol=1e-5)
    assert has_text(vectors_IV).tolist() == [place in titled for place in range(1, items + 1)]


def test_directions_without_text_are_cut() -> None:
    vectors_IV = table(40, 6)
    vectors_IV[:, 5] = vectors_IV[:, 0] * 2
    assert decompose(vectors_IV, center=False, normalise=False)[1].shape == (5,)
    assert decompose(table(4, 6), center=True, normalise=True)[1].shape == (3,)  # centred items span one less


def peak(compute: Callable[[], object]) -> int:
    """Bytes that are held at most while it runs, what it returns included."""
    tracemalloc.start()
    try:
        compute()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


SETTINGS = list(itertools.product((True, False), repeat=2))


@pytest.mark.parametrize(("center", "normalise"), SETTINGS)
@pytest.mark.parametrize("at_once", [1, 50, 6 * 39, 6 * 40])
def test_rows_in_blocks_give_what_all_at_once_do(
    monkeypatch: pytest.MonkeyPatch, center: bool, normalise: bool, at_once: int
) -> None:
    vectors_IV = table(40, 6)
    vectors_IV[[3, 8]] = 0
    left_IR, singular_R = decompose(vectors_IV, center=center, normalise=normalise)
    monkeypatch.setattr(texts, "AT_ONCE", at_once)
    blocks_IR, blocks_R = decompose(vectors_IV, center=center, normalise=normalise)
    np.testing.assert_allclose(blocks_R, singular_R, rtol=1e-6)
    np.testing.assert_allclose(blocks_IR, left_IR, atol=1e-6)


def test_no_copy_of_the_text_is_held_beside_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "AT_ONCE", 2**13)
    vectors_IV = table(20_000, 50)
    results: dict[str, Callable[[], object]] = {
        "decompose": lambda: decompose(vectors_IV, center=True, normalise=True),
        "whiten": lambda: whiten(vectors_IV, rotation="zca", groups=2),
        "standardise": lambda: standardise(vectors_IV, np.ones(20_001)),
    }
    for name, compute in results.items():
        assert peak(compute) < 1.5 * vectors_IV.nbytes, name
    assert peak(lambda: mean_length(vectors_IV)) < 0.2 * vectors_IV.nbytes


def test_a_weak_direction_is_text_however_many_items_there_are() -> None:
    vectors_IV = table(300_000, 4) * np.array([1, 0.1, 0.01, 0], np.float32)
    for center in (True, False):
        singular_R = decompose(vectors_IV, center=center, normalise=False)[1]
        assert len(singular_R) == 3
        assert singular_R[2] < 0.03 * singular_R[0]


@pytest.mark.parametrize("name", ["amazon-office-2014", "amazon-beauty-2014"])
def test_of_minilms_directions_those_that_titles_span_are_text(real_data: Path, name: str) -> None:
    vectors = np.load(real_data / name / f"{name}.minilm-l6-v2.npy")
    singular_R = decompose(np.concatenate([vectors[:1], vectors]), center=True, normalise=True)[1]
    assert len(singular_R) == 381, "three directions are the same for all titles"
    assert singular_R[-1] > 0.01 * singular_R[0]


def test_principal_directions_come_strongest_first_with_their_largest_entry_positive() -> None:
    item_V = table(40, 6)[1:].astype(np.float64)
    eigenvalue_V, direction_VV = principal_directions(item_V.T @ item_V)
    assert (np.diff(eigenvalue_V) < 0).all()
    np.testing.assert_allclose(item_V.T @ item_V @ direction_VV, direction_VV * eigenvalue_V, atol=1e-9)
    assert (direction_VV.max(axis=0) == np.abs(direction_VV).max(axis=0)).all()
    assert largest(np.array([[1.0, -3.0], [-2.0, 3.0]])).tolist() == [-2, -3]


def test_signs_are_fixed() -> None:
    left_IR, _ = decompose(table(40, 6), center=True, normalise=True)
    assert (left_IR[np.abs(left_IR).argmax(axis=0), np.arange(left_IR.shape[1])] > 0).all()


@stage(version=1)
def made_up_vectors(seed: int) -> Arrays:
    return {"vectors": table(20, 4, seed=seed)}


def test_is_a_stage_that_depends_on_the_vectors_and_its_own_settings(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "stages")

    def get(center: bool, seed: int = 0) -> Path:
        text = stages.get(made_up_vectors, {"seed": seed})
        return stages.get(spectrum, {"text": text, "center": center, "normalise": True}).folder

    assert get(True) == get(True) != get(False)
    assert get(True, seed=1) != get(True)


@pytest.mark.parametrize(
    ("data", "rank"),
    [
        (Data(text="tfidf", text_width=50), 50),
        (Data(text="tfidf", name="something-real", text_width=4000), 4000),
        (Data(text="some/encoder"), None),
    ],
)
def test_the_rank_is_bounded_by_what_is_known_before_a_run(data: Data, rank: int | None) -> None:
    assert largest_rank(data, center=True) == rank


def test_the_rank_is_bounded_by_a_files_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.zeros((10, 384), np.float16))
    data = Data(text=str(tmp_path / "few.npy"))
    assert largest_rank(data, center=True) == 9
    assert largest_rank(data, center=False) == 10


def test_items_without_a_text_do_not_count_in_the_mean_length() -> None:
    assert mean_length(np.array([[0, 0], [3, 4], [0, 0], [6, 8]], np.float32)) == pytest.approx(7.5)
    assert mean_length(np.zeros((3, 2), np.float32)) == 1.0
