"""InfoNCE and BCE against loops over examples, and negatives that are uniform over exactly the items allowed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.seqrec.items import TableLookup
from trainables.seqrec.losses import bce, draw_negatives, info_nce

exclusions = st.lists(st.lists(st.integers(0, 12), min_size=5, max_size=5), min_size=1, max_size=6)


@settings(max_examples=50)
@given(exclusions, st.integers(0, 1000))
def test_a_negative_is_an_item_and_never_an_excluded_one(excluded: list[list[int]], seed: int) -> None:
    drawn_BK = draw_negatives(13, 40, torch.tensor(excluded), torch.Generator().manual_seed(seed))
    assert drawn_BK.shape == (len(excluded), 40)
    for row, drawn in zip(excluded, drawn_BK.tolist(), strict=True):
        assert set(drawn) <= set(range(1, 13)) - set(row)


def test_negatives_are_uniform_over_what_is_left() -> None:
    excluded_BE = torch.tensor([[0, 3, 3, 7]]).repeat(1000, 1)
    drawn_BK = draw_negatives(11, 100, excluded_BE, torch.Generator().manual_seed(0))
    count_I = torch.bincount(drawn_BK.flatten(), minlength=11).double()
    assert count_I[[0, 3, 7]].sum() == 0
    left = count_I[[1, 2, 4, 5, 6, 8, 9, 10]]
    chi_square = ((left - 12_500) ** 2 / 12_500).sum()
    assert chi_square < 24.3  # .999 quantile with 7 degrees of freedom


def test_more_exclusions_than_items_are_refused() -> None:
    with pytest.raises(ValueError, match=r"negatives need more items than a row excludes, but got 4 items and 4 excl"):
        draw_negatives(5, 2, torch.zeros(3, 4, dtype=torch.long), torch.Generator())


@pytest.mark.parametrize("cosine", [False, True])
def test_info_nce_equals_a_loop_over_examples(cosine: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden_BD, table_ID = torch.randn(5, 8, generator=generator), torch.randn(20, 8, generator=generator)
    target_B, negative_BK = torch.tensor([1, 2, 3, 4, 19]), torch.randint(5, 19, (5, 6), generator=generator)
    expected = 0.0
    for hidden, target, negatives in zip(hidden_BD, target_B, negative_BK, strict=True):

        def score(item: torch.Tensor, state: torch.Tensor = hidden) -> float:
            product = float(state @ table_ID[item])
            return product / float(state.norm() * table_ID[item].norm() if cosine else math.sqrt(8)) / 0.5

        weights = [math.exp(score(item)) for item in (target, *negatives)]
        expected -= math.log(weights[0] / sum(weights)) / 5
    candidate_BS = torch.cat([target_B[:, None], negative_BK], dim=1)
    loss = info_nce(TableLookup(table_ID).scores(hidden_BD, candidate_BS, cosine=cosine), temperature=0.5)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_bce_is_the_mean_over_targets_plus_the_mean_over_negatives() -> None:
    positive_N, negative_N = torch.tensor([0.0, 2.0, -3.0]), torch.tensor([1.0, -1.0, 0.5])
    expected = sum(math.log1p(math.exp(-x)) for x in positive_N.tolist()) / 3
    expected += sum(math.log1p(math.exp(x)) for x in negative_N.tolist()) / 3
    assert float(bce(positive_N, negative_N)) == pytest.approx(expected, rel=1e-6)
    assert float(bce(torch.tensor([200.0]), torch.tensor([300.0]))) == pytest.approx(300.0)  # no overflow, no NaN
