"""Flat values -> frozen dataclasses, and back: the strict reading of a trainable's `Config`.

Standard library only, so that a sweep file can be checked without torch. A `Config` is a frozen, keyword-only
dataclass:

* a scalar field is `bool`, `int`, `float` (an int is taken), `str`, `Literal[...]`, `tuple[int, ...]`, any of them
  `| None`, and may carry a limit: `Annotated[int, at_least(1)]`;
* a nested dataclass is a *part*; its fields are `part.field` in the flat form;
* a part that is chosen by name is a union of dataclasses that each hold `name: Literal["..."] = "..."`. A field that
  the chosen class lacks is refused, and the choice that has it is named.

Nothing is converted but int to float and list to tuple: "64" is no number and True is no 1.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

from trainables.fields import (
    Limit,
    WrongValueError,
    above,
    at_least,
    at_most,
    between,
    did_you_mean,
    docs_of,
    read_value,
    type_name,
)

__all__ = [
    "ConfigError",
    "Field",
    "Limit",
    "above",
    "at_least",
    "at_most",
    "between",
    "build",
    "field_names",
    "flatten",
    "settings_of",
]

C = TypeVar("C")

NO_FIELD = "must be a field of"
"""Begins the rule for a name that is no field, whatever the value."""


class ConfigError(ValueError):
    """Values that make no config; `problems` holds every one, each as `path: rule, but got value; remedy`."""

    def __init__(self, problems: list[str] | tuple[str, ...]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One scalar field of a config, under its dotted name."""

    name: str
    type: Any
    """The annotation, limits included."""
    type_text: str
    """The type as a person reads it: `int, at least 1`."""
    default: object
    doc: str
    """The docstring below the field, or ""."""
    choices: tuple[str, ...] = ()
    """`part.name=choice` of each choice that has this field; empty where it is always there."""
    choice_docs: tuple[tuple[str, str], ...] = ()
    """Of a field that chooses a class: each name with the first paragraph of its class's docstring."""


def build(cls: type[C], values: Mapping[str, object]) -> C:
    """The config of class `cls` with `values` (flat: `{"adapter.taylor_order": 3}`) in place of its defaults.

    Raises:
        ConfigError: with every problem at once.
    """
    problems: list[str] = []
    config = _build((cls,), None, dict(values), "", problems)
    if problems:
        raise ConfigError(problems)
    return typing.cast(C, config)


def flatten(config: Any) -> dict[str, Any]:
    """The resolved config under dotted names, JSON-ready (tuples as lists); `build` takes it back."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat.update({f"{field.name}.{name}": inner for name, inner in flatten(value).items()})
        else:
            flat[field.name] = list(value) if isinstance(value, tuple) else value
    return flat


def settings_of(config: Any, reads: tuple[str, ...]) -> dict[str, Any]:
    """The values of the fields, or of all fields of the parts, that ``reads`` names; for the key of a stage."""
    return {name: value for name, value in flatten(config).items() if name in reads or name.split(".")[0] in reads}


def field_names(cls: type) -> dict[str, Field]:
    """Every dotted scalar field of every choice of `cls`, in the order of the classes."""
    fields: dict[str, Field] = {}
    for field in _walk(cls, None, "", ()):
        earlier = fields.get(field.name)
        if earlier is not None:  # one name in two choices: the first one's type and default stand for both
            field = dataclasses.replace(earlier, choices=tuple(dict.fromkeys(earlier.choices + field.choices)))
        fields[field.name] = field
    return fields


def _walk(cls: type, base: Any, prefix: str, choice: tuple[str, ...]) -> Iterator[Field]:
    """The fields of `cls`, their defaults taken from the instance `base` where there is one."""
    hints, docs = _hints(cls), docs_of(cls)
    for field in dataclasses.fields(cls):
        name, parts = prefix + field.name, _parts(hints[field.name])
        default = getattr(base, field.name) if base is not None else _default(field)
        if not parts:
            hint = hints[field.name]
            yield Field(
                name=name,
                type=hint,
                type_text=type_name(hint),
                default=default,
                doc=docs.get(field.name, ""),
                choices=() if field.name == "name" else choice,
            )
            continue
        for part in parts:
            inner = tuple(f"{name}.name={named}" for named in _names(part)) if len(parts) > 1 else choice
            fields = list(_walk(part, default if type(default) is part else None, f"{name}.", inner))
            if len(parts) > 1:  # `part.name` is one field that takes the names of all choices
                every = Literal[tuple(named for other in parts for named in _names(other))]  # type: ignore[valid-type]
                chooses = Field(
                    name=f"{name}.name",
                    type=every,
                    type_text=type_name(every),
                    default=getattr(default, "name", None),
                    doc=docs.get(field.name, ""),
                    choices=choice,
                    choice_docs=tuple((named, _summary(other)) for other in parts for named in _names(other)),
                )
                fields = [chooses if f.name == chooses.name else f for f in fields]
            yield from fields


def _build(
    parts: tuple[type, ...], default: Any, values: dict[str, object], prefix: str, problems: list[str]
) -> object | None:
    """One part from the values below `prefix` (already stripped of it), or None where there was a problem."""
    before = len(problems)
    cls = _chosen(parts, default, values, prefix, problems)
    if cls is None:
        return None
    base: Any = default if type(default) is cls else None
    hints, fields = _hints(cls), {field.name: field for field in dataclasses.fields(cls)}
    own = {name: value for name, value in values.items() if "." not in name}
    below: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        head, dot, rest = name.partition(".")
        if dot:
            below.setdefault(head, {})[rest] = value
    for name in [*own, *(f"{head}.{rest}" for head, inner in below.items() for rest in inner)]:
        head = name.partition(".")[0]
        if head not in fields or (head in below and not _parts(hints[head]) and name != head):
            problems.append(_unknown(name, values[name], cls, parts, prefix))
    given: dict[str, object] = {}
    for name, field in fields.items():
        inner_parts, path = _parts(hints[name]), prefix + name
        standard = getattr(base, name) if base is not None else _default(field)
        if inner_parts:
            if name in own:
                problems.append(
                    f"{path}: a part is set through its fields, but got {own[name]!r}; write {path}.<field>, "
                    f"for example {path}.{dataclasses.fields(inner_parts[0])[0].name}"
                )
            elif name in below or standard is dataclasses.MISSING:
                given[name] = _build(inner_parts, standard, below.get(name, {}), f"{path}.", problems)
        elif name in own:
            try:
                given[name] = read_value(hints[name], own[name])
            except WrongValueError as wrong:
                problems.append(f"{path}: {wrong}")
        elif standard is dataclasses.MISSING:
            problems.append(f"{path}: must be given, but is not there; it is {type_name(hints[name])}")
    if len(problems) > before:
        return None
    try:
        part: object = cls(**given) if base is None else dataclasses.replace(base, **given)
    except ValueError as error:  # a rule across fields, from the class's own __post_init__
        problems.append(f"{prefix[:-1]}: {error}" if prefix else str(error))
        return None
    return part


def _chosen(
    parts: tuple[type, ...], default: Any, values: dict[str, object], prefix: str, problems: list[str]
) -> type | None:
    """The class of a part: the one that `name` picks, else the default's."""
    if len(parts) == 1:
        return parts[0]
    names = {named: part for part in parts for named in _names(part)}
    if "name" not in values:
        if default is not dataclasses.MISSING:
            return type(default)
        problems.append(f"{prefix}name: must be given, but is not there; it is one of {', '.join(names)}")
        return None
    chosen = values["name"]
    if isinstance(chosen, str) and chosen in names:
        return names[chosen]
    hint = did_you_mean(chosen, names, f"choose from {', '.join(names)}")
    problems.append(f"{prefix}name: must be one of {', '.join(names)}, but got {chosen!r}; {hint}")
    return None


def _unknown(name: str, value: object, cls: type, parts: tuple[type, ...], prefix: str) -> str:
    """The message for a field that `cls` does not have: the choice that has it, or the nearest name."""
    having = [part for part in parts if part is not cls and name in field_names(part)]
    if having and _names(cls):
        others = " or ".join(named for part in having for named in _names(part))
        return (
            f"{prefix}{name}: {NO_FIELD} {prefix}name: {_names(cls)[0]}, which has none of that name, but got "
            f"{value!r}; it belongs to {prefix}name: {others}"
        )
    names, hints = field_names(cls), _hints(cls)
    same = [other for other in names if other.rpartition(".")[2] == name.rpartition(".")[2]]
    level = (field.name + (".*" if _parts(hints[field.name]) else "") for field in dataclasses.fields(cls))
    fields = f"the fields are {', '.join(prefix + field for field in level)}"
    hint = did_you_mean(same[0] if same else name, names, fields, lambda near: prefix + near)
    return f"{prefix}{name}: {NO_FIELD} {cls.__name__}, but got {value!r}; {hint}"


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _parts(hint: Any) -> tuple[type, ...]:
    """The dataclasses that a hint offers: one for a plain part, several for a choice, none for a scalar."""
    if dataclasses.is_dataclass(hint):
        return (typing.cast(type, hint),)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(typing.cast(type, arm) for arm in typing.get_args(hint) if dataclasses.is_dataclass(arm))
    return ()


def _names(cls: type) -> tuple[str, ...]:
    """The names under which a class can be chosen: the values of its `name: Literal[...]`."""
    hint = _hints(cls).get("name")
    return tuple(typing.get_args(hint)) if typing.get_origin(hint) is Literal else ()


def _summary(cls: type) -> str:
    """The first paragraph of a class's own docstring."""
    text = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0]
    return "" if text.startswith(f"{cls.__name__}(") else text  # which `dataclass` writes where there is none


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
