"""Parts that methods are made of: prompts, a masked language model, a head, the vectors of SASRec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables.data.sequences import Sequences
from trainables.data.splits import Splits
from trainables.hatllm import inputs
from trainables.hatllm.config import Config, LinearHead
from trainables.hatllm.head import Head, ItemTableHead
from trainables.hatllm.head import LinearHead as Linear
from trainables.hatllm.plan import unmasked
from trainables.hatllm.reader import LastToken, ThroughBackbone
from trainables.hatllm.recommender import Recommender
from trainables.hatllm.sasrec import table_of
from trainables.language.llm import adapted, first_layers
from trainables.language.masks import Kind
from trainables.language.prompts import Prompts
from trainables.seqrec.randomness import generator_for
from trainables.trial import Trial


@dataclass(frozen=True)
class Ingredients:
    """The inputs that every part of a trial is made from."""

    config: Config
    trial: Trial
    sequences: Sequences
    splits: Splits
    pieces: Mapping[str, np.ndarray]
    """Of prompts, as :func:`trainables.language.prompts.tokenised` gives them."""
    base: nn.Module
    """The language model, frozen, without adapters."""


@dataclass(frozen=True)
class Method:
    """A method before its training."""

    prompts: Prompts
    """From histories to prompts, as they are ranked by."""
    model: Any
    """A :class:`Recommender`, or a module with its ``forward``, ``states`` and ``plan``."""
    trained_on: Callable[[int], Prompts] | None = None
    """From histories to the prompts of an optimiser step; None where they are those that are ranked by."""


def vectors_only(ingredients: Ingredients, table_ID: torch.Tensor, plan: tuple[Kind, ...] | None = None) -> Method:
    """E4SRec, Lite-LLM4Rec and, with a shorter ``plan``, SLMRec: an item is a vector, and no word."""
    vectors = inputs.one_layer(table_ID, width(ingredients.base), generator_for(ingredients.config.seed, "inputs"))
    return Method(
        prompts(ingredients, titles=False, slot=True),
        recommender(ingredients, plan or full(ingredients), inputs=vectors),
    )


def recommender(
    ingredients: Ingredients,
    plan: tuple[Kind, ...],
    *,
    reader: LastToken | ThroughBackbone | None = None,
    inputs: nn.Module | None = None,
) -> Recommender:
    """The adapted language model between what a method reads and the head that the settings name.

    Args:
        ingredients: of the trial.
        plan: a mask for each layer; where it has fewer than the model, the others are left out.
        reader: by default the last token's state.
        inputs: vectors of the items that stand in the prompts' slots.
    """
    config = ingredients.config
    base = ingredients.base if len(plan) == config.llm.num_layers else first_layers(ingredients.base, len(plan))
    reader = reader or LastToken(width(ingredients.base))
    model = Recommender(
        adapted(base, config.lora, seed=config.seed),
        plan=plan,
        reader=reader,
        head=make_head(ingredients, reader.width),
        inputs=inputs,
        flex=config.attention == "flex",
    )
    return model.to(ingredients.trial.device)


def make_head(ingredients: Ingredients, states: int) -> Head:
    """The head that the settings name, over states of width ``states``."""
    config, generator = ingredients.config, generator_for(ingredients.config.seed, "head")
    if isinstance(config.head, LinearHead):
        return Linear(ingredients.sequences.num_items, states, chunk=config.fit.chunk, generator=generator)
    return ItemTableHead(sasrec_table(ingredients), states, chunk=config.fit.chunk, generator=generator)


def sasrec_table(ingredients: Ingredients) -> torch.Tensor:
    """The frozen item vectors of SASRec (I, D)."""
    result = table_of(ingredients.config, ingredients.trial, ingredients.sequences, ingredients.splits)
    return torch.from_numpy(np.array(result["table"]))


def prompts(ingredients: Ingredients, *, titles: bool = True, slot: bool = False) -> Prompts:
    """Prompts as the settings say; see :class:`Prompts` for ``titles`` and ``slot``."""
    settings = ingredients.config.prompt
    return Prompts(
        ingredients.pieces,
        item_tokens=settings.item_tokens,
        max_title_tokens=settings.max_title_tokens,
        max_tokens=settings.max_tokens,
        titles=titles,
        slot=slot,
    )


def full(ingredients: Ingredients) -> tuple[Kind, ...]:
    """No masks but the causal one."""
    return unmasked(ingredients.config.llm.num_layers)


def width(base: nn.Module) -> int:
    """H, of the language model's states."""
    hidden_size: int = base.config.hidden_size  # type: ignore[union-attr,assignment]
    return hidden_size
