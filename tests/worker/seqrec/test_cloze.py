"""Cloze: which items are masked, and what is asked about them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.batches import Batch
from trainables.seqrec.cloze import cloze, draw_masks


class Recorder:
    """A backbone that keeps what it was given and returns one state a masked position."""

    def masked(self, vectors_BLD: torch.Tensor, mask_BL: torch.Tensor, masked_BL: torch.Tensor) -> torch.Tensor:
        self.given = vectors_BLD, mask_BL, masked_BL
        return vectors_BLD[masked_BL]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def left_padded(rows: int, length: int, held: int) -> torch.Tensor:
    return (torch.arange(length) >= length - held).expand(rows, length)


def batch_of(*histories: list[int], targets: list[int]) -> Batch:
    return Batch(torch.tensor(histories), torch.tensor(targets), torch.arange(len(targets)))


@given(
    held=st.lists(st.integers(1, 11), min_size=1, max_size=20),
    ratio=st.floats(0.01, 0.99),
    newest_share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30)
def test_every_row_has_a_mask_and_no_padding_is_masked(
    held: list[int], ratio: float, newest_share: float, seed: int
) -> None:
    held_BL = torch.cat([left_padded(1, 11, items) for items in held])
    masked_BL = draw_masks(held_BL, ratio, seeded(seed), newest_share=newest_share)
    assert masked_BL.any(dim=1).all()
    assert not (masked_BL & ~held_BL).any()


@pytest.mark.parametrize("ratio", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("held", [1, 2, 5, 11])
def test_masks_a_row_are_the_ratio_plus_the_forced_one(ratio: float, held: int) -> None:
    masked_BL = draw_masks(left_padded(20_000, 11, held), ratio, seeded())
    mean = masked_BL.sum(dim=1).double().mean().item()
    assert mean == pytest.approx(held * ratio + (1 - ratio) ** held, abs=0.04)  # 4 standard errors of 11 at ratio .6


def test_each_position_is_masked_equally_often() -> None:
    share_L = draw_masks(left_padded(20_000, 6, 4), 0.2, seeded()).double().mean(dim=0)
    assert not share_L[:2].any()
    torch.testing.assert_close(share_L[2:], torch.full((4,), 0.2 + 0.8**4 / 4, dtype=torch.float64), atol=0.015, rtol=0)


def test_newest_share_is_the_share_of_rows_that_mask_the_newest_item_alone() -> None:
    held_BL = left_padded(20_000, 11, 11)
    plain_BL = draw_masks(held_BL, 0.4, seeded())
    mixed_BL = draw_masks(held_BL, 0.4, seeded(), newest_share=0.3)
    changed_B = (plain_BL != mixed_BL).any(dim=1)
    assert changed_B.double().mean().item() == pytest.approx(0.3, abs=0.015)
    assert mixed_BL[changed_B, -1].all()
    assert (mixed_BL[changed_B].sum(dim=1) == 1).all()
    alone_BL = draw_masks(held_BL, 0.4, seeded(), newest_share=1.0)
    assert torch.equal(alone_BL, (torch.arange(11) == 10).expand_as(alone_BL))


def test_draws_follow_the_generator_alone() -> None:
    held_BL = left_padded(50, 11, 9)
    before = torch.get_rng_state()
    first, again, other = (draw_masks(held_BL, 0.4, seeded(seed), newest_share=0.3) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_targets_are_the_masked_items_of_history_and_target_in_row_order() -> None:
    batch = batch_of([0, 0, 5, 6], [1, 2, 3, 4], [0, 0, 0, 9], targets=[7, 8, 10])
    whole_BL = torch.tensor([[0, 0, 5, 6, 7], [1, 2, 3, 4, 8], [0, 0, 0, 9, 10]])
    read = cloze(Recorder(), 0.5)
    seen_masked: set[int] = set()
    for seed in range(20):
        examples = read(batch, seeded(seed))
        assert examples.held_BL.tolist() == (whole_BL != 0).tolist()
        assert (examples.row_N.diff() >= 0).all()
        assert set(examples.row_N.tolist()) == {0, 1, 2}
        restored_BL = examples.sequence_BL.clone()
        restored_BL[examples.held_BL & (examples.sequence_BL == 0)] = examples.target_N
        assert torch.equal(restored_BL, whole_BL)
        for row, target in zip(examples.row_N.tolist(), examples.target_N.tolist(), strict=True):
            assert target in whole_BL[row]
            assert target not in examples.sequence_BL[row]
        seen_masked |= set(examples.target_N.tolist())
    assert seen_masked == set(range(1, 11))


def test_the_encoder_reads_the_states_of_the_masked_positions_in_the_order_of_the_targets() -> None:
    backbone = Recorder()
    examples = cloze(backbone, 0.5)(batch_of([0, 0, 5, 6], [1, 2, 3, 4], targets=[7, 8]), seeded())
    vectors_BLD = torch.arange(10.0).view(2, 5, 1)
    states_ND = examples.encoder(vectors_BLD)
    masked_BL = examples.held_BL & (examples.sequence_BL == 0)
    given_vectors, given_held, given_masked = backbone.given
    assert given_vectors is vectors_BLD
    assert torch.equal(given_held, examples.held_BL)
    assert torch.equal(given_masked, masked_BL)
    assert torch.equal(states_ND[:, 0].long() // 5, examples.row_N)
    assert len(states_ND) == len(examples.target_N) == masked_BL.sum()


def test_a_newest_share_of_one_asks_for_the_target_of_every_row() -> None:
    batch = batch_of([0, 0, 5, 6], [1, 2, 3, 4], targets=[7, 8])
    examples = cloze(Recorder(), 0.5, newest_share=1.0)(batch, seeded())
    assert examples.target_N.tolist() == [7, 8]
    assert examples.sequence_BL.tolist() == [[0, 0, 5, 6, 0], [1, 2, 3, 4, 0]]
    assert examples.held_BL[:, -1].all()
