"""Settings of the engine that takes the optimiser steps."""

from dataclasses import dataclass
from typing import Annotated, Literal

from trainables.config import above, at_least, between


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Optimiser steps of a language model's trained part: AdamW, accumulation, clipping, warm-up, ZeRO.

    Fields that are null are what `file` says, and where it says nothing what their docstring says.
    """

    name: Literal["deepspeed", "torch"] = "deepspeed"
    """`deepspeed`: ZeRO over the trial's ranks; `torch`: the same steps without it."""
    zero_stage: Annotated[int, between(0, 3)] | None = None
    """ZeRO splits over the ranks: 0 nothing, 1 optimiser state, 2 also gradients, 3 also parameters. null is 2."""
    offload: Literal["none", "optimiser", "all"] | None = None
    """ZeRO keeps in the host's memory: optimiser state (from stage 1), or parameters too (stage 3). null is none."""
    file: str | None = None
    """A DeepSpeed JSON, such as infra/deepspeed/zero2.json, from here or from the root of the repository."""
    precision: Literal["fp32", "bf16"] | None = None
    """Number format of the forward and backward pass; null: bf16 on a GPU, fp32 on a CPU."""
    accumulation: Annotated[int, at_least(1)] | None = None
    """Micro-batches of a rank for one optimiser step; null: 1."""
    gradient_clipping: Annotated[float, above(0)] | None = None
    """Largest L2 norm of the gradient of all trained parameters together; null: 1."""
    weight_decay: Annotated[float, between(0, 1)] = 0.0
    """AdamW's, on all trained parameters."""
    warm_up: Annotated[int, at_least(0)] = 20
    """Optimiser steps over which the learning rate rises from zero (MSL: 20)."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Fall of the learning rate from there to zero at the last step. BIGRec, whose loop this is, has linear."""

    def __post_init__(self) -> None:
        """Refuse what only DeepSpeed has where it is not the engine.

        Raises:
            ValueError: a field of ZeRO with `name: torch`, or a stage that cannot offload what is asked.
        """
        if self.name == "torch":
            for field, value in (("zero_stage", self.zero_stage), ("offload", self.offload), ("file", self.file)):
                if value is not None:
                    raise ValueError(
                        f"{field} must be left out where name is torch, but got {value!r}; set name to deepspeed"
                    )
        least = {"optimiser": 1, "all": 3}.get(self.offload or "none", 0)
        if self.zero_stage is not None and self.zero_stage < least:
            raise ValueError(
                f"zero_stage must be at least {least} where offload is {self.offload}, "
                f"but got {self.zero_stage}; raise it"
            )
