"""Settings of HatLLM: hierarchical attention masks on a language model that recommends, and of methods on its loop."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainables.config import at_least, between
from trainables.data.config import Data
from trainables.hatllm.methods_config import BIGRec, E4SRec, LiteLLM4Rec, LLaRA, SLMRec
from trainables.language.engines.engine_config import EngineConfig
from trainables.language.llm_config import LLM, Lora, Tiny
from trainables.language.prompt_config import PromptConfig
from trainables.seqrec.config import final_metrics, split_metrics

__all__ = ["CONSTRAINTS", "METRICS", "Config", "check", "micro_batches", "notes", "reports"]

TOP_K = (5, 10)
"""Cut-offs of every ranking metric (§5.1.3)."""

OBJECTIVE = "valid/ndcg_10"
"""The metric whose best step is kept and tested (§5.1.4)."""

METRICS = ("train/loss", *split_metrics("valid", TOP_K), *final_metrics(TOP_K))
"""Metrics that a trial reports, besides `trial/*`."""

SEVERAL_RANKS = True

Order = Literal["in_or_cr", "in_cr_or", "or_in_cr", "or_cr_in", "cr_in_or", "cr_or_in"]
"""The order of the three blocks of layers, from the input on; a block keeps its size where it moves."""

CONSTRAINTS = (
    "method.shallow_layers + method.deep_layers <= llm.num_layers",
    "method.student_layers <= llm.num_layers",
)

_FLEX_WIDTH = 16
"""Of an attention head, the least that FlexAttention's kernel takes."""


@dataclass(frozen=True, kw_only=True)
class HatLLM:
    """Masks a layer: intra-item, original, cross-item (§4.1)."""

    name: Literal["hatllm"] = "hatllm"
    shallow_layers: Annotated[int, at_least(0)] = 4
    """Layers of the block IN (Figure 5: 1, 4, 8, 12, 16; best 4 or 8)."""
    deep_layers: Annotated[int, at_least(0)] = 2
    """Layers of the block CR (Figure 5: 1 to 5; best 1 to 3)."""
    order: Order = "in_or_cr"
    """The three blocks from the input on (Table 5); a block keeps its size where it moves."""
    without: Literal["none", "in", "or", "cr"] = "none"
    """The mask that is left out (Table 5): layers without `in` or `cr` see everything, those without `or` get
    `middle`."""
    middle: Literal["in", "cr"] = "in"
    """The mask of the middle layers, read where `without` is or; the paper does not say."""
    cross: Literal["last", "pre", "sasrec"] = "last"
    """The deep layers: CR keeps an item's last token (equation 5), CR-pre all tokens (equation 4), or SASRec over the
    items' last tokens takes their place (Table 5)."""

    def __post_init__(self) -> None:
        if self.cross == "sasrec" and (self.order != "in_or_cr" or self.without == "cr" or not self.deep_layers):
            raise ValueError(
                "cross: sasrec replaces the last layers, so order must be in_or_cr, deep_layers at least 1 and without "
                f"not cr, but got order {self.order}, deep_layers {self.deep_layers} and without {self.without}; "
                "change these or cross"
            )


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """A score an item from a linear layer of the state (as E4SRec)."""

    name: Literal["linear"] = "linear"


@dataclass(frozen=True, kw_only=True)
class ItemTable:
    """The state, projected, times a frozen table of SASRec's item vectors (as SLMRec)."""

    name: Literal["item_table"] = "item_table"


@dataclass(frozen=True, kw_only=True)
class SASRecConfig:
    """SASRec, trained once per data set and seed, whose item vectors are read by heads and inputs that need them."""

    dim: Annotated[int, at_least(1)] = 128
    """Width (SLMRec)."""
    blocks: Annotated[int, at_least(1)] = 2
    """Blocks of its backbone."""
    epochs: Annotated[int, at_least(1)] = 100
    """Most passes over the training rows."""
    patience: Annotated[int, at_least(1)] = 5
    """Epochs without a better validation after which it ends."""
    learning_rate: Annotated[float, between(0, 1, open_low=True)] = 1e-3
    """Adam's (§5.1.4)."""
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.3
    """In its backbone; the paper tries 0 to .5."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Training by optimiser steps; schedule, clipping, accumulation and weight decay are the engine's."""

    steps: Annotated[int, at_least(1)] = 1600
    """Most optimiser steps (§5.1.4)."""
    evaluate_every: Annotated[int, at_least(1)] = 100
    """Optimiser steps between two evaluations (§5.1.4)."""
    patience: Annotated[int, at_least(1)] = 2
    """Evaluations without a better valid/ndcg_10 after which training ends (§5.1.4)."""
    batch_size: Annotated[int, at_least(1)] = 128
    """Training rows of an optimiser step, over all ranks and micro-batches (BIGRec; the paper does not say)."""
    learning_rate: Annotated[float, between(0, 1, open_low=True)] = 1e-4
    """Peak of the schedule; the paper tries 1e-3, 5e-4, 1e-4 and 5e-5."""
    eval_batch_size: Annotated[int, at_least(1)] = 64
    """Rows that are ranked at once; changes memory, not results."""
    chunk: Annotated[int, at_least(1)] = 8192
    """Items whose scores the loss holds at once; changes memory, not results."""


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Figure 2, on a sample of validation rows after training, and how often tokens meet in all training rows (§3)."""

    rows: Annotated[int, at_least(0)] = 64
    """Validation rows whose attention and distances are looked at; 0 leaves all of it out, what is counted over the
    training rows too."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One trial of HatLLM or of a method on its loop."""

    seed: int = 0
    """Seed of adapter, head, shuffling and dropout."""
    data: Data = field(default_factory=lambda: Data(split="time", keep_last=None, eval_rows=5000))
    """Data set; windows of 11 in order of time, 5,000 rows evaluated (§5.1.1). Where there are no timestamps, take
    split leave_one_out with keep_last 13."""
    llm: LLM = field(default_factory=Tiny)
    """The language model."""
    prompt: PromptConfig = field(default_factory=PromptConfig)
    """From a history to tokens."""
    method: HatLLM | BIGRec | E4SRec | LLaRA | LiteLLM4Rec | SLMRec = field(default_factory=HatLLM)
    """The method: what the language model reads, and how."""
    head: LinearHead | ItemTable = field(default_factory=ItemTable)
    """From a state to scores of all items."""
    lora: Lora = field(default_factory=Lora)
    """The part of the language model that is trained."""
    sasrec: SASRecConfig = field(default_factory=SASRecConfig)
    """Item vectors, and the backbone of `cross: sasrec`; not read by others."""
    attention: Literal["sdpa", "flex"] = "sdpa"
    """PyTorch's kernel: `flex` makes block-sparse masks, on a GPU only."""
    fit: Fit = field(default_factory=Fit)
    """Training loop."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """The engine that takes the optimiser steps."""
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    """Figure 2."""

    def __post_init__(self) -> None:
        method, layers = self.method, self.llm.num_layers
        if isinstance(method, HatLLM) and method.cross == "sasrec" and method.deep_layers >= layers:
            raise ValueError(
                "method.deep_layers must leave a layer below SASRec under method.cross: sasrec, but got "
                f"{method.deep_layers} of llm.num_layers {layers}; lower method.deep_layers"
            )


def reports(config: Config) -> int:
    """Reports of a whole trial, one per evaluation; patience may end it before."""
    return math.ceil(config.fit.steps / config.fit.evaluate_every)


def micro_batches(config: Config) -> bool:
    """True if a batch may be trained in parts: its loss is a mean over rows, to which each row adds by itself."""
    return config.fit.batch_size >= 2 * (config.engine.accumulation or 1)


def notes(config: Config) -> list[str]:
    """Say what a reader of results on the data set must know."""
    from trainables.data.notes import notes as data_notes

    return data_notes(config.data)


def check(config: Config) -> list[str]:
    """Problems that would end every trial of ``config``: data, a language model or a DeepSpeed JSON that will not do.

    Args:
        config: a built configuration.

    Returns:
        One line a problem (rule, value, remedy); empty where the trial can start.
    """
    from trainables.data.checks import check as check_data
    from trainables.language.engines.deepspeed_json import problems as engine_problems
    from trainables.language.llm_config import check as check_llm

    engine = engine_problems(config.engine, learning_rate=config.fit.learning_rate, batch_size=config.fit.batch_size)
    return (
        check_data(config.data, text=False, titles=True) + check_llm(config.llm) + engine + _attention_problems(config)
    )


def _attention_problems(config: Config) -> list[str]:
    """Problems that FlexAttention's kernel would refuse, which no trial on a CPU would show."""
    if config.attention == "sdpa" or not isinstance(config.llm, Tiny):
        return []  # heads of pretrained models are 64 wide or more
    width = config.llm.width // config.llm.heads
    if width >= _FLEX_WIDTH:
        return []
    return [
        f"attention: flex needs heads that are {_FLEX_WIDTH} wide or more, but got llm.width {config.llm.width} over "
        f"llm.heads {config.llm.heads}, {width}; lower llm.heads or take sdpa"
    ]
