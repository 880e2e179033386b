"""From prompts to losses and scores."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.worker.hatllm_models import prompt_of, random_model
from trainables.hatllm.head import LinearHead
from trainables.hatllm.reader import LastToken, ThroughBackbone
from trainables.hatllm.recommender import Recommender
from trainables.language.attention import use_layered
from trainables.language.llm import adapted
from trainables.language.llm_config import Lora
from trainables.language.masks import Spans
from trainables.language.prompts import Prompt

PROMPT = prompt_of([(3, 0), (5, 1), (6, 1), (7, 0), (8, 2), (9, 0)], [(3, 0), (8, 1), (9, 0)], [(3, 0), (6, 1), (9, 0)])
TARGET = torch.tensor([1, 4, 6])


def recommender(reader=None, inputs=None, plan=("in", "cr")):
    model = random_model(layers=2)
    use_layered(model)
    reader = reader or LastToken(32)
    head = LinearHead(7, reader.width, chunk=2, generator=torch.Generator().manual_seed(0))
    return Recommender(adapted(model, Lora(), seed=0), plan=plan, reader=reader, head=head, inputs=inputs)


def test_the_loss_is_the_cross_entropy_of_the_scores():
    model = recommender().eval()
    expected = functional.cross_entropy(model(PROMPT)[:, 1:], TARGET - 1)
    torch.testing.assert_close(model(PROMPT, TARGET), expected)
    assert model(PROMPT).shape == (3, 7)


@pytest.mark.parametrize("backbone", [False, True])
def test_it_learns_what_it_is_shown(backbone):
    reader = through_sasrec() if backbone else None
    model = recommender(reader).eval()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.03)
    before = model(PROMPT, TARGET).item()
    for _ in range(30):
        optimiser.zero_grad()
        loss = model(PROMPT, TARGET)
        loss.backward()
        optimiser.step()
    assert loss < 0.2 < 1.5 < before
    assert model(PROMPT).argmax(dim=1).equal(TARGET)


def test_under_autocast_the_head_counts_in_full_precision():
    model = recommender().eval()
    expected = model(PROMPT, TARGET)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(PROMPT, TARGET)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.3, rtol=0.1)


def test_slots_are_filled_with_the_items_vectors():
    table = nn.Embedding(7, 32)
    slot_BT = torch.tensor([[0, 0, 5, 0, 2, 0], [0, 0, 0, 0, 3, 0], [0, 0, 0, 0, 3, 0]])
    prompt = Prompt(PROMPT.token_BT, PROMPT.spans, slot_BT)
    model = recommender(inputs=table).eval()
    read = model._read(prompt)["inputs_embeds"]
    embedded = model.llm.get_input_embeddings()(PROMPT.token_BT)
    for row, place, item in ((0, 2, 5), (0, 4, 2), (1, 4, 3), (2, 4, 3)):
        assert read[row, place].equal(table.weight[item])
    assert read[slot_BT == 0].equal(embedded[slot_BT == 0])
    scores = model(prompt)
    torch.testing.assert_close(scores[1], scores[2])  # now they read alike
    assert not torch.allclose(model(PROMPT)[1], model(PROMPT)[2])
    scores.sum().backward()
    assert table.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [2, 3, 5]


class Recorded(nn.Module):
    """A backbone that remembers what it reads and gives its last vector."""

    def last(self, vectors_BLD, mask_BL):
        self.vectors_BLD, self.mask_BL = vectors_BLD, mask_BL
        return vectors_BLD[:, -1]


def test_the_backbone_reads_each_items_last_state_in_order_padded_on_the_left():
    reader = ThroughBackbone(Recorded(), states=2, width=3, max_history=4, generator=torch.Generator().manual_seed(0))
    state_BTH = torch.arange(3 * 6 * 2.0).view(3, 6, 2)
    reader(state_BTH, PROMPT)
    spans: Spans = PROMPT.spans
    assert reader.backbone.mask_BL.tolist() == [[False, False, True, True], *[[False, False, False, True]] * 2]
    expected = reader.project(state_BTH)
    last = spans.last_BT[0].nonzero().flatten()
    torch.testing.assert_close(reader.backbone.vectors_BLD[0, 2:], expected[0, last])
    assert reader.backbone.vectors_BLD[0, :2].abs().sum() == 0
    torch.testing.assert_close(reader.backbone.vectors_BLD[1, 3], expected[1, 4])


def through_sasrec():
    from trainables.backbones.config import SASRec
    from trainables.backbones.make import make_backbone

    generator = torch.Generator().manual_seed(0)
    backbone, _ = make_backbone(SASRec(), dim=16, max_history=4, dropout=0.0, generator=generator)
    return ThroughBackbone(backbone, states=32, width=16, max_history=4, generator=generator)
