"""Experts side by side: each reads its own columns, the gate weighs scores by the scored item."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from trainables.backbones.sasrec import SASRec
from trainables.data.batches import Batch
from trainables.pad.experts import FusedItems, JoinedBackbone, JoinedItems, gated_scores
from trainables.pad.gate import FrequencyGate
from trainables.seqrec.items import IdItems
from trainables.seqrec.objectives import bce_loss, every_position, next_scores

ITEMS, DIM, LENGTH = 40, 8, 5
BUCKET = torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(1, ITEMS) % 3 + 1])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ids(seed: int) -> IdItems:
    return IdItems(ITEMS, DIM, generator=generator(), initial_ID=torch.randn(ITEMS, DIM, generator=generator(seed)))


def backbone(seed: int) -> SASRec:
    return SASRec(DIM, LENGTH, blocks=1, generator=generator(seed)).eval()


def batch() -> Batch:
    history_BL = torch.randint(1, ITEMS, (6, LENGTH), generator=generator(5))
    history_BL[0, :3] = 0
    return Batch(history_BL, torch.randint(1, ITEMS, (6,), generator=generator(6)), torch.arange(6))


class Fixed(nn.Module):
    """A gate of given weights for each bucket."""

    def __init__(self, weight_BE: torch.Tensor) -> None:
        super().__init__()
        self.weight_BE = weight_BE

    def forward(self, vectors: Sequence[torch.Tensor], bucket_N: torch.Tensor) -> torch.Tensor:
        return self.weight_BE[bucket_N]


def test_scores_are_the_experts_dot_products_each_times_its_weight() -> None:
    weight_BE = torch.rand(4, 2, generator=generator(1))
    experts, backbones = [ids(1), ids(2)], [backbone(3), backbone(4)]
    joined, joint = JoinedItems(experts, BUCKET, Fixed(weight_BE)), JoinedBackbone(backbones)
    rows = batch()
    held_BL = rows.history_BL != 0
    expected_BI = torch.zeros(6, ITEMS)
    for e in range(2):
        state_BD = backbones[e].last(experts[e].rows()[rows.history_BL], held_BL)
        expected_BI += weight_BE[BUCKET, e] * (state_BD @ experts[e].rows().T)
    with torch.inference_mode():
        score_BI = gated_scores(joined, joint)(rows) * (2 * DIM) ** 0.5
    torch.testing.assert_close(score_BI[:, 1:], expected_BI[:, 1:].detach())


@pytest.mark.parametrize("chosen", [0, 1])
def test_a_gate_forced_to_one_expert_gives_that_experts_ranking(chosen: int) -> None:
    weight_BE = torch.zeros(4, 2)
    weight_BE[:, chosen] = 1
    experts, backbones = [ids(1), ids(2)], [backbone(3), backbone(4)]
    joined = JoinedItems(experts, BUCKET, Fixed(weight_BE))
    with torch.inference_mode():
        joined_BI = gated_scores(joined, JoinedBackbone(backbones))(batch())
        alone_BI = next_scores(experts[chosen], backbones[chosen], cosine=False)(batch())
    assert torch.equal(joined_BI[:, 1:].argsort(dim=1), alone_BI[:, 1:].argsort(dim=1))


def test_one_expert_without_a_gate_is_that_expert() -> None:
    expert, encoder = ids(1), backbone(3)
    with torch.inference_mode():
        joined_BI = gated_scores(JoinedItems([expert], BUCKET), JoinedBackbone([encoder]))(batch())
        alone_BI = next_scores(expert, encoder, cosine=False)(batch())
    torch.testing.assert_close(joined_BI, alone_BI)


def test_a_partial_lookup_weighs_each_item_by_its_own_bucket() -> None:
    gate = FrequencyGate(("id", "text"), 3)
    joined = JoinedItems([ids(1), ids(2)], BUCKET, gate)
    needed_N = torch.tensor([7, 3, 3, 11, 0])
    state_NW, candidate_NS = torch.randn(2, 2 * DIM, generator=generator()), torch.tensor([[7, 3], [11, 3]])
    joined.computed = True
    partial, whole = joined.lookup(needed_N), joined.lookup()
    assert partial.read.index_N is not None
    assert whole.read.index_N is None
    torch.testing.assert_close(partial.scores(state_NW, candidate_NS), whole.scores(state_NW, candidate_NS))
    torch.testing.assert_close(partial.vectors(candidate_NS), whole.vectors(candidate_NS))


def test_histories_are_read_without_the_gate() -> None:
    experts = [ids(1), ids(2)]
    joined = JoinedItems(experts, BUCKET, Fixed(torch.zeros(4, 2)))
    index = torch.tensor([[3, 9]])
    expected = torch.cat([expert.rows()[index] for expert in experts], dim=2)
    torch.testing.assert_close(joined.lookup().vectors(index), expected)


def test_the_joined_last_state_is_the_last_of_all_positions() -> None:
    joint = JoinedBackbone([backbone(3), backbone(4)])
    vectors_BLW = torch.randn(3, LENGTH, 2 * DIM, generator=generator())
    mask_BL = torch.ones(3, LENGTH, dtype=torch.bool)
    torch.testing.assert_close(joint(vectors_BLW, mask_BL)[:, -1], joint.last(vectors_BLW, mask_BL))


def test_fused_vectors_are_a_dense_layer_of_ids_and_text() -> None:
    items = FusedItems(ids(1), ids(2), dropout=0.0, generator=generator(3))
    both_NX = torch.cat([items.ids.rows(), items.text.rows()], dim=1)
    expected = torch.nn.functional.gelu(both_NX @ items.fusion.weight.T + items.fusion.bias)
    torch.testing.assert_close(items.rows(), expected)
    torch.testing.assert_close(items.rows(torch.tensor([4, 2])), expected[[4, 2]])


def test_gradients_reach_every_expert_and_the_gate() -> None:
    joined = JoinedItems([ids(1), ids(2)], BUCKET, FrequencyGate(("id", "text"), 3))
    joint = JoinedBackbone([backbone(3), backbone(4)])
    bce_loss(joined, joint, every_position(joint))(batch(), generator()).backward()
    for name, parameter in [*joined.named_parameters(), *joint.named_parameters()]:
        if "project.bias" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
