"""Small language models with random weights, and prompts by hand, for tests of HatLLM."""

from typing import Any

import torch

from trainables.language.masks import Spans
from trainables.language.prompts import Prompt

VOCABULARY, WIDTH = 50, 32


def model_config(family: str, layers: int) -> Any:
    """The config of a small Llama or Qwen, grouped queries included."""
    from transformers import LlamaConfig, Qwen2Config, Qwen3Config

    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}[family]
    extra = {"head_dim": 8} if family == "qwen3" else {}
    return kind(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.4,  # large, so that what is read matters
        **extra,
    )


def random_model(family: str = "llama", layers: int = 4) -> Any:
    """A model with random weights, as `AutoModel` makes it, in evaluation mode."""
    from transformers import AutoModel

    torch.manual_seed(0)
    return AutoModel.from_config(model_config(family, layers), attn_implementation="sdpa").eval()


def prompt_of(*rows: list[tuple[int, int]], length: int | None = None) -> Prompt:
    """A prompt of rows of (token, item), left-padded; an item's last token is where the next one is of another."""
    length = length or max(map(len, rows))
    padded = [[(0, 0)] * (length - len(row)) + row for row in rows]
    item_BT = torch.tensor([[item for _, item in row] for row in padded])
    next_BT = torch.cat([item_BT[:, 1:], torch.zeros(len(rows), 1, dtype=torch.int64)], dim=1)
    real_BT = torch.tensor([[place >= length - len(row) for place in range(length)] for row in rows])
    token_BT = torch.tensor([[token for token, _ in row] for row in padded])
    return Prompt(token_BT, Spans(item_BT, (item_BT > 0) & (item_BT != next_BT), real_BT))
