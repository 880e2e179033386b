"""The composition of each method: one case per method, over the parts that all share."""

import torch

from trainables.hatllm import inputs
from trainables.hatllm.config import HatLLM
from trainables.hatllm.methods_config import BIGRec, E4SRec, LiteLLM4Rec, LLaRA, SLMRec
from trainables.hatllm.parts import Ingredients, Method, full, prompts, recommender, sasrec_table, vectors_only, width
from trainables.hatllm.plan import layer_plan
from trainables.hatllm.reader import ThroughBackbone
from trainables.hatllm.sasrec import make_sasrec
from trainables.hatllm.slmrec import slmrec
from trainables.language.prompts import Prompts
from trainables.language.title_states import states_of
from trainables.seqrec.randomness import generator_for


def compose(ingredients: Ingredients) -> Method:
    """The method of ``ingredients.config``: a case each, the loop around them is one."""
    match ingredients.config.method:
        case HatLLM() as method:
            return hatllm(ingredients, method)
        case BIGRec():
            return Method(prompts(ingredients), recommender(ingredients, full(ingredients)))
        case E4SRec():
            return vectors_only(ingredients, sasrec_table(ingredients))
        case LiteLLM4Rec():
            return vectors_only(ingredients, title_vectors(ingredients))
        case LLaRA() as method:
            return llara(ingredients, method)
        case SLMRec() as method:
            return slmrec(ingredients, method)


def title_vectors(ingredients: Ingredients) -> torch.Tensor:
    """Each title's state (I, H) in the frozen language model."""
    config, trial = ingredients.config, ingredients.trial
    return states_of(config.llm, config.data, config.prompt, trial, ingredients.pieces, ingredients.base)


def llara(ingredients: Ingredients, method: LLaRA) -> Method:
    """LLaRA: an item is its title and a vector, which comes in by and by.

    A step without vectors has prompts of titles alone, as its paper says; its released code leaves a token, the same
    for all items, in each vector's place.
    """
    config = ingredients.config
    generator = generator_for(config.seed, "inputs")
    vectors = inputs.two_layers(sasrec_table(ingredients), width(ingredients.base), generator)
    both, alone = prompts(ingredients, slot=True), prompts(ingredients)

    def trained_on(step: int) -> Prompts:
        chance = torch.rand((), generator=generator_for(config.seed, "curriculum", step))
        return both if bool(chance * config.fit.steps < step) else alone

    model = recommender(ingredients, full(ingredients), inputs=vectors)
    return Method(both, model, trained_on if method.curriculum else None)


def hatllm(ingredients: Ingredients, method: HatLLM) -> Method:
    """HatLLM, or its ablation that has SASRec in place of the deep layers."""
    config = ingredients.config
    plan = layer_plan(
        config.llm.num_layers,
        shallow=method.shallow_layers,
        deep=method.deep_layers,
        order=method.order,
        without=method.without,
        middle=method.middle,
        cross="pre" if method.cross == "pre" else "last",
    )
    if method.cross != "sasrec":
        return Method(prompts(ingredients), recommender(ingredients, plan))
    reader = ThroughBackbone(
        make_sasrec(config),
        states=width(ingredients.base),
        width=config.sasrec.dim,
        max_history=config.data.max_history,
        generator=generator_for(config.seed, "reader"),
    )
    return Method(prompts(ingredients), recommender(ingredients, plan[: -method.deep_layers], reader=reader))
