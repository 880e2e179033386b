"""Targets and negatives of a step: every position of a history, and BCE over plain dot products."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainables.backbones.sasrec import SASRec
from trainables.data.batches import Batch
from trainables.seqrec.items import IdItems, Lookup
from trainables.seqrec.objectives import bce_loss, every_position, next_item, unseen_negatives

HISTORY_BL = torch.tensor([[0, 0, 7], [4, 5, 6], [0, 0, 0], [0, 9, 9]])
TARGET_B = torch.tensor([1, 2, 3, 8])
BATCH = Batch(HISTORY_BL, TARGET_B, torch.arange(4))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Running:
    """A causal backbone whose state is the sum of the vectors so far."""

    def forward(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        return (vectors_BLD * mask_BL[:, :, None]).cumsum(dim=1)

    def last(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor) -> torch.Tensor:
        return self.forward(vectors_BLD, mask_BL)[:, -1]


class Penalised(IdItems):
    """ID embeddings with a penalty: the sum of the states after the histories."""

    def penalty(self, batch: Batch, lookup: Lookup, encode: object) -> torch.Tensor:
        assert callable(encode)
        states: torch.Tensor = encode(batch.history_BL)
        return states.sum()


def test_every_item_of_a_history_predicts_the_next_and_the_last_one_the_target() -> None:
    examples = every_position(Running())(BATCH, generator())
    assert torch.equal(examples.sequence_BL, HISTORY_BL)
    assert torch.equal(examples.held_BL, HISTORY_BL != 0)
    assert examples.target_N.tolist() == [1, 5, 6, 2, 9, 8]
    assert examples.row_N.tolist() == [0, 1, 1, 1, 3, 3]


def test_each_example_gets_the_state_of_its_own_position() -> None:
    examples = every_position(Running())(BATCH, generator())
    vectors_BLD = HISTORY_BL[:, :, None] * torch.tensor([1.0, 10.0])
    assert examples.encoder(vectors_BLD)[:, 0].tolist() == [7, 4, 9, 15, 9, 18]
    assert examples.encoder(vectors_BLD)[:, 1].tolist() == [70, 40, 90, 150, 90, 180]


def test_a_position_predicts_without_what_it_predicts() -> None:
    """The target, and whatever follows a position, may change without changing its state."""
    items = IdItems(10, 8, generator=generator())
    backbone = SASRec(8, 3, generator=generator())
    read = every_position(backbone)

    def states(history: list[int], target: int) -> torch.Tensor:
        batch = Batch(torch.tensor([history]), torch.tensor([target]), torch.tensor([0]))
        return read(batch, generator()).encoder(items.rows()[batch.history_BL])

    before, after = states([4, 5, 6], 1), states([4, 5, 8], 2)
    torch.testing.assert_close(before[:2], after[:2])
    assert (before[2] - after[2]).abs().max() > 1e-4


rows = st.lists(st.tuples(st.lists(st.integers(1, 19), max_size=5), st.integers(1, 19)), min_size=1, max_size=6).filter(
    lambda rows: any(history for history, _ in rows)
)


@given(rows, st.integers(0, 1000), st.booleans())
@settings(max_examples=30)
def test_a_negative_is_outside_its_row(drawn: list[tuple[list[int], int]], seed: int, every: bool) -> None:
    history_BL = torch.tensor([[0] * (5 - len(history)) + history for history, _ in drawn])
    batch = Batch(history_BL, torch.tensor([target for _, target in drawn]), torch.arange(len(drawn)))
    examples = (every_position if every else next_item)(Running())(batch, generator())
    negative_N = unseen_negatives(batch, examples, 20, torch.Generator().manual_seed(seed))
    assert negative_N.shape == examples.target_N.shape
    for row, negative in zip(examples.row_N.tolist(), negative_N.tolist(), strict=True):
        history, target = drawn[row]
        assert negative in set(range(1, 20)) - {*history, target}


def test_negatives_are_uniform_and_every_example_has_a_draw_of_its_own() -> None:
    count = 4000
    batch = Batch(torch.tensor([[1, 2, 3]]).repeat(count, 1), torch.full((count,), 4), torch.arange(count))
    examples = every_position(Running())(batch, generator())
    negative_BL = unseen_negatives(batch, examples, 9, generator()).view(count, 3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        pair_16 = torch.bincount((negative_BL[:, first] - 5) * 4 + negative_BL[:, second] - 5, minlength=16).double()
        assert ((pair_16 - count / 16) ** 2 / (count / 16)).sum() < 37.7  # .999 quantile, 15 degrees of freedom


def test_rows_that_leave_no_item_are_refused() -> None:
    examples = every_position(Running())(BATCH, generator())
    with pytest.raises(ValueError, match=r"negatives need more items than a row excludes, but got 4 items and 4 excl"):
        unseen_negatives(BATCH, examples, 5, generator())


def test_the_loss_equals_a_loop_over_positions_with_plain_dot_products() -> None:
    items, backbone = IdItems(30, 8, generator=generator()), SASRec(8, 3, generator=generator())
    with torch.no_grad():
        items.table_ID.mul_(20)
    read = every_position(backbone)
    loss = bce_loss(items, backbone, read)(BATCH, torch.Generator().manual_seed(5))
    examples = read(BATCH, generator())
    negative_N = unseen_negatives(BATCH, examples, 30, torch.Generator().manual_seed(5))
    table_ID, expected = items.rows(), 0.0
    states_BLD, table_ID = backbone(table_ID[HISTORY_BL], HISTORY_BL != 0).detach(), table_ID.detach()
    positions = [(row, place) for row in range(4) for place in range(3) if HISTORY_BL[row, place]]
    for (row, place), negative in zip(positions, negative_N.tolist(), strict=True):
        target = int(TARGET_B[row] if place == 2 else HISTORY_BL[row, place + 1])
        for item, label in ((target, 1), (negative, 0)):
            chance = 1 / (1 + math.exp(-float(states_BLD[row, place] @ table_ID[item])))
            expected -= math.log(chance if label else 1 - chance) / len(positions)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_items_penalty_is_added() -> None:
    plain, more = (cls(30, 8, generator=generator()) for cls in (IdItems, Penalised))
    backbone = Running()
    losses = [bce_loss(items, backbone, every_position(backbone))(BATCH, generator()) for items in (plain, more)]
    states_BD = backbone.last(functional.embedding(HISTORY_BL, plain.rows()), HISTORY_BL != 0)
    torch.testing.assert_close(losses[1] - losses[0], states_BD.sum())
