"""The keys of a sweep file with their types and defaults.

The docstrings are the help that editors show (`sweeps/schema.json`).
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from platform.sweepfile.expression import parse
from platform.sweepfile.parameters import Parameter

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip
_METRIC = re.compile(r"[a-z]+/[a-z][a-z0-9_]*")


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
    )


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _metrics(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, dict) else value


def _unless_auto(value: Any) -> Any:
    return None if value == "auto" else value


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


def _early_stopping(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def _condition(value: str) -> str:
    parse(value)
    return value


class Metric(_Strict):
    """What the search looks at."""

    name: str
    """A metric that the trainable reports on the validation split, such as valid/ndcg_20."""
    goal: Literal["maximize", "minimize"]
    """Whether more or less of it is better."""

    @property
    def sign(self) -> int:
        """What its values are multiplied by, so that more is better."""
        return 1 if self.goal == "maximize" else -1

    @field_validator("name")
    @classmethod
    def _on_validation(cls, name: str) -> str:
        fixed = re.sub(r"[^a-z0-9_/]", "_", name.lower().replace("@", "_")).replace("recall_", "hr_")
        fixed = f"valid/{fixed.split('/', 1)[1] if '/' in fixed else fixed.removeprefix('valid_')}"
        if not _METRIC.fullmatch(name):
            raise ValueError(f"must be written split/name_k, but got {name!r}; did you mean {fixed!r}?")
        if not name.startswith("valid/"):
            raise ValueError(
                f"an objective must be of the validation split, but got {name!r}; write {fixed!r} (the test split is "
                "evaluated once, at the best validation step, and never searched on)"
            )
        return name


class EarlyStopping(_Strict):
    """Which trials are stopped before their end; the axis counts the reports that hold the objective."""

    type: Literal["asha", "hyperband", "median", "percentile", "patient", "none"] = "none"
    """asha: successive halving. hyperband: several brackets of it. median, percentile: below the others at the same
    report. patient: median, and only after `patience` reports without a gain."""
    min_reports: int = Field(default=1, ge=1)
    """Reports that every trial may make before it can be stopped."""
    reduction_factor: int = Field(default=3, ge=2)
    """asha, hyperband: one trial in so many goes on from a rung to the next."""
    percentile: float = Field(default=25.0, gt=0, lt=100)
    """percentile: the share of trials, in percent, that may go on at a report."""
    patience: int = Field(default=5, ge=0)
    """patient: reports without a gain that a trial is allowed."""

    @model_validator(mode="after")
    def _own_keys(self) -> EarlyStopping:
        own = {"asha": ("reduction_factor",), "hyperband": ("reduction_factor",), "percentile": ("percentile",),
               "patient": ("patience",)}.get(self.type, ())  # fmt: skip
        allowed = {"type", *own} if self.type == "none" else {"type", "min_reports", *own}
        for key in sorted(self.model_fields_set - allowed):
            raise ValueError(
                f"{self.type} must have only {', '.join(sorted(allowed))}, but got {key} as well; remove {key}, or "
                "take a type that reads it"
            )
        return self


class Resources(_Strict):
    """What one trial asks of the cluster. All but `workers`, `nodes` and `label` are per rank."""

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


class Limits(_Strict):
    """When a trial or the sweep ends early; all may change between runs of the same sweep."""

    max_hours: float | None = Field(default=None, gt=0)
    """Hours for one run of the command."""
    max_minutes_per_trial: float | None = Field(default=None, gt=0)
    """Minutes for one start of a trial, without those that it waits for what another trial computes; one that does not
    report is ended with its worker (but not under --address inline)."""
    max_failures_per_trial: int = Field(default=2, ge=0)
    """How often a trial is started again after it failed."""
    max_failed_trials: int | None = Field(default=None, ge=0)
    """Failed trials that a sweep may have, one more ends it; null: any number may fail."""


class Tracking(_Strict):
    """Where MLflow keeps the runs."""

    uri: str | None = Field(default=None, min_length=1)
    """MLflow tracking URI; default $MLFLOW_TRACKING_URI, else sqlite:///<storage>/mlflow.db."""
    experiment: str | None = Field(default=None, min_length=1)
    """MLflow experiment; default the trainable's name."""
    checkpoints: Literal["best", "last", "none"] = "best"
    """What stays of trials that ended. best: newest checkpoint and best weights of the best trials; last: the newest
    checkpoint of every trial; none: nothing."""
    best_trials: int = Field(default=5, ge=1)
    """checkpoints best: how many trials, over the whole sweep, are the best."""


class Compare(_Strict):
    """Which settings stand for one method, so that finished sweeps become a paper's table (`platform.results`)."""

    by: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Annotated[list[str], Field(min_length=1)]),
    ] = Field(min_length=1)
    """Parameters that define a cell, such as adapter.name; all others but seed are tuned inside it, on validation."""
    published: str | None = Field(default=None, min_length=1)
    """CSV file of printed numbers, relative to the sweep file: a column for each of `by`, and for each metric."""


class SweepFields(_Strict):
    """One experiment sweep."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """The sweep's name: its study, its folder and its MLflow parent run."""
    trainable: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
    """A folder of trainables/, or the dotted module path of a package of your own."""
    metrics: Annotated[
        tuple[Metric, ...],
        BeforeValidator(_metrics, json_schema_input_type=Metric | Annotated[list[Metric], Field(min_length=1)]),
    ] = Field(validation_alias="metric", min_length=1)
    """The objective; a list of two or more: multi-objective."""
    method: Literal["tpe", "random", "grid", "gp", "cmaes", "nsga2", "qmc"] = "tpe"
    """How new trials are proposed."""
    num_trials: int = Field(ge=1)
    """Trials in all; infeasible points are not counted."""
    max_concurrent_trials: Annotated[
        int | None,
        Field(ge=1),
        BeforeValidator(_unless_auto, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1)]),
    ] = None
    """Trials at once; auto: what the resources allow."""
    early_stopping: Annotated[
        EarlyStopping,
        BeforeValidator(
            _early_stopping,
            json_schema_input_type=EarlyStopping
            | Literal["asha", "hyperband", "median", "percentile", "patient", "none"],
        ),
    ] = EarlyStopping()
    """Which trials are stopped before their end."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the search; training has its own parameter `seed`."""
    deterministic: bool = False
    """Whether the same file and seed give the same trials, whatever the workers' timing: asked for in batches of
    max_concurrent_trials, which must be a number then and is part of the sweep's identity."""
    parameters: Annotated[dict[str, Parameter], SkipValidation, WithJsonSchema({"type": "object"})]
    """Dotted fields of the trainable's Config: a plain scalar, a choice (values) or a range (min, max)."""
    constraints: Annotated[
        tuple[Annotated[str, AfterValidator(_condition)], ...],
        BeforeValidator(_as_tuple, json_schema_input_type=list[str]),
    ] = ()
    """Conditions over parameters that every trial meets, such as "adapter.taylor_order <= 3 or fit.dropout >= 0.1"."""
    initial_points: Annotated[
        tuple[dict[str, Any], ...], BeforeValidator(_as_tuple, json_schema_input_type=list[dict[str, Any]])
    ] = ()
    """Settings that are tried first, those added later before any other; parameters left out are drawn so that the
    constraints hold."""
    compare: Compare | None = None
    """Which settings stand for one method in the table of the finished sweep; may change between runs."""
    resources: Resources = Resources()
    """What one trial asks of the cluster."""
    limits: Limits = Limits()
    """When a trial or the sweep ends early."""
    storage: str = Field(default_factory=lambda: os.environ.get("SWEEP_STORAGE") or "runs", min_length=1)
    """A folder or s3://bucket/prefix, shared by driver and workers; default $SWEEP_STORAGE, else runs."""
    study: str | None = Field(default=None, min_length=1)
    """URL of a database that holds the study; default a journal file, <storage>/<name>/study.journal."""
    tracking: Tracking = Tracking()
    """Where MLflow keeps the runs."""

    @field_validator("study")
    @classmethod
    def _in_database(cls, study: str | None) -> str | None:
        if study is not None and "://" not in study:
            raise ValueError(
                f"must be the URL of a database, but got {study!r}; write "
                "postgresql+psycopg://user@host/database or similar, or remove it: the study's journal then lies in "
                "the sweep's folder"
            )
        return study

    @field_validator("metrics")
    @classmethod
    def _once(cls, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        names = [metric.name for metric in metrics]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"must name each metric once, but got {name} {names.count(name)} times; remove one")
        return metrics


def sections() -> dict[str, type[BaseModel]]:
    """The keys that hold keys of their own."""
    return {"": SweepFields, "metric": Metric, "early_stopping": EarlyStopping, "resources": Resources,
            "limits": Limits, "tracking": Tracking, "compare": Compare}  # fmt: skip


def keys_of(section: str) -> tuple[str, ...]:
    """The keys that a section of the file may hold."""
    fields = sections()[section].model_fields
    return tuple(str(field.validation_alias or name) for name, field in fields.items())
