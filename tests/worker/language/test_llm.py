"""Language models: made here or loaded, kept between trials, adapted for one."""

import json
import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.servers import free_port
from tests.worker.hatllm_models import model_config, random_model
from trainables.config import build
from trainables.hatllm.config import Config
from trainables.language import llm, pretrained
from trainables.language.llm import adapted, borrowed, first_layers, pieces
from trainables.language.llm_config import Lora
from trainables.language.pretrained import SourceError
from trainables.language.title_states import states_of
from trainables.trial import LocalTrial

TINY = {"llm.num_layers": 2, "llm.width": 16, "llm.heads": 2, "llm.pretrain_steps": 2, "llm.vocabulary": 400}


@pytest.fixture(autouse=True)
def nothing_kept():
    llm._kept.clear()
    yield
    llm._kept.clear()


def language(config: Config) -> tuple[Any, Any, Any]:
    """The settings that a language model depends on."""
    return config.llm, config.data, config.prompt


def trial_of(folder, stages):
    return LocalTrial(folder, stages=stages)


def saved(folder, family="qwen3", layers=3):
    """A model as `save_pretrained` leaves it, with a fast tokenizer."""
    from trainables.language.tiny import trained_tokenizer

    random_model(family, layers).save_pretrained(folder)
    trained_tokenizer(["green tea"] * 3, 300).save(str(folder / "tokenizer.json"))
    return {"llm.name": "pretrained", "llm.path": str(folder), "llm.num_layers": layers, "llm.dtype": "float32"}


def test_a_tiny_model_is_made_once_and_kept_by_the_process(tmp_path, stages):
    config = build(Config, TINY)
    with borrowed(*language(config), trial_of(tmp_path / "1", stages)) as first:
        assert (first.config.num_hidden_layers, first.config.hidden_size) == (2, 16)
        assert not any(parameter.requires_grad for parameter in first.parameters())
    with borrowed(*language(config), trial_of(tmp_path / "2", stages)) as second:
        assert second is first
    other = build(Config, {**TINY, "llm.made_with": 1})
    with borrowed(*language(other), trial_of(tmp_path / "3", stages)) as third:
        assert third is not first
        assert not third.embed_tokens.weight.equal(first.get_parameter("embed_tokens.weight"))
    assert len(llm._kept) == 1


def test_the_tiny_models_weights_are_those_of_its_stage(tmp_path, stages):
    config, trial = build(Config, TINY), trial_of(tmp_path, stages)
    result = llm.tiny_stage(*language(config), trial)
    with borrowed(*language(config), trial) as model:
        for name, tensor in model.state_dict().items():
            assert tensor.equal(torch.from_numpy(result[name].copy()))


def test_a_trial_leaves_the_base_as_it_was_whatever_its_end(tmp_path, stages):
    config, trial = build(Config, TINY), trial_of(tmp_path, stages)
    with borrowed(*language(config), trial) as base:
        before = {name: tensor.clone() for name, tensor in base.state_dict().items()}

    def fail():
        with borrowed(*language(config), trial) as base:
            made = adapted(base, config.lora, seed=0)
            made.train()
            next(p for p in made.parameters() if p.requires_grad).data.add_(1)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    with borrowed(*language(config), trial) as base:
        assert list(base.state_dict()) == list(before)
        assert all(tensor.equal(before[name]) for name, tensor in base.state_dict().items())
        assert not base.training
        assert not hasattr(base, "peft_config")
        adapted(base, config.lora, seed=0)  # and takes new adapters


def test_a_base_that_comes_back_in_another_format_is_not_kept(tmp_path, stages):
    config, trial = build(Config, TINY), trial_of(tmp_path, stages)
    with borrowed(*language(config), trial) as base:
        base.to(torch.bfloat16)
    with borrowed(*language(config), trial) as again:
        assert again.embed_tokens.weight.dtype == torch.float32


@pytest.mark.parametrize("targets", ["query_value", "attention", "mlp", "all"])
def test_adapters_are_all_that_is_trained_and_change_nothing_at_first(targets):
    model, tokens = random_model(layers=2), torch.arange(12).view(2, 6)
    before = model(input_ids=tokens).last_hidden_state
    made = adapted(model, Lora(targets=targets, rank=4), seed=0)
    trained = {name: p for name, p in made.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained)
    assert len(trained) == 2 * 2 * len(llm.TARGETS[targets])
    assert {min(p.shape) for p in trained.values()} == {4}
    torch.testing.assert_close(made(input_ids=tokens).last_hidden_state, before)


def test_adapters_depend_on_the_seed_alone():
    draws: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(draws))
        made = adapted(random_model(layers=1), Lora(), seed=seed)
        draws.append(torch.cat([p.flatten() for p in made.parameters() if p.requires_grad]))
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])
    assert draws[0].abs().max() > 0.1


def test_the_first_layers_share_their_weights_and_leave_the_model_whole():
    model, tokens = random_model(layers=3), torch.arange(6)[None]
    whole = model(input_ids=tokens, output_hidden_states=True)
    short = first_layers(model, 2)
    found = short(input_ids=tokens).last_hidden_state
    torch.testing.assert_close(found, model.norm(whole.hidden_states[2]))
    assert short.layers[1] is model.layers[1]
    assert model.config.num_hidden_layers == len(model.layers) == 3
    torch.testing.assert_close(model(input_ids=tokens).last_hidden_state, whole.last_hidden_state)


def test_a_model_is_loaded_from_a_folder(tmp_path, stages):
    config = build(Config, saved(tmp_path / "model"))
    with borrowed(*language(config), trial_of(tmp_path, stages)) as model:
        assert model.config.model_type == "qwen3"
        assert model.embed_tokens.weight.equal(random_model("qwen3", 3).embed_tokens.weight)


def test_other_weights_in_the_same_folder_are_another_model(tmp_path, stages):
    config, trial = build(Config, saved(tmp_path / "model")), trial_of(tmp_path, stages)
    found = []
    for add in (0.0, None, 1.0):
        if add is not None:
            model = random_model("qwen3", 3)
            model.resize_token_embeddings(300, mean_resizing=False)  # the tokenizer's
            model.embed_tokens.weight.data.add_(add)
            model.save_pretrained(tmp_path / "model")
        with borrowed(*language(config), trial) as model:
            states = states_of(*language(config), trial, pieces(*language(config), trial), model)
            found.append((llm.stands_for(*language(config), trial), model.embed_tokens.weight.detach().clone(), states))
    first, same, other = found
    assert first[0] == same[0] != other[0]
    assert {told["path"] for told, _, _ in found} == {str(tmp_path / "model")}
    assert other[1].equal(first[1] + 1)
    assert first[2].equal(same[2])
    assert not first[2].equal(other[2])


def test_a_model_of_another_depth_than_the_config_says_is_refused(tmp_path, stages):
    config = build(Config, {**saved(tmp_path / "model"), "llm.num_layers": 28})
    problem = f"got 28 and {tmp_path / 'model'} has 3; write llm.num_layers: 3"
    from trainables.hatllm.config import check

    assert [line for line in check(config) if problem in line]
    with (
        pytest.raises(SourceError, match=r"llm.num_layers: must be the number of the model's layers"),
        borrowed(*language(config), trial_of(tmp_path, stages)),
    ):
        pass


def test_titles_are_tokenised_by_the_models_own_tokenizer(tmp_path, stages):
    config = build(Config, saved(tmp_path / "model"))
    found = pieces(*language(config), trial_of(tmp_path, stages))
    assert found["header"][0] == 0  # its first token
    tiny = pieces(*language(build(Config, TINY)), trial_of(tmp_path, stages))
    assert len(found["tokens"]) > len(tiny["tokens"]) > len(tiny["ends"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no/such/model", r"must be a folder or a name on the hub, but '/no/such/model' is no folder here"),
        ("./models/x", r"but './models/x' is no folder here; correct the path"),
        ("no-such-owner/no-such-model", r"config.json of 'no-such-owner/no-such-model' can not be had \("),
    ],
)
def test_a_model_that_can_not_be_had_is_said_before_anything_starts(path, message, monkeypatch):
    from trainables.hatllm.config import check

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = build(Config, {"llm.name": "pretrained", "llm.path": path, "llm.num_layers": 4})
    [problem] = check(config)
    assert problem.startswith("llm.path: ")
    with pytest.raises(SourceError, match=message):
        raise SourceError(problem)


def test_a_hub_that_does_not_give_a_file_is_asked_for_it_once_in_a_while(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    turns = iter([100.0, 110.0, 200.0])
    monkeypatch.setattr(pretrained, "time", SimpleNamespace(monotonic=lambda: next(turns)))
    before = pretrained._from_hub.cache_info().misses
    said = [pretrained.problem("owner/lacks-it", 4) for _ in range(3)]
    assert said[0] is not None
    assert "config.json of 'owner/lacks-it' can not be had (" in said[0]
    assert said == [said[0]] * 3
    assert pretrained._from_hub.cache_info().misses == before + 2


def test_a_model_without_supported_attention_or_files_is_said_before_anything_starts(tmp_path):
    from trainables.hatllm.config import check

    values = {"llm.name": "pretrained", "llm.path": str(tmp_path), "llm.num_layers": 4}
    config = build(Config, values)
    [problem] = check(config)
    assert problem.startswith(f"llm.path: a model's folder must hold config.json, but {tmp_path} has none")
    (tmp_path / "config.json").write_text("{")
    [problem] = check(config)
    assert problem.startswith("llm.path: config.json must be JSON")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba", "num_hidden_layers": 4}))
    [problem] = check(config)
    assert "must hold tokenizer.json" in problem
    (tmp_path / "tokenizer.json").write_text("{}")
    [problem] = check(config)
    assert problem == (
        "llm.path: must name a model of type llama, qwen2, qwen3, whose layers take a mask each, but got 'mamba'; "
        "choose another model"
    )
    told = {**model_config("qwen2", 4).to_dict(), "layer_types": ["full_attention", "sliding_attention"] * 2}
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert "every layer must have full attention, but got sliding_attention" in check(config)[0]


def test_pretraining_lowers_the_loss_on_titles(tmp_path):
    import numpy as np

    from trainables.data import synthetic
    from trainables.language import tiny

    titles = synthetic.titles(synthetic.SEED)
    tokenizer = tiny.trained_tokenizer(titles, 600)
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny.tiny_config(tokenizer.get_vocab_size(), 2, 16, 2))
    examples = tiny.blocks(titles, "### Input: ", tokenizer, np.random.default_rng(0))
    held_out = next(examples)

    def loss():
        with torch.no_grad():
            return float(model(input_ids=held_out, labels=held_out).loss)

    before = loss()
    tiny.pretrain(model, examples, 25)
    assert loss() < before - 0.3


def test_nothing_in_a_models_folder_is_run(tmp_path, stages):
    values, planted = saved(tmp_path / "model"), tmp_path / "planted"
    told = json.loads((tmp_path / "model" / "config.json").read_text())
    named = {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}, "architectures": ["Model"]}
    (tmp_path / "model" / "config.json").write_text(json.dumps({**told, **named}))
    (tmp_path / "model" / "own.py").write_text(f"import os; os.mkdir({str(planted)!r})")
    with borrowed(*language(build(Config, values)), trial_of(tmp_path, stages)) as model:
        assert type(model).__module__.startswith("transformers.models.qwen3")

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(planted),)

    llm._kept.clear()
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"weight": Malicious()}, tmp_path / "model" / "pytorch_model.bin")
    with (
        pytest.raises(Exception, match=r"must hold its weights as model\.safetensors"),
        borrowed(*language(build(Config, values)), trial_of(tmp_path, stages)),
    ):
        pass
    assert not planted.exists()


def test_a_hub_that_takes_no_connection_is_said_at_once_and_asked_once(monkeypatch):
    """Its own client tries for half a minute for each file."""
    pretrained._from_hub.cache_clear()
    pretrained._hub_problem.cache_clear()
    port = free_port()  # where nobody listens
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    for name in ("some/model", "some/other"):
        with pytest.raises(SourceError, match=f"for '{name}' http://127.0.0.1:{port} does not answer .*; connect this"):
            pretrained.model_file(name, pretrained.CONFIG)
    assert pretrained._hub_problem.cache_info().misses == 1
    pretrained._from_hub.cache_clear()
    pretrained._hub_problem.cache_clear()
