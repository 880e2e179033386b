"""The language model of a worker: loaded once, kept between trials, adapted by LoRA for one trial at a time."""

import copy
import gc
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables.data.config import Data
from trainables.data.sequences import catalogue
from trainables.exceptions import first_line
from trainables.language import pretrained
from trainables.language.attention import use_layered
from trainables.language.llm_config import LLM, Lora, Tiny
from trainables.language.prompt_config import PromptConfig
from trainables.seqrec.randomness import seed_for
from trainables.storage import cache
from trainables.storage.stages import File, StageResult
from trainables.trial import Trial

TARGETS = {
    "query_value": ["q_proj", "v_proj"],
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "mlp": ["gate_proj", "up_proj", "down_proj"],
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
"""Linear layers that get an adapter, by the setting `lora.targets`."""

_kept: dict[tuple[str, ...], nn.Module] = {}
"""The one base model that this process keeps between trials, on the CPU, by what it was loaded from."""


def tiny_stage(llm: Tiny, data: Data, prompt: PromptConfig, trial: Trial) -> StageResult:
    """The stage of the tiny model, made here or by another trial."""
    from trainables.language.tiny import tiny_llm

    inputs = {
        "titles": catalogue(data, trial.stages),
        **{name: value for name, value in vars(llm).items() if name != "name"},
        "noun": prompt.noun,
        "verb": prompt.verb,
    }
    return trial.stages.get(tiny_llm, inputs, notify=trial.status)


def stands_for(llm: LLM, data: Data, prompt: PromptConfig, trial: Trial) -> StageResult | dict[str, str | None]:
    """The language model in the key of a stage: the tiny one's stage, or path, number format and weights.

    Raises:
        StoreError: the bucket that it lies in does not give it.
    """
    if isinstance(llm, Tiny):
        return tiny_stage(llm, data, prompt, trial)
    return {"path": llm.path, "dtype": llm.dtype, "weights": cache.content(llm.path)}


def pieces(llm: LLM, data: Data, prompt: PromptConfig, trial: Trial) -> StageResult:
    """The pieces of prompts of a data set, tokenised once for all trials.

    Raises:
        SourceError: the tokenizer can not be had.
        DataError: a title gives no token.
    """
    from trainables.language.prompts import tokenised

    tokenizer: Any = (
        tiny_stage(llm, data, prompt, trial)
        if isinstance(llm, Tiny)
        else File(pretrained.model_file(llm.path, pretrained.TOKENIZER))
    )
    titles = catalogue(data, trial.stages)
    inputs = {"titles": titles, "tokenizer": tokenizer, "noun": prompt.noun, "verb": prompt.verb}
    return trial.stages.get(tokenised, inputs, notify=trial.status)


@contextmanager
def borrowed(llm: LLM, data: Data, prompt: PromptConfig, trial: Trial) -> Iterator[nn.Module]:
    """The base model on the trial's device, frozen, in evaluation mode; given back to the process at the end.

    Adapters that the trial put into it are taken out again. A model that came back with other weights' shapes or types
    (ZeRO 3 takes them apart, an engine may convert them) is not kept.

    Raises:
        SourceError: the model can not be had.
        ValueError: its layers are not ``llm.num_layers`` of full attention.
    """
    if isinstance(llm, Tiny):
        result = tiny_stage(llm, data, prompt, trial)
        model = _warm((str(result.folder),), lambda: _from_stage(llm, result))
    else:
        model = _warm((llm.path, llm.dtype, cache.content(llm.path) or ""), lambda: _from_path(llm))
    shapes = _shapes(model)
    try:
        yield model.to(trial.device)
    finally:
        _take_adapters_out(model)
        model.to("cpu")
        if _shapes(model) != shapes:
            _kept.clear()
        model.requires_grad_(False)
        model.eval()


def adapted(model: nn.Module, lora: Lora, *, seed: int) -> nn.Module:
    """``model`` with fresh LoRA adapters (peft), all of it that is trained; its output is as before at first.

    Args:
        model: a base model; its linear layers are wrapped in place until the trial ends.
        lora: rank, scale, dropout, targets.
        seed: of the adapters' first factors, drawn on the CPU so that every device has the same.
    """
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a scale, whole or not
        lora_dropout=lora.dropout,
        target_modules=TARGETS[lora.targets],
    )
    with warnings.catch_warnings():  # peft asks transformers by an old name
        warnings.filterwarnings("ignore", category=FutureWarning)
        wrapped: nn.Module = get_peft_model(model, settings)
    generator = torch.Generator().manual_seed(seed_for(seed, "lora"))
    for name, weight in wrapped.named_parameters():
        if "lora_A" in name:  # peft's own draw (Kaiming, a = sqrt 5), from our generator
            bound = weight.shape[1] ** -0.5
            with torch.no_grad():
                weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
    return wrapped


def first_layers(model: nn.Module, layers: int) -> nn.Module:
    """The same model, its weights shared, with only its first ``layers`` layers."""
    short = copy.copy(model)
    short._modules = {**model._modules, "layers": model.layers[:layers]}  # type: ignore[index,dict-item]
    short.config = copy.copy(model.config)
    short.config.num_hidden_layers = layers  # type: ignore[union-attr]
    return short


def _warm(key: tuple[str, ...], load: Callable[[], nn.Module]) -> nn.Module:
    if key not in _kept:
        _kept.clear()
        gc.collect()
        model = load()
        use_layered(model)
        _record_once(model)
        model.requires_grad_(False)
        _kept[key] = model.eval()
    return _kept[key]


def _record_once(model: nn.Module) -> None:
    """Hang in now what records the layers' states: where a copy without this mark does, on layers that the copies
    share, the next copy does so again, and each state is recorded twice."""
    from transformers.utils.output_capturing import maybe_install_capturing_hooks

    maybe_install_capturing_hooks(model)  # type: ignore[arg-type]


def _from_stage(llm: Tiny, result: StageResult) -> nn.Module:
    from transformers import LlamaModel

    from trainables.language.tiny import tiny_config

    vocabulary = len(result["embed_tokens.weight"])
    model: nn.Module = LlamaModel(tiny_config(vocabulary, llm.num_layers, llm.width, llm.heads))
    model.load_state_dict({name: torch.from_numpy(np.array(result[name])) for name in model.state_dict()})
    return model


def _from_path(llm: Any) -> nn.Module:
    from transformers import AutoModel

    problem = pretrained.problem(llm.path, llm.num_layers)
    if problem:
        raise pretrained.SourceError(problem)
    try:
        model, told = AutoModel.from_pretrained(
            str(cache.fetch(llm.path)),
            dtype=getattr(torch, llm.dtype),
            attn_implementation="sdpa",
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises many kinds; what it was caused by stays its cause
        raise pretrained.SourceError(
            f"llm.path: must be a model that transformers loads, but {llm.path} is not ({first_line(error)}); save or "
            "download the model again"
        ) from error
    if missing := sorted(told["missing_keys"]):  # transformers makes them up
        raise pretrained.SourceError(
            f"llm.path: must hold all weights of the model, but {llm.path} lacks {missing[0]} ({len(missing)} in all); "
            "save or download the model again"
        )
    return typing.cast(nn.Module, model)


def _shapes(model: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in model.named_parameters()}


def _take_adapters_out(model: nn.Module) -> None:
    """Put the linear layers back that peft wrapped."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
