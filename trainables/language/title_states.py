"""The item vectors of Lite-LLM4Rec: each title's last state in the frozen language model, as one stage."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables.data.config import Data
from trainables.language.llm import stands_for
from trainables.language.llm_config import LLM
from trainables.language.masks import Spans, masks
from trainables.language.prompt_config import PromptConfig
from trainables.storage.stages import Arrays, stage
from trainables.trial import Trial

BATCH = 256


@stage(version=1)
def title_states(pieces: Mapping[str, np.ndarray], llm: Any, max_title_tokens: int, base: nn.Module) -> Arrays:
    """Stage: `states`, float32 (I, H), centred, of unit length on average; zeros for padding, item 0.

    Args:
        pieces: of prompts; see :func:`trainables.language.prompts.tokenised`.
        llm: what stands for ``base``.
        max_title_tokens: first tokens of a title that are read.
        base: the language model, frozen, with one mask per layer.
    """
    tokens, ends = np.array(pieces["tokens"]), np.array(pieces["ends"])
    titles = [tokens[begin : min(end, begin + max_title_tokens)] for begin, end in itertools.pairwise(ends)]
    batches = [_last_states(base, titles[start : start + BATCH]) for start in range(0, len(titles), BATCH)]
    states_IH = np.concatenate(batches)
    states_IH -= states_IH.mean(axis=0)
    states_IH /= max(float(np.linalg.norm(states_IH, axis=1).mean()), 1e-12)
    return {"states": np.concatenate([np.zeros_like(states_IH[:1]), states_IH])}


def states_of(
    llm: LLM, data: Data, prompt: PromptConfig, trial: Trial, pieces: Mapping[str, np.ndarray], base: nn.Module
) -> torch.Tensor:
    """The item vectors (I, H) of the language model ``base``, made here or by another trial."""
    inputs = {"pieces": pieces, "llm": stands_for(llm, data, prompt, trial)}
    result = trial.stages.get(
        title_states,
        {**inputs, "max_title_tokens": prompt.max_title_tokens},
        context={"base": base},
        notify=trial.status,
    )
    return torch.from_numpy(np.array(result["states"]))


@torch.no_grad()
def _last_states(base: nn.Module, titles: list[np.ndarray]) -> np.ndarray:
    """The last token's states (N, H) of ``titles``, left-padded."""
    length = max(map(len, titles))
    token_BT, real_BT = np.zeros((len(titles), length), np.int64), np.zeros((len(titles), length), bool)
    for row, title in enumerate(titles):
        token_BT[row, length - len(title) :], real_BT[row, length - len(title) :] = title, True
    device = next(base.parameters()).device
    token, real = torch.from_numpy(token_BT).to(device), torch.from_numpy(real_BT).to(device)
    mask = masks(Spans(torch.zeros_like(token), torch.zeros_like(real), real), ["or"])["or"]
    layers: int = base.config.num_hidden_layers  # type: ignore[union-attr,assignment]
    output = base(
        input_ids=token,
        position_ids=(real.cumsum(dim=1) - 1).clamp(min=0),
        use_cache=False,
        layer_masks=[mask] * layers,
    )
    states: np.ndarray = output.last_hidden_state[:, -1].float().cpu().numpy()
    return states
