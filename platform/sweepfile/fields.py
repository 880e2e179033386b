"""The keys of a sweep file with their types and defaults.

The docstrings are the help that editors show (`sweeps/schema.json`).
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SkipValidation, WithJsonSchema, field_validator

from platform.sweepfile.early_stopping import EARLY_STOPPINGS, EarlyStopping, NoStopping, with_type
from platform.sweepfile.expression import parse
from platform.sweepfile.parameters import Parameter
from platform.sweepfile.resources import Resources
from platform.sweepfile.section import Section
from trainables.references import variables

MOST_TRIALS = 1_000_000
"""Trials of a sweep: the study holds every trial in memory, some KiB each."""
MOST_CONDITIONS = 100
"""Conditions of a sweep: up to 20,000 points are asked for one that meets them all."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_METRIC = re.compile(r"[a-z]+/[a-z][a-z0-9_]*")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _metrics(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, dict) else value


def _unless_auto(value: Any) -> Any:
    return None if value == "auto" else value


def _unless_all(value: Any) -> Any:
    return None if value == "all" else value


def _condition(value: str) -> str:
    parse(value)
    return value


def _few(conditions: tuple[str, ...]) -> tuple[str, ...]:
    if len(conditions) > MOST_CONDITIONS:
        rule = f"must be at most {MOST_CONDITIONS} conditions, but got {len(conditions)}"
        raise ValueError(f"{rule}; join them with `and`, or narrow the ranges")
    return conditions


def valid_name(name: str) -> str:
    """The name of a metric on the validation split that another spelling, such as NDCG@20, stands for."""
    fixed = re.sub(r"[^a-z0-9_/]", "_", name.lower().replace("@", "_")).replace("recall_", "hr_")
    return f"valid/{fixed.split('/', 1)[1] if '/' in fixed else fixed.removeprefix('valid_')}"


class Metric(Section):
    """The objective of the search."""

    name: str
    """A metric that the trainable reports on the validation split, such as valid/ndcg_20."""
    goal: Literal["maximize", "minimize"]
    """maximize: more is better; minimize: less is."""

    @property
    def sign(self) -> int:
        """Factor of its values with which more is better: 1 or -1."""
        return 1 if self.goal == "maximize" else -1

    @field_validator("name")
    @classmethod
    def _on_validation(cls, name: str) -> str:
        fixed = valid_name(name)
        if not _METRIC.fullmatch(name):
            raise ValueError(f"must be written split/name_k, but got {name!r}; did you mean {fixed!r}?")
        if not name.startswith("valid/"):
            raise ValueError(
                f"an objective must be of the validation split, but got {name!r}; write {fixed!r} (the test split is "
                "evaluated once, at the best validation step, and never searched on)"
            )
        return name


class Limits(Section):
    """When a trial or the sweep ends early; all may change between runs. Trials that the sweep's limits end resume."""

    max_hours: float | None = Field(default=None, gt=0)
    """Hours for one run of the command."""
    max_minutes_per_trial: float | None = Field(default=None, gt=0)
    """Minutes for one start of a trial, not counting those that it waits for another trial's result. A trial that does
    not report is ended with its worker (but not under --address inline)."""
    max_failures_per_trial: int = Field(default=2, ge=0)
    """Retries of a trial that failed."""
    max_failed_trials: int | None = Field(default=None, ge=0)
    """Failed trials that a sweep may have. One more ends the sweep. null: any number may fail."""


Event: TypeAlias = Literal["end", "failure", "waiting"]
"""The events of a sweep of which a message can be sent."""


class Notify(Section):
    """The receivers of messages about the sweep; may change between runs. No message can fail the sweep."""

    command: str | None = Field(default=None, min_length=1)
    """A program with its arguments, started without a shell; it reads the message, a JSON, from standard input."""
    url: str | None = Field(default=None, min_length=1)
    """A URL that takes the message by POST. It may hold ${NAME}, a variable of the environment."""
    on: Annotated[tuple[Event, ...], BeforeValidator(_as_tuple, json_schema_input_type=list[Event])] = (
        "end",
        "failure",
        "waiting",
    )
    """end: the command has ended. failure: a trial has failed. waiting: nothing is started, as the disk is full or a
    person paused the sweep."""


class Tracking(Section):
    """MLflow's store, experiment and checkpoints."""

    uri: str | None = Field(default=None, min_length=1)
    """MLflow tracking URI; default $MLFLOW_TRACKING_URI, else sqlite:///<storage>/mlflow.db. It may hold ${NAME}, a
    variable of the environment."""
    experiment: str | None = Field(default=None, min_length=1)
    """MLflow experiment; default the trainable's name."""
    checkpoints: Literal["best", "last", "none"] = "best"
    """Checkpoints kept of ended trials. best: newest checkpoint and best weights of the best trials; last: the newest
    checkpoint of every trial; none: nothing."""
    best_trials: int = Field(default=5, ge=1)
    """checkpoints best: number of best trials, over the whole sweep."""


class Compare(Section):
    """The settings that stand for one method, so that finished sweeps become a paper's table (`platform.results`)."""

    by: Annotated[
        tuple[str, ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Annotated[list[str], Field(min_length=1)]),
    ] = Field(min_length=1)
    """Parameters that define a cell, such as adapter.name; all others but seed are tuned inside it, on validation."""
    published: str | None = Field(default=None, min_length=1)
    """CSV file of printed numbers, relative to the sweep file: a column for each of `by`, and for each metric."""


class Seeds(Section):
    """Seeds of training. The search runs with the first one only, so that no lucky seed is searched for."""

    values: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**32)], ...],
        BeforeValidator(_as_tuple, json_schema_input_type=Annotated[list[int], Field(min_length=1)]),
    ] = Field(min_length=1)
    """The seeds. More may be added later."""
    best: Annotated[
        int | None,
        Field(ge=1),
        BeforeValidator(_unless_all, json_schema_input_type=Literal["all"] | Annotated[int, Field(ge=1)]),
    ] = 1
    """Settings of each cell that run with the other seeds too: so many once the search is over, or all, each as soon as
    it is complete. The table shows means over the seeds that did not choose the setting, under all over every seed."""

    @field_validator("values")
    @classmethod
    def _once(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if again := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"must list each seed once, but got {again[0]} {len(again)} times; remove one")
        return values


class SweepFields(Section):
    """One experiment sweep."""

    name: str = Field(pattern=_NAME)
    """The sweep's name: its study, its folder and its MLflow parent run."""
    trainable: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
    """A folder of trainables/, or the dotted module path of a package of your own."""
    metrics: Annotated[
        tuple[Metric, ...],
        BeforeValidator(_metrics, json_schema_input_type=Metric | Annotated[list[Metric], Field(min_length=1)]),
    ] = Field(validation_alias="metric", min_length=1)
    """The objective. A list of two or more is multi-objective: each trial has the values of the report that is best by
    the first."""
    method: Literal["tpe", "random", "grid", "gp", "cmaes", "nsga2", "qmc"] = "tpe"
    """Search method that proposes new trials."""
    num_trials: int = Field(ge=1, le=MOST_TRIALS)
    """Trials in all, not counting infeasible points."""
    startup_trials: Annotated[
        int | None,
        Field(ge=1),
        BeforeValidator(_unless_auto, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1)]),
    ] = None
    """tpe and gp: trials at random before the model proposes. auto: a fifth of num_trials at the sweep's start, between
    4 and 10."""
    population: Annotated[
        int | None,
        Field(ge=2),
        BeforeValidator(_unless_auto, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=2)]),
    ] = None
    """nsga2: trials of a generation, the first of which is random. auto: a tenth of num_trials at the sweep's start,
    between 8 and 50."""
    max_concurrent_trials: Annotated[
        int | None,
        Field(ge=1),
        BeforeValidator(_unless_auto, json_schema_input_type=Literal["auto"] | Annotated[int, Field(ge=1)]),
    ] = None
    """Trials at once; auto: what the resources allow."""
    early_stopping: Annotated[
        EarlyStopping,
        Field(discriminator="type"),
        BeforeValidator(with_type, json_schema_input_type=EarlyStopping | Literal[tuple(EARLY_STOPPINGS)]),
    ] = NoStopping()
    """Rule that stops trials before their end."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the search; training has its own parameter `seed`."""
    seeds: Seeds | None = None
    """Seeds of training; null: its parameter `seed` alone says it, by default 0."""
    deterministic: bool = False
    """true: the same file and seed give the same trials, whatever the workers' timing. Trials are asked for in batches
    of max_concurrent_trials, which must then be a number and is part of the sweep's identity."""
    parameters: Annotated[dict[str, Parameter], SkipValidation, WithJsonSchema({"type": "object"})]
    """Dotted fields of the trainable's Config: a plain scalar, a choice (values) or a range (min, max)."""
    constraints: Annotated[
        tuple[Annotated[str, AfterValidator(_condition)], ...],
        BeforeValidator(_as_tuple, json_schema_input_type=list[str]),
        AfterValidator(_few),
    ] = ()
    """Conditions over parameters that every trial meets, such as "adapter.taylor_order <= 3 or fit.dropout >= 0.1"."""
    initial_points: Annotated[
        tuple[dict[str, Any], ...], BeforeValidator(_as_tuple, json_schema_input_type=list[dict[str, Any]])
    ] = ()
    """Settings that are tried first, those added later before any other. Parameters left out are drawn such that the
    constraints hold."""
    warm_start: Annotated[
        tuple[Annotated[str, Field(pattern=_NAME)], ...], BeforeValidator(_as_tuple, json_schema_input_type=list[str])
    ] = ()
    """Earlier sweeps in the same storage, by name. Their finished trials that fit this sweep are known to the search,
    are not run again and stand in its table. They do not count in num_trials. Names may be added later."""
    compare: Compare | None = None
    """Cells of the finished sweep's table; may change between runs."""
    resources: Resources = Resources()
    """Resources of one trial."""
    limits: Limits = Limits()
    """Limits that end a trial or the sweep early."""
    notify: Notify | None = None
    """Receivers of messages about the sweep."""
    storage: str = Field(default_factory=lambda: os.environ.get("SWEEP_STORAGE") or "runs", min_length=1)
    """A folder or s3://bucket/prefix, shared by driver and workers; default $SWEEP_STORAGE, else runs."""
    study: str | None = Field(default=None, min_length=1)
    """URL of a database that holds the study; default a journal file, <storage>/<name>/study.journal. It may hold
    ${NAME}, a variable of the environment."""
    tracking: Tracking = Tracking()
    """The MLflow store and experiment of the runs, and the checkpoints that are kept."""

    @field_validator("study")
    @classmethod
    def _in_database(cls, study: str | None) -> str | None:
        if study is not None and "://" not in study and not variables(study):
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


def sections() -> dict[str, tuple[type[Section], ...]]:
    """The keys that hold keys of their own, each with its class; with several where `type` chooses one."""
    return {"": (SweepFields,), "metric": (Metric,), "early_stopping": get_args(EarlyStopping),
            "seeds": (Seeds,), "compare": (Compare,), "resources": (Resources,), "limits": (Limits,),
            "notify": (Notify,), "tracking": (Tracking,)}  # fmt: skip


def keys_of(section: str) -> tuple[str, ...]:
    """The keys that a section of the file may hold."""
    fields = [entry for each in sections()[section] for entry in each.model_fields.items()]
    return tuple(dict.fromkeys(str(field.validation_alias or name) for name, field in fields))
