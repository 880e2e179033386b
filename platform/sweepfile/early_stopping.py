"""The early stoppings, one class each with its keys; `platform.study.search` has their pruners.

The axis counts the reports that hold the objective, from 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field

from platform.sweepfile.section import Section

MinReports = Annotated[int, Field(ge=1, description="Reports that every trial may make before it can be stopped.")]
MinTrials = Annotated[int, Field(ge=1, description="Complete trials that there must be before one is stopped.")]
ReductionFactor = Annotated[int, Field(ge=2, description="One trial in so many goes on from a rung to the next.")]


class Asha(Section):
    """Successive halving."""

    type: Literal["asha"]
    min_reports: MinReports = 1
    reduction_factor: ReductionFactor = 3


class Hyperband(Section):
    """Several brackets of successive halving."""

    type: Literal["hyperband"]
    min_reports: MinReports = 1
    max_reports: int | None = Field(default=None, ge=1)
    """Reports of a whole trial, from which the brackets follow. null: the most that the trainable says at the sweep's
    start."""
    reduction_factor: ReductionFactor = 3


class Median(Section):
    """Trials below the median of the others at the same report are stopped."""

    type: Literal["median"]
    min_reports: MinReports = 1
    min_trials: MinTrials = 5


class Percentile(Section):
    """Trials below a percentile of the others at the same report are stopped."""

    type: Literal["percentile"]
    min_reports: MinReports = 1
    min_trials: MinTrials = 5
    percentile: float = Field(default=25.0, gt=0, lt=100)
    """The share of trials, in percent, that may go on at a report."""


class Patient(Section):
    """Median, but only after `patience` reports without a gain."""

    type: Literal["patient"]
    min_reports: MinReports = 1
    min_trials: MinTrials = 5
    patience: int = Field(default=5, ge=0)
    """Reports without a gain that a trial may make."""


class NoStopping(Section):
    """Every trial runs to its end."""

    type: Literal["none"] = "none"


EarlyStopping: TypeAlias = Asha | Hyperband | Median | Percentile | Patient | NoStopping

EARLY_STOPPINGS: dict[str, type[EarlyStopping]] = {
    get_args(settings.model_fields["type"].annotation)[0]: settings for settings in get_args(EarlyStopping)
}
"""The value of `type` -> the class of its settings."""


def with_type(value: Any) -> Any:
    """The short form `asha` as {type: asha}; a mapping without a type gets that of :class:`NoStopping`."""
    if isinstance(value, str):
        return {"type": value}
    return {**NoStopping().model_dump(), **value} if isinstance(value, dict) else value
