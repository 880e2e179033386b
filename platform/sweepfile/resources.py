"""The section `resources` of a sweep file."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SkipValidation, model_validator

from platform.sweepfile.section import Section

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip


def _gpus(value: Any) -> Any:
    if value == "auto" or (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    ):
        if value == "auto" or value <= 1 or value == int(value):
            return value
        raise ValueError(f"must be a share of one GPU or whole ones, but got {value!r}; write {round(value)}")
    raise ValueError(f"must be auto or a number of at least 0, but got {value!r}; write auto, 0, 0.25 or 1")


def _bytes(value: Any) -> Any:
    """`2GiB` -> 2147483648."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]*)", value)
        if match and match[2].lower() in _UNITS and match[1].count(".") <= 1 and match[1] != ".":
            value = int(float(match[1]) * _UNITS[match[2].lower()])
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"must be an amount of memory above 0, but got {value!r}; write 2GiB, or a number of bytes")


class Resources(Section):
    """Resources of one trial. All but `workers`, `nodes` and `label` are per rank."""

    cpu: float = Field(default=1.0, gt=0)
    """CPU cores, which is also the number of math threads."""
    gpu: Annotated[
        float | Literal["auto"],
        SkipValidation,
        BeforeValidator(_gpus, json_schema_input_type=Annotated[float, Field(ge=0)] | Literal["auto"]),
    ] = "auto"
    """GPUs, or a share of one; auto: 1 where the cluster has or can scale to one, else 0."""
    memory: Annotated[
        int | None, BeforeValidator(_bytes, json_schema_input_type=Annotated[int, Field(gt=0)] | str | None)
    ] = None
    """Memory, such as 2GiB; null: not reserved."""
    workers: int = Field(default=1, ge=1)
    """Ranks of one trial."""
    nodes: int = Field(default=1, ge=1)
    """Nodes over which the ranks are spread."""
    label: dict[str, str] | None = None
    """Labels that a node must carry, such as {zone: a}; also !a, in(a, b) and !in(a, b)."""
    custom: dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Resources that the cluster's owner named (`ray start --resources`), such as {fast_disk: 1}."""

    @model_validator(mode="after")
    def _fit(self) -> Resources:
        if self.workers > 1 and self.gpu != "auto" and self.gpu != int(self.gpu):
            raise ValueError(
                "gpu must be a whole number where a trial has several workers, as two ranks cannot share a GPU, but "
                f"got {self.gpu:g} for {self.workers} workers; write gpu: {max(1, round(self.gpu))}, or 0"
            )
        if self.workers % self.nodes:
            raise ValueError(
                f"workers must be a multiple of nodes, but got {self.workers} workers on {self.nodes} nodes; "
                f"write workers: {self.nodes * max(1, round(self.workers / self.nodes))}"
            )
        return self
