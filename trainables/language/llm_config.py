"""Settings of the language model, and of the part of it that is trained."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import above, at_least, between


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A Llama that is made here from the data set's titles alone, so that everything runs without a download."""

    name: Literal["tiny"] = "tiny"
    num_layers: Annotated[int, at_least(1)] = 8
    """Layers."""
    width: Annotated[int, at_least(8)] = 64
    """Width of its states."""
    heads: Annotated[int, at_least(1)] = 4
    """Attention heads; they divide `width` into even parts."""
    vocabulary: Annotated[int, at_least(300)] = 2048
    """Most tokens of its byte-pair encoding."""
    pretrain_steps: Annotated[int, at_least(0)] = 300
    """Optimiser steps of language modelling on titles and on prompts of titles drawn at random; it sees no
    interaction, so no split can leak."""
    made_with: Annotated[int, at_least(0)] = 0
    """Seed of its weights; apart from `seed`, as a downloaded model would be, so that all trials share one."""

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"heads must divide width into even parts, but got heads {self.heads} and width {self.width}; "
                "change one of them"
            )


@dataclass(frozen=True, kw_only=True)
class Llama1B:
    """Llama 3.2 1B (Table 4)."""

    name: Literal["llama3-1b"] = "llama3-1b"
    path: str = "meta-llama/Llama-3.2-1B"
    """Name on the hub, or a folder that holds the model."""
    num_layers: Annotated[int, at_least(1)] = 16
    """Layers; compared with the loaded model's."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the frozen weights."""


@dataclass(frozen=True, kw_only=True)
class Llama3B:
    """Llama 3.2 3B, the paper's default."""

    name: Literal["llama3-3b"] = "llama3-3b"
    path: str = "meta-llama/Llama-3.2-3B"
    """Name on the hub, or a folder that holds the model."""
    num_layers: Annotated[int, at_least(1)] = 28
    """Layers; compared with the loaded model's."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the frozen weights."""


@dataclass(frozen=True, kw_only=True)
class Llama8B:
    """Llama 3.1 8B (Table 4)."""

    name: Literal["llama3-8b"] = "llama3-8b"
    path: str = "meta-llama/Llama-3.1-8B"
    """Name on the hub, or a folder that holds the model."""
    num_layers: Annotated[int, at_least(1)] = 32
    """Layers; compared with the loaded model's."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the frozen weights."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Any causal language model of the families Llama, Qwen2 and Qwen3."""

    path: str
    """Name on the hub (Qwen/Qwen3-0.6B), or a folder that holds the model."""
    num_layers: Annotated[int, at_least(1)]
    """Layers; compared with the loaded model's (28 for Qwen3-0.6B)."""
    name: Literal["pretrained"] = "pretrained"
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the frozen weights."""


LLM = Tiny | Llama1B | Llama3B | Llama8B | Pretrained


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters, all of the language model that is trained (§5.1.4)."""

    rank: Annotated[int, at_least(1)] = 8
    """r (§5.1.4)."""
    alpha: Annotated[float, above(0)] = 16.0
    """Scale over the rank (§5.1.4)."""
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.05
    """Before the adapters (§5.1.4)."""
    targets: Literal["attention", "query_value", "mlp", "all"] = "query_value"
    """Linear layers that have one: `query_value` as BIGRec and MSL, `mlp` as E4SRec and SLMRec, `all` as LLaRA; the
    paper does not say."""


def check(llm: LLM) -> list[str]:
    """Say why the language model can not be had or used; [] where it can. Asks the hub at most for two small files."""
    from trainables.language import pretrained

    problem = None if isinstance(llm, Tiny) else pretrained.problem(llm.path, llm.num_layers)
    return [problem] if problem else []
