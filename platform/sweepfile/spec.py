"""A sweep file -> `SweepSpec`: frozen, checked, every problem at once (`file:line: path: rule, value; remedy`).

Problems that the file alone shows are found here; `space/check.py` checks the sweep against its trainable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from platform.errors import InvalidSweep, nearest
from platform.sweepfile import secrets
from platform.sweepfile.error_texts import problem_texts
from platform.sweepfile.fields import Compare, Limits, Metric, SweepFields, Tracking
from platform.sweepfile.overrides import apply
from platform.sweepfile.parameters import Choice, Constant, FloatRange, IntRange, Parameter, occurrences, varies
from platform.sweepfile.parse_parameters import read_parameters
from platform.sweepfile.published import Published
from platform.sweepfile.published import read as read_published
from platform.sweepfile.resources import Resources
from platform.sweepfile.yaml_lines import LARGEST_FILE
from platform.sweepfile.yaml_lines import read as read_yaml
from trainables.references import resolve

__all__ = [
    "Choice",
    "Compare",
    "Constant",
    "FloatRange",
    "IntRange",
    "Limits",
    "Metric",
    "Parameter",
    "Reading",
    "Resources",
    "SweepSpec",
    "Tracking",
    "invalid",
    "load",
    "read",
]


class SweepSpec(SweepFields):
    """A sweep as its file says it. Attributes are the file's keys; `metrics` is its `metric`, always a tuple."""

    path: Path
    """The file, as it was named."""
    text: str
    """The file's text as read; `overrides` are not in it."""
    overrides: tuple[str, ...] = ()
    """The `key=value` of each `--set`, in order."""
    _origins: dict[str, int | str] = PrivateAttr(default_factory=dict)

    def line_of(self, path: str) -> int:
        """The line (from 1) of an entry such as `parameters.fit.dropout`, or of the nearest entry around it."""
        origin = self.origin(path)
        return origin if isinstance(origin, int) else 1

    def at(self, path: str) -> str:
        """Origin of an entry: `file:line`, or `--set key=value`."""
        return _at(self.path, self.origin(path))

    def problem(self, path: str, text: str) -> str:
        """One line for a problem with an entry: `file:line: path: text`."""
        return f"{self.at(path)}: {path}: {text}"

    def study_url(self) -> str | None:
        """The URL of `study` with the values of the variables that it names."""
        return self.study and self.resolved("study", self.study)

    def resolved(self, path: str, text: str) -> str:
        """The `text` of an entry with the values of the variables that it names.

        Raises:
            InvalidSweep: one of them is not set.
        """
        try:
            return resolve(text)
        except ValueError as error:
            raise InvalidSweep([self.problem(path, str(error))]) from None

    @property
    def batch(self) -> int | None:
        """Number of trials that a deterministic sweep asks for together; None if the order of ends decides."""
        return self.max_concurrent_trials if self.deterministic else None

    def published(self) -> Published | None:
        """The printed numbers of `compare.published`; None if there is no such file or it cannot be read."""
        if self.compare is None or self.compare.published is None:
            return None
        return read_published(self.path.parent / self.compare.published, self.compare.by, lambda text: None)

    def origin(self, path: str) -> int | str:
        """The line of an entry or of the nearest one around it, or the `--set key=value` that set it."""
        return _nearest_origin(path, self._origins)


@dataclass(frozen=True)
class Reading:
    """The reading of a file: the sweep, and every problem as (origin, `path: rule, but got value; remedy`).

    `unread` names keys that could not be read, or not wholly. `spec` goes on without these keys, so that the other keys
    can be checked. It is None where too little is left. `references` are the entries that name variables of the
    environment, as (path, text).
    """

    spec: SweepSpec | None
    problems: tuple[tuple[int | str, str], ...]
    unread: frozenset[str] = frozenset()
    references: tuple[tuple[str, str], ...] = ()


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> SweepSpec:
    """The sweep that a file describes.

    Args:
        path: the file.
        overrides: `key=value`, dotted; all that follows `parameters.` is one name.

    Raises:
        InvalidSweep: with every problem at once.
    """
    reading = read(path, overrides)
    if reading.problems or reading.spec is None:
        raise invalid(Path(path), reading.problems)
    return reading.spec


def invalid(path: Path, problems: Iterable[tuple[int | str, str]]) -> InvalidSweep:
    """The error that tells all problems in the order of the file, those of overrides last."""
    ordered = sorted(
        problems, key=lambda entry: (isinstance(entry[0], str), entry[0] if entry[0] != str(entry[0]) else 0)
    )
    return InvalidSweep([f"{_at(path, origin)}: {message}" for origin, message in ordered])


def read(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Reading:
    """Read a file and its problems; as `load`, but nothing is raised for a file that can be opened.

    Raises:
        InvalidSweep: there is no file to read.
    """
    path = Path(path)
    text = _text(path)
    document = read_yaml(text)
    problems: list[tuple[int | str, str]] = list(document.problems)
    if not problems and not isinstance(document.data, dict):
        got = "an empty file" if document.data is None else repr(document.data)
        problems.append(
            (1, f"a sweep must be a mapping of keys such as name and trainable, but got {got}; see sweeps/")
        )
    if not isinstance(document.data, dict):
        return Reading(None, tuple(problems))
    data, origins = document.data, dict[str, int | str](document.lines)
    problems += apply(data, overrides, origins)
    secrets.remember_all(data, overrides)
    references = secrets.references(data)

    unreadable = (message.partition(": ")[0] for _, message in document.problems)
    told = {part for path in unreadable for part in accumulate(path.split("."), "{}.{}".format)}

    def problem(where: str, what: str) -> None:
        if where not in told:
            problems.append((_nearest_origin(where, origins), f"{where}: {what}"))

    for where, what in secrets.misplaced(references):
        problem(where, what)
    own = {"path": path, "text": text, "overrides": tuple(overrides)}
    for key in own.keys() & data.keys():  # attributes of ours, no keys of a file
        problem(key, f"must be a key of a sweep, but got {key!r}; remove it")
    fields = {**data, **own}
    before = len(problems)
    if "parameters" in fields:
        fields["parameters"] = read_parameters(fields["parameters"], problem)
    some_left_out = len(problems) > before
    spec, unread = _validated(fields, data, problem)
    if some_left_out:
        unread |= {"parameters"}
    if spec is not None:
        if spec.seeds and "parameters" not in unread:
            if "seed" in spec.parameters:
                problem("parameters.seed", "must be left to seeds.values, but got both; remove it here")
            own = {"seed": Constant(spec.seeds.values[0])}
            spec = spec.model_copy(update={"parameters": {**spec.parameters, **own}})
            origins.setdefault("parameters.seed", origins.get("seeds", 1))
        spec._origins = origins
        _check_together(spec, unread, problem)
    return Reading(spec, tuple(problems), unread, references)


_STAND_INS: dict[str, Any] = {
    "name": "unread", "num_trials": 1, "metric": {"name": "valid/unread", "goal": "maximize"}, "parameters": {},
}  # fmt: skip
"""Values in place of required keys that could not be read, until the other problems are told."""


def _validated(
    fields: dict[str, Any], data: dict[str, Any], problem: Callable[[str, str], None]
) -> tuple[SweepSpec | None, frozenset[str]]:
    try:
        return SweepSpec.model_validate(fields), frozenset()
    except ValidationError as error:
        for where, what in problem_texts(error, data):
            problem(where, what)
        unread = frozenset(str(details["loc"][0]) for details in error.errors())
    left = {key: value for key, value in fields.items() if key not in unread}
    for key in unread & _STAND_INS.keys():
        left[key] = _STAND_INS[key]
    try:
        return SweepSpec.model_validate(left), unread
    except ValidationError:  # no trainable: there is nothing to check the rest against
        return None, unread


def _check_together(spec: SweepSpec, unread: frozenset[str], problem: Callable[[str, str], None]) -> None:
    """The rules between keys, as far as the keys could be read."""
    several = len(spec.metrics) > 1
    if several and spec.early_stopping.type != "none":
        problem(
            "early_stopping",
            f"must be none with several metrics, but got {spec.early_stopping.type}; remove it, or keep one metric",
        )
    if spec.method == "nsga2" and not several and "metric" not in unread:
        problem("method", "nsga2 must have a list of two or more metrics, but got one; list them, or take tpe")
    if spec.method == "cmaes" and several:
        problem("method", f"cmaes must have one metric, but got {len(spec.metrics)}; keep one, or take tpe or nsga2")
    is_whole = spec.method == "grid" and spec.early_stopping.type == "none"
    for here in () if is_whole else occurrences(spec.parameters):
        if here.name == "seed" and varies(here.parameter):
            rule = "must be searched by a grid without early stopping only, as a search would find a lucky one"
            remedy = "write seeds: {values: [0, 1, 2]}, which stands beside parameters"
            problem(here.path, f"{rule}, but got {spec.method} with {spec.early_stopping.type}; {remedy}")
    if spec.seeds and several:
        problem("seeds", f"must choose settings by one metric, but got {len(spec.metrics)}; keep one, or remove seeds")
    for key, value, readers in (
        ("startup_trials", spec.startup_trials, ("tpe", "gp")),
        ("population", spec.population, ("nsga2",)),
    ):
        if value is not None and spec.method not in readers and "method" not in unread:
            problem(key, f"must be of {' or '.join(readers)}, but got {value} under method {spec.method}; remove it")
    if spec.deterministic and spec.max_concurrent_trials is None:
        problem(
            "deterministic",
            "must have a fixed number of trials per batch, but got max_concurrent_trials auto; "
            "write max_concurrent_trials: 4 or another number, the same on every machine",
        )
    ranges = [p for p in spec.parameters.values() if isinstance(p, IntRange | FloatRange)]
    if spec.method in ("cmaes", "qmc") and not ranges and "parameters" not in unread:
        problem(
            "method",
            f"{spec.method} must have a range (min, max) outside branches, but got none; add one, or take tpe",
        )
    for where, what in countless(spec):
        problem(where, what)
    for index, name in enumerate(spec.warm_start):
        if name == spec.name or name in spec.warm_start[:index]:
            what = "this sweep's own name" if name == spec.name else f"{name!r} again"
            problem(f"warm_start[{index}]", f"must name each earlier sweep once, but got {what}; remove it")
    _check_compare(spec, unread, problem)
    if "://" in spec.storage and spec.study is None and "study" not in unread:
        problem(
            "study",
            f"must be a database URL where storage is {spec.storage}, but got None; write "
            "postgresql+psycopg://user@host/database or similar",
        )


def countless(spec: SweepSpec) -> Iterator[tuple[str, str]]:
    """The ranges of a grid without countable points, as (path, problem)."""
    for here in occurrences(spec.parameters) if spec.method == "grid" else ():
        if isinstance(here.parameter, FloatRange) and here.parameter.step is None:
            rule = "a grid must have countable points, but got every number from"
            remedy = "add a step, list values, or take method: tpe"
            yield here.path, f"{rule} {here.parameter.min} to {here.parameter.max}; {remedy}"


def _check_compare(spec: SweepSpec, unread: frozenset[str], problem: Callable[[str, str], None]) -> None:
    if spec.compare is None:
        return
    by, names = spec.compare.by, list(dict.fromkeys(here.name for here in occurrences(spec.parameters)))
    for index, name in enumerate(by):
        if name == "seed":
            problem(f"compare.by[{index}]", "must leave the seed to be averaged over, but got 'seed'; remove it")
        elif name in by[:index]:
            problem(f"compare.by[{index}]", f"must be listed once, but got {name!r} again; remove one")
        elif name not in names and "parameters" not in unread:
            near = nearest(name, names)
            remedy = f"did you mean {near!r}?" if near else f"write {name} under parameters, a constant for its default"
            problem(f"compare.by[{index}]", f"must be a parameter of the sweep, but got {name!r}; {remedy}")
    if len(spec.metrics) > 1:
        problem(
            "compare", f"must choose by one metric, but got {len(spec.metrics)}; keep one metric, or remove compare"
        )
    if spec.compare.published is not None:
        path = spec.path.parent / spec.compare.published
        read_published(path, by, lambda text: problem("compare.published", text))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            rule = f"must be a sweep file of at most {LARGEST_FILE // 2**20} MiB"
            raise InvalidSweep([f"{path}: {rule}, but is larger; name another file, or take its comments away"])
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except (FileNotFoundError, NotADirectoryError):
        near = sorted(str(other) for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        remedy = f"there are {', '.join(near)}" if near else f"{path.parent} holds no .yaml file"
        raise InvalidSweep([f"{path}: must be a sweep file, but there is none; {remedy}"]) from None
    except IsADirectoryError:
        raise InvalidSweep([f"{path}: must be a sweep file, but is a folder; name a file in it"]) from None
    except UnicodeDecodeError as error:
        raise InvalidSweep([f"{path}: must be UTF-8 text, but byte {error.start} is not; save it as UTF-8"]) from None
    except OSError as error:
        raise InvalidSweep([f"{path}: must be readable, but {error.strerror}; see its permissions"]) from None


def _at(path: Path, origin: int | str) -> str:
    return f"{path}:{origin}" if isinstance(origin, int) else origin


def _nearest_origin(path: str, origins: dict[str, int | str]) -> int | str:
    while path not in origins and path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return origins.get(path, 1)
