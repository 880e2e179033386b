"""The methods that HatLLM is compared with, on its loop."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from tests.worker.hatllm.test_run import metrics_of
from tests.worker.small import SMALL_HATLLM
from trainables.config import build
from trainables.data.batches import batches
from trainables.data.sequences import load
from trainables.data.splits import split
from trainables.hatllm.compose import compose, title_vectors
from trainables.hatllm.config import Config, micro_batches
from trainables.hatllm.inputs import one_layer, two_layers
from trainables.hatllm.parts import Ingredients, prompts
from trainables.hatllm.run import run
from trainables.language.llm import borrowed, pieces
from trainables.trial import LocalTrial

METHODS = ["e4srec", "llara", "lite_llm4rec", "slmrec"]


def trial_of(folder, stages, **values):
    if values["method__name"] == "slmrec":
        values = {"method__student_layers": 2, "method__blocks": 2, **values}
    small = {name: value for name, value in SMALL_HATLLM.items() if not name.startswith("method.")}
    config = build(Config, {**small, **{name.replace("__", "."): value for name, value in values.items()}})
    return config, LocalTrial(folder, seed=config.seed, stages=stages)


@pytest.fixture
def composed(tmp_path, stages):
    """Call with a method's name for its ingredients and what it is made of; the language model is given back after."""
    open_now = []

    def make(name, **values):
        config, trial = trial_of(tmp_path, stages, method__name=name, **values)
        sequences = load(config.data, trial.stages)
        language = config.llm, config.data, config.prompt
        context = borrowed(*language, trial)
        open_now.append(context)
        splits = split(sequences, config.data)
        ingredients = Ingredients(config, trial, sequences, splits, pieces(*language, trial), context.__enter__())
        return ingredients, compose(ingredients)

    yield make
    for context in open_now:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_of_it_trains_its_input_and_reports_the_test_split(tmp_path, stages, name):
    settings = {"method__name": name, "head__name": "linear", "diagnostics__rows": 4}
    lines = []
    for folder, seed in (("one", 0), ("other", 1)):
        config, trial = trial_of(tmp_path / folder, stages, seed=seed, **settings)
        run(config, trial)
        lines.append(metrics_of(trial))
        assert "test/hr_10" in trial.reports[-1][1]
        assert any("inputs.project." in name for name in trial.load()["engine"]["parameters"])
    assert lines[0] != lines[1]


@pytest.mark.parametrize("name", ["e4srec", "lite_llm4rec"])
def test_without_titles_a_prompt_holds_one_slot_an_item_and_its_vector_decides(composed, name):
    _, made = composed(name)
    prompt = made.prompts(torch.tensor([[0, 3, 5], [2, 3, 5]]))
    assert [row[row > 0].tolist() for row in prompt.slot_BT] == [[3, 5], [2, 3, 5]]
    assert torch.equal(prompt.slot_BT > 0, prompt.spans.item_BT > 0)
    model = made.model.eval()
    before = model(prompt)
    model.inputs.table_ID[3] += 1.0
    assert not torch.allclose(model(prompt), before)
    model.inputs.table_ID[4] += 1.0
    changed = model(prompt)
    model.inputs.table_ID[4] += 1.0
    assert torch.equal(model(prompt), changed)


def test_llara_has_titles_and_slots_and_the_vectors_come_in_by_and_by(composed):
    ingredients, made = composed("llara", fit__steps=40)
    prompt = made.prompts(torch.tensor([[0, 3, 5]]))
    assert int((prompt.slot_BT > 0).sum()) == 2
    assert int((prompt.spans.item_BT > 0).sum()) > 4
    alone = prompts(ingredients)(torch.tensor([[0, 3, 5]]))
    filled = []
    for step in range(1, 41):
        found = made.trained_on(step)(torch.tensor([[0, 3, 5]]))
        filled.append(found.slot_BT is not None)
        assert found.token_BT.equal(prompt.token_BT if filled[-1] else alone.token_BT)
    assert prompt.token_BT.shape[1] == alone.token_BT.shape[1] + 2
    assert filled == [made.trained_on(step) is made.prompts for step in range(1, 41)]
    assert sum(filled[:20]) < sum(filled[20:])
    assert filled[-1]


def test_llara_without_its_curriculum_has_them_in_every_step(composed):
    _, made = composed("llara", fit__steps=40, method__curriculum=False)
    assert made.trained_on is None


def test_lite_llm4recs_items_are_the_last_states_of_their_titles_in_the_frozen_model(composed):
    ingredients, _ = composed("bigrec")
    states_IH = title_vectors(ingredients)
    assert states_IH.shape == (ingredients.sequences.num_items, 16)
    assert torch.equal(states_IH[0], torch.zeros(16))
    assert float(states_IH[1:].mean(dim=0).abs().max()) < 1e-5
    assert float(states_IH.norm(dim=1)[1:].mean()) == pytest.approx(1, abs=1e-5)
    ends = np.array(ingredients.pieces["ends"])
    titles = [tuple(ingredients.pieces["tokens"][begin:end]) for begin, end in itertools.pairwise(ends)]
    assert len(set(titles)) > 3
    alone = {title: states_IH[item + 1] for item, title in enumerate(titles)}
    for item, title in enumerate(titles):
        torch.testing.assert_close(states_IH[item + 1], alone[title], atol=1e-4, rtol=1e-3)


def test_slmrec_trains_the_first_layers_alone_and_its_loss_draws_them_to_the_trained_teacher(composed):
    _, made = composed("slmrec")
    model = made.model.train()
    assert (len(model.student.plan), len(model.teacher.plan)) == (2, 3)
    assert not model.teacher.training
    assert all(name.startswith("student.") for name, weight in model.named_parameters() if weight.requires_grad)
    assert any(bool(w.abs().sum() > 0) for name, w in model.teacher.named_parameters() if "lora_B" in name)
    prompt, target = made.prompts(torch.tensor([[0, 3, 5], [2, 3, 5]])), torch.tensor([1, 2])
    model.eval()
    loss, student = model.student.with_blocks(prompt, target, 2)
    _, teacher = model.teacher.with_blocks(prompt, target, 2)
    torch.testing.assert_close(loss, model.student(prompt, target))
    turned = 1 - nn.functional.cosine_similarity(student, teacher, dim=-1).mean()
    apart = (student - teacher).norm(dim=-1).mean()
    torch.testing.assert_close(model(prompt, target), loss + 1.0 * turned + 0.1 * apart)
    torch.testing.assert_close(model(prompt), model.student(prompt))
    model.length = 1000.0
    optimiser = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=0.002)
    for _ in range(40):
        optimiser.zero_grad()
        model(prompt, target).backward()
        optimiser.step()
    _, moved = model.student.with_blocks(prompt, target, 2)
    assert (moved - teacher).norm() < 0.8 * (student - teacher).norm()


@pytest.mark.parametrize("name", ["hatllm", "bigrec", *METHODS])
def test_parts_of_a_batch_add_up_to_it(composed, name):
    masks = {"method__shallow_layers": 1, "method__deep_layers": 1} if name == "hatllm" else {}
    ingredients, made = composed(name, **masks)
    assert micro_batches(ingredients.config)
    model = made.model.eval()  # without dropout, whose draws fall otherwise
    found = []
    for size in (7, 4):
        total = 0.0
        for part in batches(ingredients.splits.train.take(np.arange(7)), size):
            loss = model(made.prompts(part.history_BL), part.target_B) * (len(part) / 7)
            loss.backward()
            total += loss.item()
        weights = [weight for weight in model.parameters() if weight.grad is not None]
        found.append((total, torch.cat([weight.grad.flatten() for weight in weights])))
        model.zero_grad()
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-6)
    assert (found[1][1] - found[0][1]).abs().max() < 1e-6


def test_a_table_is_projected_by_one_layer_or_two_and_is_not_trained():
    table = torch.randn(5, 4)
    one, two = (make(table, 8, torch.Generator().manual_seed(0)) for make in (one_layer, two_layers))
    item = torch.tensor([2, 4])
    assert torch.equal(one(item), nn.functional.linear(table[item], one.get_parameter("project.weight")))
    assert two(item).shape == (2, 8)
    assert [name for name, _ in one.named_parameters()] == ["project.weight", "project.bias"]
    assert "table_ID" not in two.state_dict()
