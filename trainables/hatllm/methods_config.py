"""Settings of the methods that HatLLM is compared with, on its loop and behind its heads.

None of them has its own head here: `head.name: linear` is E4SRec's and Lite-LLM4Rec's, `item_table` SLMRec's.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import at_least, between


@dataclass(frozen=True, kw_only=True)
class BIGRec:
    """The language model without masks, behind the same head (Table 5, first row)."""

    name: Literal["bigrec"] = "bigrec"


@dataclass(frozen=True, kw_only=True)
class E4SRec:
    """No titles: each item is SASRec's vector, linearly brought to the width of the language model (E4SRec)."""

    name: Literal["e4srec"] = "e4srec"


@dataclass(frozen=True, kw_only=True)
class LLaRA:
    """Titles, each followed by SASRec's vector through an MLP (LLaRA); its candidates and its loss on the title's words
    give way to the head and the full ranking, as HatLLM compares it."""

    name: Literal["llara"] = "llara"
    curriculum: bool = True
    """True gives step s of S the vectors with chance s / S only, and the titles alone otherwise (LLaRA)."""


@dataclass(frozen=True, kw_only=True)
class LiteLLM4Rec:
    """No titles: each item is its title's state in the frozen language model, linearly brought into the one that is
    trained (Lite-LLM4Rec; here both are one model, as its paper's item LLM is not trained with the other)."""

    name: Literal["lite_llm4rec"] = "lite_llm4rec"


@dataclass(frozen=True, kw_only=True)
class SLMRec:
    """E4SRec's input into the first layers alone, which learn from all layers, trained before (SLMRec)."""

    name: Literal["slmrec"] = "slmrec"
    student_layers: Annotated[int, at_least(1)] = 4
    """Layers that are kept (SLMRec: 4 to 8 of 32)."""
    blocks: Annotated[int, at_least(1)] = 4
    """Blocks of layers whose last states are compared (SLMRec)."""
    teacher_learning_rate: Annotated[float, between(0, 1, open_low=True)] | None = None
    """Of the teacher; null: the student's. Its other settings are the trial's, but it is trained by plain torch on one
    rank, without `engine.zero_stage`, `engine.offload` and `engine.file`, whatever that file says."""
    direction: Annotated[float, at_least(0)] = 1.0
    """Weight of 1 - cosine of the states; SLMRec does not state its own."""
    length: Annotated[float, at_least(0)] = 0.1
    """Weight of the L2 norm of their difference (SLMRec)."""

    def __post_init__(self) -> None:
        if self.blocks > self.student_layers:
            raise ValueError(
                f"blocks must be at most student_layers, but got {self.blocks} blocks of {self.student_layers} layers; "
                "lower blocks"
            )
