"""A small Llama made from a data set's titles: tokenizer, weights and a short pre-training, as one stage.

It reads titles, one by one and in prompts of titles drawn at random, never an interaction: like a downloaded model it
knows words and the form of a prompt, and nothing of who bought what.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainables.data.packed import Packed
from trainables.language.prompts import QUOTE, RESPONSE, SEPARATOR, header
from trainables.seqrec.randomness import seed_for
from trainables.storage.stages import Arrays, stage

BEGIN = "<|begin|>"
"""The first token of every text, number 0."""

BLOCK, BLOCKS = 128, 16
"""Tokens of a training example, and examples of a step."""

LEARNING_RATE, WARM_UP = 3e-3, 20
MOST_ITEMS = 10
"""Of a prompt drawn at random."""

PROMPT_SHARE = 0.25
"""Chance of a text to be a prompt, which is about ten times as long as a title."""


@stage(version=1)
def tiny_llm(
    titles: Mapping[str, np.ndarray],
    num_layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    pretrain_steps: int,
    made_with: int,
    noun: str,
    verb: str,
) -> Arrays:
    """Stage: a Llama without its output layer, which is its embedding. `tokenizer` holds a `tokenizer.json`; the other
    arrays are weights by name.

    Args:
        titles: the catalogue.
        num_layers: see ``Tiny``, as the next ones.
        width: H.
        heads: of the queries; keys have half as many where they divide.
        vocabulary: most tokens.
        pretrain_steps: 0 leaves the weights random.
        made_with: seed.
        noun: of the prompts.
        verb: of the prompts.
    """
    from transformers import LlamaForCausalLM

    texts = list(Packed(titles["titles"], titles["title_ends"]))[1:]
    frame = header(noun, verb)
    tokenizer = trained_tokenizer([*texts, *[frame, RESPONSE, QUOTE, SEPARATOR] * (1 + len(texts) // 8)], vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(made_with, "tiny"))
        model = LlamaForCausalLM(tiny_config(tokenizer.get_vocab_size(), num_layers, width, heads))
    random = np.random.default_rng([made_with, 1])
    pretrain(model, blocks(texts, frame, tokenizer, random), pretrain_steps)
    weights = {name: tensor.detach().numpy() for name, tensor in model.model.state_dict().items()}
    return {"tokenizer": np.frombuffer(tokenizer.to_str().encode(), np.uint8), **weights}


def tiny_config(vocabulary: int, num_layers: int, width: int, heads: int):  # type: ignore[no-untyped-def]
    """The shape of the model, as transformers has it."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2 if heads % 2 == 0 else heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )


def trained_tokenizer(texts: list[str], vocabulary: int):  # type: ignore[no-untyped-def]
    """A byte-level byte-pair encoding of ``texts`` that begins every text with ``BEGIN``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[BEGIN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    return tokenizer


def blocks(texts: list[str], frame: str, tokenizer, random: np.random.Generator) -> Iterator[torch.Tensor]:  # type: ignore[no-untyped-def]
    """Endless training steps, int64 (BLOCKS, BLOCK): texts one after another, cut into blocks."""
    tokens: list[int] = []
    need = BLOCKS * BLOCK
    while True:
        while len(tokens) < need:
            drawn = [texts[index] for index in random.integers(len(texts), size=1 + random.integers(MOST_ITEMS))]
            quoted = [f"{QUOTE}{title}{QUOTE}" for title in drawn]
            prompt = random.random() < PROMPT_SHARE
            text = f"{frame}{SEPARATOR.join(quoted[1:] or quoted)}{RESPONSE}{quoted[0]}" if prompt else drawn[0]
            tokens += tokenizer.encode(text).ids
        yield torch.tensor(tokens[:need]).view(BLOCKS, BLOCK)
        tokens = tokens[need:]


def pretrain(model: nn.Module, examples: Iterator[torch.Tensor], steps: int) -> None:
    """Train all weights of a causal language model on next tokens, with AdamW, a warm-up and a linear fall."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min((step + 1) / WARM_UP, 1 - step / steps)
        token_BT = next(examples)
        logits = model(input_ids=token_BT[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), token_BT[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
