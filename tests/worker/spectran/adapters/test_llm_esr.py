"""LLM-ESR: two views, what attention may see, alignment, and similar users."""

import numpy as np
import pytest
import torch
from torch import nn

from trainables.data.batches import Batch
from trainables.spectran.adapters.llm_esr import LLMESRItems, alignment, most_similar

ITEMS, WIDTH, DIM = 30, 10, 4
Tensor = torch.Tensor


def text(seed: int = 0) -> np.ndarray:
    vectors_IV = np.random.default_rng(seed).normal(size=(ITEMS + 1, WIDTH)).astype(np.float32)
    vectors_IV[0] = 0
    return vectors_IV


def made(alignment: float = 0.1, distillation: float = 0.0, users: int = 5) -> LLMESRItems:
    generator = torch.Generator().manual_seed(0)
    history_UL = torch.randint(1, ITEMS + 1, (users, 3), generator=generator)
    items = LLMESRItems(
        torch.from_numpy(text()),
        torch.randn(ITEMS + 1, DIM, generator=generator),
        alignment=alignment,
        distillation=distillation,
        history_UL=history_UL,
        similar_UN=torch.tensor([[1, 2], [2, 3], [3, 4], [4, 0], [0, 1]]),
        scale=2.0,
        generator=generator,
    )
    with torch.no_grad():
        for name, parameter in items.named_parameters():
            if name != "id_ID":
                parameter.normal_(std=0.5, generator=generator)
    return items


class Mean(nn.Module):
    """An encoder that notes what it reads: the mean over held positions, times a weight."""

    def __init__(self, held_BL: Tensor) -> None:
        super().__init__()
        self.held_BL = held_BL
        self.read: list[Tensor] = []

    def forward(self, vectors_BLD: Tensor) -> Tensor:
        self.read.append(vectors_BLD)
        return (vectors_BLD * self.held_BL[:, :, None]).sum(dim=1) / self.held_BL.sum(dim=1, keepdim=True)


def test_item_vectors_are_ids_beside_a_linear_map_of_the_text_and_padding_is_zero() -> None:
    items = made()
    inner_IX = 2 * torch.from_numpy(text()) @ items.inner.weight.T + items.inner.bias
    expected_ID = inner_IX @ items.outer.weight.T + items.outer.bias
    torch.testing.assert_close(items.rows()[1:], torch.cat([items.id_ID, expected_ID], dim=1)[1:])
    assert not items.rows()[0].any()
    assert items.inner.weight.shape == (WIDTH // 2, WIDTH)
    assert items.width == 2 * DIM


def attention(module: nn.Module, asking_LD: Tensor, asked_LD: Tensor) -> Tensor:
    """Two-head attention of one sequence, head by head."""
    heads = []
    for columns in (slice(0, DIM // 2), slice(DIM // 2, DIM)):
        q, k, v = (
            x_LD @ layer.weight[columns].T
            for x_LD, layer in ((asking_LD, module.query), (asked_LD, module.key), (asked_LD, module.value))
        )
        heads.append(torch.softmax(q @ k.T / np.sqrt(DIM // 2), dim=1) @ v)
    return torch.cat(heads, dim=1) @ module.out.weight.T + module.out.bias


def test_each_stream_takes_its_values_from_its_own_view_and_its_queries_from_the_other() -> None:
    items = made()
    index_BL = torch.tensor([[3, 1, 4]])
    encoder = Mean(index_BL != 0)
    states_BW = items.encode(encoder, items.lookup().vectors(index_BL), index_BL != 0)
    id_LD, text_LD = items.rows()[index_BL[0]].chunk(2, dim=1)
    expected = attention(items.to_id, text_LD, id_LD), attention(items.to_text, id_LD, text_LD)
    for read_BLD, stream_LD in zip(encoder.read, expected, strict=True):
        torch.testing.assert_close(read_BLD[0], stream_LD)
    torch.testing.assert_close(states_BW[0], torch.cat([stream_LD.mean(dim=0) for stream_LD in expected]))


def test_attention_sees_neither_padding_nor_masked_positions() -> None:
    items = made()
    short_BL, long_BL = torch.tensor([[3, 4]]), torch.tensor([[0, 3, 0, 4]])  # the second zero stands for a mask
    held_BL = torch.tensor([[False, True, True, True]])
    short, long = Mean(short_BL != 0), Mean(held_BL)
    items.encode(short, items.lookup().vectors(short_BL), short_BL != 0)
    vectors_BLW = items.lookup().vectors(long_BL)
    vectors_BLW[0, 0] = 1e6  # whatever stands at padding
    items.encode(long, vectors_BLW, held_BL)
    for alone_BLD, padded_BLD in zip(short.read, long.read, strict=True):
        torch.testing.assert_close(padded_BLD[:, [1, 3]], alone_BLD)


def test_rows_in_which_every_item_is_masked_give_no_nan() -> None:
    items = made()
    held_BL = torch.tensor([[False, True, True]])
    states_BW = items.encode(Mean(held_BL), items.lookup().vectors(torch.zeros(1, 3, dtype=torch.int64)), held_BL)
    torch.testing.assert_close(states_BW[0], torch.cat([items.to_id.out.bias, items.to_text.out.bias]))
    states_BW.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in items.parameters() if p.grad is not None)


def test_alignment_is_cross_entropy_with_the_views_own_similarities_both_ways() -> None:
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(6, DIM, generator=generator).double() for _ in range(2))
    target = ((x @ x.T + y @ y.T) / 2).softmax(dim=1)
    loss = 0.0
    for i in range(6):
        by_row = -(target[i] * torch.log_softmax((x @ y.T)[i], dim=0)).sum()
        by_column = -(target[:, i] * torch.log_softmax((x @ y.T)[:, i], dim=0)).sum()
        loss += (by_row + by_column).item() / 2 / 6
    assert alignment(x, y).item() == pytest.approx(loss, rel=1e-9)


def batch() -> Batch:
    return Batch(torch.tensor([[0, 3, 4], [5, 3, 6]]), torch.tensor([7, 8]), torch.tensor([0, 3]))


def test_the_alignment_penalty_is_over_the_distinct_items_of_the_histories() -> None:
    items = made(alignment=0.7)
    id_ND, text_ND = items.rows()[[3, 4, 5, 6]].chunk(2, dim=1)
    penalty = items.penalty(batch(), items.lookup(), lambda history_BL: None)  # type: ignore[arg-type,return-value]
    assert penalty.item() == pytest.approx(0.7 * alignment(text_ND, id_ND).item(), rel=1e-6)
    assert made(alignment=0).penalty(batch(), items.lookup(), lambda history_BL: None) is None  # type: ignore[arg-type,return-value]


def test_distillation_pulls_a_user_to_the_mean_state_of_similar_ones_and_never_those_to_her() -> None:
    items = made(alignment=0, distillation=0.5)
    own, theirs = (nn.Parameter(torch.randn(ITEMS + 1, 2 * DIM)) for _ in range(2))

    def encode(history_BL: Tensor) -> Tensor:
        """States from a table of their own for the similar users, so that its gradient tells."""
        return (own if len(history_BL) == 2 else theirs)[history_BL].mean(dim=1)

    penalty = items.penalty(batch(), items.lookup(), encode)
    with torch.no_grad():
        mean_BW = torch.stack(
            [
                torch.stack([theirs[items.history_UL[user]].mean(dim=0) for user in users]).mean(dim=0)
                for users in ([1, 2], [4, 0])
            ]
        )
        expected = 0.5 * ((own[batch().history_BL].mean(dim=1) - mean_BW) ** 2).mean()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)
    penalty.backward()
    assert theirs.grad is None
    assert own.grad[3:7].any()


def test_a_training_step_with_distillation_can_read_every_item() -> None:
    needed_N = torch.tensor([1, 2])
    for distillation, known in ((0.5, True), (0.0, False)):
        items = made(distillation=distillation)
        items.train()
        vector_W = items.lookup(needed_N).vectors(torch.tensor([9]))[0]
        assert torch.equal(vector_W, items.rows()[9]) is known


def test_similar_users_are_those_of_the_largest_cosine_of_mean_text_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.spectran.adapters.llm_esr._USERS_AT_ONCE", 7)
    random = np.random.default_rng(0)
    history_UL = random.integers(0, ITEMS + 1, (40, 5))
    history_UL[:, -1] = random.integers(1, ITEMS + 1, 40)
    similar_UN = most_similar(text(), history_UL, 3)
    for user in range(40):
        means = [text()[row[row != 0]].mean(axis=0) for row in history_UL]
        cosines = [m @ means[user] / np.linalg.norm(m) / np.linalg.norm(means[user]) for m in means]
        cosines[user] = -2
        assert similar_UN[user].tolist() == np.argsort(cosines)[::-1][:3].tolist()


def test_fewer_users_than_asked_for_are_all_similar() -> None:
    history_UL = np.array([[1, 2], [0, 3], [4, 5]])
    assert sorted(most_similar(text(), history_UL, 10)[0].tolist()) == [1, 2]
    assert most_similar(text(), history_UL[:1], 10).shape == (1, 0)
