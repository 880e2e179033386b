"""LLMInit and AlphaFuse: which coordinates of the text they take, and what training may change."""

import numpy as np
import pytest
import torch

from trainables.data import text as texts
from trainables.spectran.adapters.alphafuse import AlphaFuseItems, standardise
from trainables.spectran.adapters.llminit import most_frequent, rescaled, start_table, widest_columns

ITEMS, WIDTH, DIM = 100, 10, 4


def text(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    vectors_IV = random.normal(size=(ITEMS + 1, WIDTH)) @ random.normal(size=(WIDTH, WIDTH)) + 2
    vectors_IV[0] = 0
    return vectors_IV.astype(np.float32)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_most_met_items_are_a_share_of_all_and_ties_go_by_number() -> None:
    count_I = np.array([99, 1, 5, 0, 5, 7])
    assert most_frequent(count_I, 0.6).tolist() == [5, 2, 4]
    assert most_frequent(count_I, 0.2).tolist() == [5]
    assert most_frequent(count_I, 0.01).tolist() == [5]


def test_columns_are_chosen_by_their_variance_over_the_most_met_items_and_keep_their_order() -> None:
    vectors_IV = np.zeros((7, 4), np.float32)
    vectors_IV[1:, 0] = [0, 9, 0, 9, 0, 9]  # varies, but not over items 1 and 3
    vectors_IV[1:, 1] = [1, 0, -1, 0, 0, 0]
    vectors_IV[1:, 3] = [2, 0, -2, 0, 0, 0]
    assert widest_columns(vectors_IV, 2, np.array([1, 3])).tolist() == [1, 3]
    assert widest_columns(vectors_IV, 2, np.arange(1, 7)).tolist() == [0, 3]
    count_I = np.array([0, 5, 1, 5, 1, 1, 1])
    table_ID = start_table(vectors_IV, dim=2, select="variance", count_I=count_I, share=0.3, generator=generator())
    np.testing.assert_array_equal(table_ID, vectors_IV[:, [1, 3]])


def test_even_columns_reach_from_the_first_to_the_last_and_random_ones_are_distinct_and_in_order() -> None:
    column_IV = np.tile(np.arange(WIDTH, dtype=np.float32), (3, 1))
    count_I = np.zeros(3, np.int64)
    even, random, again = (
        start_table(column_IV, dim=DIM, select=select, count_I=count_I, generator=generator())[1].tolist()
        for select in ("even", "random", "random")
    )
    assert even == [0, 3, 6, 9]
    assert random == sorted(set(random)) == again
    assert len(random) == DIM


def test_the_start_is_scaled_as_a_whole() -> None:
    table_ID = rescaled(text()[:, :DIM], 0.02)
    assert table_ID.dtype == np.float32
    assert table_ID[1:].std() == pytest.approx(0.02, rel=1e-4)
    ratio = table_ID[1:] / text()[1:, :DIM]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    np.testing.assert_array_equal(rescaled(text(), None), text())


def test_too_few_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dim must be at most the width .* but got dim 11 and width 10; lower dim"):
        start_table(text(), dim=11, select="even", count_I=np.zeros(ITEMS + 1), generator=generator())


def frozen(columns: int = DIM) -> torch.Tensor:
    return torch.from_numpy(text()[:, :columns])


def test_alphafuse_adds_ids_onto_the_last_dimensions_or_puts_them_in_their_place() -> None:
    added = AlphaFuseItems(frozen(), null_width=1, start="normal", generator=generator())
    torch.testing.assert_close(added.rows()[:, :3], frozen()[:, :3])
    torch.testing.assert_close(added.rows()[:, 3:], frozen()[:, 3:] + added.id_IZ)
    covering = AlphaFuseItems(frozen(3), null_width=1, start="normal", cover=True, generator=generator())
    torch.testing.assert_close(covering.rows(), torch.cat([frozen(3), covering.id_IZ], dim=1))
    assert added.width == covering.width == DIM
    assert added.id_IZ[1:].std().item() == pytest.approx(0.02, rel=0.3)
    assert not added.id_IZ[0].any()


def test_alphafuse_starts_from_the_text_alone_where_ids_start_at_zero() -> None:
    items = AlphaFuseItems(frozen(), null_width=DIM, generator=generator())
    torch.testing.assert_close(items.rows(), frozen())


def test_training_changes_alphafuses_ids_and_nothing_else() -> None:
    items = AlphaFuseItems(frozen(), null_width=2, generator=generator())
    before_ID = items.rows().detach().clone()
    optimiser = torch.optim.Adam(items.parameters(), lr=0.1)
    items.lookup().vectors(torch.tensor([[0, 1, 2]])).square().sum().backward()
    optimiser.step()
    changed_ID = items.rows().detach() != before_ID
    assert changed_ID[1:3, 2:].all()
    assert not changed_ID[:, :2].any()
    assert not changed_ID[0].any()
    assert set(items.state_dict()) == {"id_IZ"}


def test_weighted_coordinates_are_those_of_a_text_that_repeats_its_items() -> None:
    count_I = np.random.default_rng(1).integers(0, 4, ITEMS + 1).astype(np.float64)
    coordinates_IR = standardise(text(), count_I)
    item_N = np.repeat(np.arange(ITEMS + 1), count_I.astype(int) * (np.arange(ITEMS + 1) > 0))
    repeated = coordinates_IR[item_N].astype(np.float64)
    np.testing.assert_allclose(repeated.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(repeated.T @ repeated / len(repeated), np.eye(WIDTH), atol=1e-3)
    centred = text()[item_N] - text()[item_N].mean(axis=0)
    strength = np.linalg.norm(centred.T @ repeated, axis=0)
    assert (np.diff(strength) < 0).all()
    assert not coordinates_IR[0].any()


def test_an_item_without_text_has_no_weight_and_stays_zero() -> None:
    vectors_IV, count_I = text(), np.random.default_rng(1).integers(1, 4, ITEMS + 1).astype(np.float64)
    vectors_IV[[3, 7]] = 0
    titled = [place for place in range(ITEMS + 1) if place not in (3, 7)]
    coordinates_IR = standardise(vectors_IV, count_I)
    assert not coordinates_IR[[3, 7]].any()
    np.testing.assert_allclose(coordinates_IR[titled], standardise(vectors_IV[titled], count_I[titled]), atol=1e-4)


def test_a_weak_direction_has_coordinates_however_many_items_there_are() -> None:
    vectors_IV = np.random.default_rng(0).normal(size=(300_000, 3)).astype(np.float32)
    vectors_IV *= np.array([1, 0.01, 0], np.float32)
    assert standardise(vectors_IV, np.ones(len(vectors_IV))).shape == (300_000, 2)


def test_rows_in_blocks_have_the_coordinates_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count_I = np.random.default_rng(1).integers(0, 4, ITEMS + 1).astype(np.float64)
    whole_IR = standardise(text(), count_I)
    monkeypatch.setattr(texts, "AT_ONCE", 17 * WIDTH)
    np.testing.assert_allclose(standardise(text(), count_I), whole_IR, atol=1e-5)


def test_directions_without_variance_are_cut_from_weighted_coordinates() -> None:
    vectors_IV = text()
    vectors_IV[:, 7:] = vectors_IV[:, :3]
    assert standardise(vectors_IV, np.ones(ITEMS + 1)).shape == (ITEMS + 1, 7)
