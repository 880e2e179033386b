"""A sweep against its trainable: metrics, fields, every end of every range, conditions, first points, data.

Nothing is started and neither torch nor Ray is imported. Problems are found here, before a machine is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from platform.errors import did_you_mean
from platform.space import cells, points
from platform.space.space import Space
from platform.sweepfile import secrets
from platform.sweepfile.early_stopping import Hyperband
from platform.sweepfile.expression import parse
from platform.sweepfile.foreign_forms import form
from platform.sweepfile.parameters import Constant, ends, with_fractions
from platform.sweepfile.spec import SweepSpec, countless, invalid, read
from trainables import config as configs
from trainables.exceptions import text_of
from trainables.references import resolve_values
from trainables.runtime import registry
from trainables.runtime.registry import Trainable

_DATA = "data."
"""Fields of the part that names data."""


def check(spec: SweepSpec) -> Space:
    """Check everything about the space of a sweep and return it.

    Raises:
        InvalidSweep: with every problem at once.
    """
    space, problems = _problems(_with_fractions(spec), frozenset())
    if space is None or problems:
        raise invalid(spec.path, problems)
    return space


def open_sweep(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), *, outside: bool = True
) -> tuple[SweepSpec, Space]:
    """Read and check a sweep file; problems of the file and of the space are told together.

    Args:
        path: the file.
        overrides: `key=value` each, see `spec.load`.
        outside: whether the trainable looks for its data on this machine; not where it will run on another.

    Raises:
        InvalidSweep: with every problem at once.
    """
    reading = read(path, overrides)
    problems, space = list(reading.problems), None
    spec = reading.spec
    if spec is not None:
        spec = _with_fractions(spec)
        space, more = _problems(spec, reading.unread, outside=outside)
        problems += more
        if outside:
            problems += [(spec.origin(path), f"{path}: {text}") for path, text in secrets.missing(reading.references)]
    if spec is None or space is None or problems:
        raise invalid(Path(path), problems)
    return spec, space


def notes(spec: SweepSpec, space: Space) -> list[str]:
    """The trainable's notes on a checked sweep, such as those on its data; each sentence once."""
    trainable = registry.load(spec.trainable)
    if trainable.notes is None:
        return []
    settings = _configs(space, trainable, configs.field_names(trainable.config))
    return list(dict.fromkeys(text for config in settings for text in trainable.notes(config)))


def space_of(spec: SweepSpec) -> Space:
    """The space of a sweep with its trainable's defaults and conditions, unchecked."""
    return _space(_with_fractions(spec), registry.load(spec.trainable))


def due_of(spec: SweepSpec, known: int = 0) -> int:
    """The trials of the whole sweep. A grid's points are known only where its trainable can be imported."""
    try:
        return points.due(spec, space_of(spec), known) if spec.method == "grid" else spec.num_trials
    except registry.InvalidTrainable:
        return spec.num_trials


def _space(spec: SweepSpec, trainable: Trainable) -> Space:
    def resolve(values: Mapping[str, Any]) -> dict[str, Any]:
        return configs.flatten(configs.build(trainable.config, values))

    space = Space.of(spec, trainable.constraints, resolve)
    if reports := trainable.reports:
        space.reports = lambda values: reports(configs.build(trainable.config, values))
    return space


def _problems(
    spec: SweepSpec, unread: frozenset[str], *, outside: bool = True
) -> tuple[Space | None, list[tuple[int | str, str]]]:
    """The space, where there is a trainable, and every problem as (origin, `path: rule, but got value; remedy`)."""
    try:
        trainable = registry.load(spec.trainable)
    except registry.InvalidTrainable as error:
        return None, [(spec.origin("trainable"), f"trainable: {error}")]
    except Exception as error:  # a user's own module may fail in any way, which is its author's to read
        problem = (
            f"config.py of {spec.trainable} must import, but got {type(error).__name__}: {text_of(error)}; correct it"
        )
        return None, [(spec.origin("trainable"), f"trainable: {problem}")]
    space, config = _space(spec, trainable), trainable.config
    fields = configs.field_names(config)

    def build(values: Mapping[str, Any]) -> tuple[str, ...]:
        try:
            configs.build(config, {name: value for name, value in values.items() if name in fields})
        except configs.ConfigError as error:
            return error.problems
        return ()

    problems: list[tuple[str, str]] = []
    if "metric" not in unread:
        problems += _metrics(spec, trainable)
    if spec.resources.workers > 1 and not trainable.several_ranks:
        rule = f"must be 1, as {spec.trainable} trains on one rank, but got {spec.resources.workers}"
        remedy = "leave it out, or write SEVERAL_RANKS = True in its config.py if its run trains on several ranks"
        problems.append(("resources.workers", f"{rule}; {remedy}"))
    problems += _condition_names(spec, space, fields)
    unfit = [*_no_fields(space, trainable, fields), *countless(spec)]
    unfit += points.values(space, build, configs.NO_FIELD)
    if not unfit and "parameters" not in unread:  # only then do points mean anything
        unfit = list(points.combinations(space, build, configs.NO_FIELD)) or list(points.conditions(spec, space))
        if not unfit:
            problems += points.initial_points(spec, space)
            problems += cells.refused(space, spec.compare.by if spec.compare else ())
            problems += _brackets(spec, space)
            problems += _outside(space, trainable, fields) if outside else ()
    problems += unfit
    forms = _foreign_forms(space)
    problems = [(path, _with_remedy(text, forms.get(path))) for path, text in problems]
    return space, [(spec.origin(path), f"{path}: {text}") for path, text in dict.fromkeys(problems)]


def _foreign_forms(space: Space) -> dict[str, str]:
    """Texts such as `uniform(0, 1)` in the form of a sweep file, by path; for each that its field does not take."""
    texts = ((here.path, here.parameter.value) for here in space.places if isinstance(here.parameter, Constant))
    return {path: text for path, value in texts if isinstance(value, str) and (text := form(value))}


def _with_remedy(text: str, meant: str | None) -> str:
    if meant is None or "must be a list" in text or configs.NO_FIELD in text:
        return text
    return f"{text.rpartition('; ')[0] or text}; write {meant}"


def _metrics(spec: SweepSpec, trainable: Trainable) -> Iterator[tuple[str, str]]:
    known = [name for name in trainable.metrics if name.startswith("valid/")]
    for index, metric in enumerate(spec.metrics):
        if metric.name not in trainable.metrics:
            yield (
                "metric.name" if len(spec.metrics) == 1 else f"metric[{index}].name",
                f"must be a metric that {spec.trainable} reports, but got {metric.name!r}; "
                f"{did_you_mean(metric.name, known)}",
            )


def _brackets(spec: SweepSpec, space: Space) -> Iterator[tuple[str, str]]:
    """Hyperband without the number of reports that its brackets follow from."""
    stopping = spec.early_stopping
    if not isinstance(stopping, Hyperband):
        return
    reports = stopping.max_reports or points.most_reports(space)
    if reports is None:
        rule = f"must be known under hyperband, but {spec.trainable} does not say its reports"
        remedy = "write max_reports: 12 or another number, or add reports(config) to its config.py"
        yield "early_stopping.max_reports", f"{rule}; {remedy}"
    elif reports < stopping.min_reports:
        rule = f"must be at most the {reports} reports of a whole trial, but got {stopping.min_reports}"
        yield "early_stopping.min_reports", f"{rule}; lower it"


def _condition_names(spec: SweepSpec, space: Space, fields: Mapping[str, configs.Field]) -> Iterator[tuple[str, str]]:
    known = list(dict.fromkeys([*(place.name for place in space.places), *fields]))
    for index, text in enumerate(spec.constraints):
        for name in parse(text).names:
            if name not in known:
                same = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
                remedy = f"did you mean {same[0]!r}?" if same else did_you_mean(name, known)
                yield (
                    f"constraints[{index}]",
                    f"must read parameters of {spec.trainable}, but got {name!r} in {text!r}; {remedy}",
                )


def _no_fields(space: Space, trainable: Trainable, fields: Mapping[str, configs.Field]) -> Iterator[tuple[str, str]]:
    """Names that the config has under no choice. Points are built without them, or each would tell them all again."""
    for place in space.places:
        if place.name not in fields:
            try:
                configs.build(trainable.config, {place.name: ends(place.parameter)[0]})
            except configs.ConfigError as error:
                own = [text for text in error.problems if text.startswith(f"{place.name}: ")]
                yield from ((place.path, text.removeprefix(f"{place.name}: ")) for text in own)


def _with_fractions(spec: SweepSpec) -> SweepSpec:
    """The sweep with `{min: 0, max: 1}` as all numbers between where the field takes fractions."""
    try:
        fields = configs.field_names(registry.load(spec.trainable).config)
    except Exception:  # told by the check
        return spec
    takes = {name for name, field in fields.items() if _has_fractions(field.type)}
    return spec.model_copy(update={"parameters": with_fractions(spec.parameters, takes.__contains__)})


def _has_fractions(hint: Any) -> bool:
    if hint is float:
        return True
    arms = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    return any(_has_fractions(arm) for arm in arms) and int not in arms


def _outside(space: Space, trainable: Trainable, fields: Mapping[str, configs.Field]) -> Iterator[tuple[str, str]]:
    """Problems of the trainable's own `check`, called once per setting of the fields that name things outside."""
    if trainable.check is None:
        return
    for config in _configs(space, trainable, fields):
        for text in trainable.check(config):
            name, colon, rest = text.partition(": ")
            yield (f"parameters.{name}", rest) if colon and name in fields else ("parameters", text)


def _configs(space: Space, trainable: Trainable, fields: Mapping[str, configs.Field]) -> Iterator[Any]:
    """One config per setting of the fields that name things outside."""
    seen: set[tuple[Any, ...]] = set()
    for values in points.settings(space):
        try:
            config = configs.build(trainable.config, resolve_values(values))
        except ValueError:  # a variable that is not set, which is told by itself
            continue
        flat = configs.flatten(config)
        named = tuple((name, repr(value)) for name, value in flat.items() if _names_outside(fields[name]))
        if named not in seen:
            seen.add(named)
            yield config


def _names_outside(field: configs.Field) -> bool:
    """True if a field may name something outside the program: data, or a free text such as a path or a model's name."""
    return field.name.startswith(_DATA) or field.type is str or str in get_args(field.type)
