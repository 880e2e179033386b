"""A mask a layer, on unchanged Llama and Qwen models."""

import pytest
import torch

from tests.worker.hatllm_models import prompt_of, random_model
from trainables.hatllm.head import LinearHead
from trainables.hatllm.plan import layer_plan, unmasked
from trainables.hatllm.reader import LastToken
from trainables.hatllm.recommender import Recommender
from trainables.language.attention import use_layered
from trainables.language.masks import Kind, masks

FAMILIES = ["llama", "qwen2", "qwen3"]
ROW = [(3, 0), (4, 0), (5, 1), (6, 1), (7, 0), (8, 2), (9, 2), (10, 2), (11, 0), (12, 3), (13, 3), (14, 0), (15, 0)]
A, B, C = slice(2, 4), slice(5, 8), slice(9, 11)


def recommender(family="llama", layers=4, plan=None):
    model = random_model(family, layers)
    use_layered(model)
    head = LinearHead(7, 32, generator=torch.Generator().manual_seed(0))
    return Recommender(model, plan=plan or unmasked(layers), reader=LastToken(32), head=head).eval()


def states(model, *rows, length=None):
    with torch.inference_mode():
        return model.states(prompt_of(*rows, length=length))


def changed(row, at, token=40):
    return [*row[:at], (token, row[at][1]), *row[at + 1 :]]


@pytest.mark.parametrize("family", FAMILIES)
def test_with_every_layer_original_the_states_are_those_of_the_untouched_model(family):
    untouched = random_model(family)
    prompt = prompt_of(ROW, ROW[4:])
    with torch.inference_mode():
        expected = untouched(
            input_ids=prompt.token_BT,
            attention_mask=prompt.spans.real_BT.long(),
            position_ids=(prompt.spans.real_BT.cumsum(1) - 1).clamp(min=0),
        ).last_hidden_state
    found = states(recommender(family), ROW, ROW[4:])
    real = prompt.spans.real_BT
    assert (found - expected)[real].abs().max() < 1e-5
    assert expected[real].abs().max() > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_gets_its_own_mask(family):
    """Against PyTorch's softmax under the mask of that layer, through the weights that an observer sees."""
    plan: tuple[Kind, ...] = ("in", "or", "cr", "cr_pre")
    model, prompt = recommender(family, plan=plan), prompt_of(ROW)
    seen: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        model.states(prompt, observe=lambda layer, weight: seen.__setitem__(layer, weight))
    made = masks(prompt.spans, plan)
    for layer, kind in enumerate(plan):
        closed = ~made[kind].expand_as(seen[layer])
        assert seen[layer][closed].abs().max() == 0
        assert seen[layer][~closed].min() > 0
        torch.testing.assert_close(seen[layer].sum(-1), torch.ones_like(seen[layer].sum(-1)))


@pytest.mark.parametrize("family", FAMILIES)
def test_watching_changes_nothing_and_tells_what_the_kernel_used(family):
    from transformers.models.llama.modeling_llama import repeat_kv

    model, prompt, seen = recommender(family, layers=1, plan=("cr",)), prompt_of(ROW), []
    attention = model.llm.layers[0].self_attn
    values = []
    attention.v_proj.register_forward_hook(lambda module, inputs, output: values.append(output))
    outputs = []
    attention.o_proj.register_forward_hook(lambda module, inputs, output: outputs.append(inputs[0]))
    with torch.inference_mode():
        watched = model.states(prompt, observe=lambda layer, weight: seen.append(weight))
        assert watched.equal(model.states(prompt))
    value = repeat_kv(values[0].view(1, len(ROW), 2, 8).transpose(1, 2), 2)
    expected = (seen[0] @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(outputs[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_below_the_first_original_layer_an_item_is_changed_by_no_other(family):
    model = recommender(family, plan=("in",) * 4)
    before, after = states(model, ROW), states(model, changed(ROW, 3))
    moved = (before - after).abs().amax(dim=-1)[0]
    assert moved[A].max() > 1e-3
    assert moved[4] > 1e-3  # a separator reads item A
    # what of A reaches B and C came through the separator, which is of no item: with separators closed, nothing does
    lonely = [(token, item) for token, item in ROW if item or token in (3, 4)]
    before, after = states(model, lonely), states(model, changed(lonely, 3))
    moved = (before - after).abs().amax(dim=-1)[0]
    assert moved[2:4].max() > 1e-3
    assert moved[4:].max() == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_through_tokens_of_no_item_it_takes_two_layers(family):
    model = recommender(family, layers=1, plan=("in",))
    before, after = states(model, ROW), states(model, changed(ROW, 3))
    moved = (before - after).abs().amax(dim=-1)[0]
    assert moved[B].max() == 0
    assert moved[C].max() == 0
    assert moved[-1] > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_from_the_first_original_layer_on_an_item_is_changed_by_others(family):
    lonely = [(token, item) for token, item in ROW if item or token in (3, 4)]
    model = recommender(family, plan=layer_plan(4, shallow=3, deep=0))
    before, after = states(model, lonely), states(model, changed(lonely, 3))
    assert (before - after).abs().amax(dim=-1)[0, 4:].min() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_cross_items_only_by_last_tokens_in_a_cross_item_layer(family):
    lonely = [(token, item) for token, item in ROW if item]
    model = recommender(family, layers=1, plan=("cr",))
    prompt = prompt_of(lonely)
    embedding = model.llm.embed_tokens(prompt.token_BT).detach().requires_grad_()
    made = masks(prompt.spans, ("cr",))
    found = model.llm(inputs_embeds=embedding, use_cache=False, layer_masks=[made["cr"]]).last_hidden_state
    last_of_c = found[0, -1].sum()
    (gradient,) = torch.autograd.grad(last_of_c, embedding)
    reached = (gradient[0].abs().amax(dim=-1) > 0).tolist()
    assert reached == [False, True, False, False, True, False, True]  # the last tokens of A, B and C


@pytest.mark.parametrize("plan", [("or",) * 4, ("in", "or", "cr", "cr_pre")])
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_left_changes_nothing(family, plan):
    model = recommender(family, plan=plan)
    alone, padded = states(model, ROW), states(model, ROW, length=len(ROW) + 5)
    torch.testing.assert_close(padded[:, 5:], alone, atol=1e-5, rtol=1e-4)
    assert padded.isfinite().all()


def test_a_model_of_another_family_is_refused():
    from transformers import AutoModel, GPT2Config, Qwen2Config

    model = AutoModel.from_config(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(ValueError, match=r"type llama, qwen2, qwen3, whose layers take a mask each, but got 'gpt2'"):
        use_layered(model)
    windows = Qwen2Config(
        vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, use_sliding_window=True, sliding_window=4, max_window_layers=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="every layer must have full attention, but got sliding_attention"):
        use_layered(AutoModel.from_config(windows))
