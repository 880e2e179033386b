"""Item vectors: lookups in whole and partial tables, dots with candidates, the ID embeddings."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainables.data.batches import Batch
from trainables.seqrec.items import IdItems, Items, TableLookup, all_scores, candidate_dots

GENERATOR = torch.Generator().manual_seed(0)


class Doubled(nn.Module, Items):
    """Items whose vectors are computed: two times a table; counts how many."""

    computed = True

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.num_items, self.width = num_items, 4
        self.table_ID = nn.Parameter(torch.randn(num_items, 4, generator=GENERATOR))
        self.asked: list[int] = []

    def rows(self, index_N: torch.Tensor | None = None) -> torch.Tensor:
        row_ND = self.table_ID if index_N is None else self.table_ID[index_N]
        self.asked.append(len(row_ND))
        return 2 * row_ND


def test_id_items_start_small_with_a_zero_padding_row() -> None:
    table_ID = IdItems(500, 64, generator=torch.Generator().manual_seed(0)).rows()
    assert not table_ID[0].any()
    assert table_ID[1:].std().item() == pytest.approx(0.02, rel=0.05)


def test_id_items_can_start_from_given_rows_which_are_copied() -> None:
    start_ID = torch.ones(5, 3)
    items = IdItems(5, 3, generator=torch.Generator(), initial_ID=start_ID)
    assert items.rows()[:, 0].tolist() == [0, 1, 1, 1, 1]
    assert start_ID[0, 0] == 1


@pytest.mark.parametrize(("num_items", "computed"), [(1000, 3), (4, 4)], ids=["few of many", "most"])
def test_a_step_computes_only_the_items_it_needs_where_they_are_few(num_items: int, computed: int) -> None:
    items = Doubled(num_items)
    index_BL = torch.tensor([[0, 3, 2], [3, 3, 2]])
    lookup = items.lookup(index_BL.flatten())
    assert items.asked == [computed]
    torch.testing.assert_close(lookup.vectors(index_BL)[:, 1:], 2 * items.table_ID[index_BL[:, 1:]])
    state_NW, candidate_NS = torch.randn(2, 4, generator=GENERATOR), torch.tensor([[2, 3], [3, 3]])
    expected = torch.einsum("nw,nsw->ns", state_NW, items.rows()[candidate_NS]) / 2
    torch.testing.assert_close(lookup.scores(state_NW, candidate_NS), expected)


def test_padding_gets_no_gradient_from_a_history() -> None:
    table_ID = torch.randn(6, 4, generator=GENERATOR, requires_grad=True)
    TableLookup(table_ID).vectors(torch.tensor([[0, 2], [0, 0]])).sum().backward()
    assert table_ID.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_dots_with_candidates_have_the_values_and_gradients_of_gathered_vectors(wanted: tuple[bool, bool]) -> None:
    candidate_NS = torch.randint(0, 20, (5, 7), generator=GENERATOR)
    leaves = torch.randn(5, 8, generator=GENERATOR), torch.randn(20, 8, generator=GENERATOR)
    results = []
    for dots in (candidate_dots, lambda s, t, c: torch.bmm(functional.embedding(c, t), s[:, :, None]).squeeze(2)):
        state_NW, table_IW = (x.clone().requires_grad_(want) for x, want in zip(leaves, wanted, strict=True))
        value_NS = dots(state_NW, table_IW, candidate_NS)
        (value_NS**2).sum().backward()
        results.append((value_NS, state_NW.grad, table_IW.grad))
    for ours, gathered in zip(*results, strict=True):
        assert (ours is None) == (gathered is None)
        if ours is not None:
            torch.testing.assert_close(ours, gathered)


@pytest.mark.parametrize("cosine", [False, True])
def test_training_scores_are_the_ranking_scores_of_the_candidates(cosine: bool) -> None:
    state_NW, table_IW = torch.randn(3, 4, generator=GENERATOR), torch.randn(6, 4, generator=GENERATOR)
    candidate_NS = torch.tensor([[1, 2], [5, 5], [3, 4]])
    every_NI = all_scores(state_NW, table_IW, cosine=cosine)
    torch.testing.assert_close(
        TableLookup(table_IW).scores(state_NW, candidate_NS, cosine=cosine), every_NI.gather(1, candidate_NS)
    )
    expected = torch.cosine_similarity(state_NW[1], table_IW[2], dim=0) if cosine else state_NW[1] @ table_IW[2] / 2
    torch.testing.assert_close(every_NI[1, 2], expected)


def test_no_penalty_and_plain_encoding_are_the_defaults() -> None:
    items = Doubled(3)
    batch = Batch(
        torch.zeros(1, 1, dtype=torch.long), torch.ones(1, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    )
    assert items.penalty(batch, TableLookup(items.rows()), lambda history_BL: history_BL) is None
    assert torch.equal(
        items.encode(lambda vectors: vectors[:, -1], torch.ones(2, 3, 4), torch.ones(2, 3)), torch.ones(2, 4)
    )
