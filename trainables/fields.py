"""One scalar field of a config: its type, its limits, its docstring. Standard library only."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

_LONGEST_NAME = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")


class WrongValueError(ValueError):
    """A value that a field cannot take: `rule, but got value; remedy`, without the field's name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limit:
    """The interval that a number has to lie in; an open end is itself excluded."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def allows(self, value: float) -> bool:
        """True if `value` lies in the interval."""
        if self.low is not None and (value < self.low or (self.open_low and value == self.low)):
            return False
        return not (self.high is not None and (value > self.high or (self.open_high and value == self.high)))

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'above' if self.open_low else 'at least'} {self.low}"
        high = "" if self.high is None else f"{'below' if self.open_high else 'at most'} {self.high}"
        return " and ".join(end for end in (low, high) if end)


def at_least(low: float) -> Limit:
    """`Annotated[int, at_least(1)]`: low <= value."""
    return Limit(low=low)


def above(low: float) -> Limit:
    """`Annotated[float, above(0)]`: low < value."""
    return Limit(low=low, open_low=True)


def at_most(high: float) -> Limit:
    """`Annotated[int, at_most(9)]`: value <= high."""
    return Limit(high=high)


def between(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Limit:
    """`Annotated[float, between(0, 1, open_high=True)]`: low <= value < high."""
    return Limit(low=low, high=high, open_low=open_low, open_high=open_high)


def require_name(what: str, name: str) -> None:
    """Pass a name that may become a file or a folder: it leads nowhere else, on no file system.

    Raises:
        ValueError: it could.
    """
    if not _NAME.fullmatch(name):
        shown = repr(name) if len(name) <= _LONGEST_NAME else f"{name[:20]!r}... of {len(name)} characters"
        root, slash, own = name.rstrip("/").rpartition("/")
        remedy = f"write data.root: {root or '/'} and data.name: {own}" if slash and what == "name" else "rename it"
        raise ValueError(
            f"{what} must be at most {_LONGEST_NAME} letters, digits, dots, underscores and hyphens, beginning with "
            f"a letter or digit, but got {shown}; {remedy}"
        )


def did_you_mean(name: object, choices: Iterable[str], otherwise: str, show: Callable[[str], str] = repr) -> str:
    """Say what to write for a name that is none of ``choices``: the nearest, or ``otherwise`` where none is near."""
    near = difflib.get_close_matches(str(name), list(choices), n=1)
    return f"did you mean {show(near[0])}?" if near else otherwise


def read_value(hint: Any, value: object) -> object:
    """`value` as the type `hint` has it (an int becomes a float and a list becomes a tuple where it asks for that).

    Raises:
        WrongValueError: with rule, value and remedy.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = read_value(args[0], value)
        for limit in args[1:]:
            if isinstance(limit, Limit) and isinstance(value, int | float) and not limit.allows(value):
                raise WrongValueError(f"must be {limit}, but got {value!r}; choose a value inside")
        return value
    if origin in (typing.Union, types.UnionType):
        return _read_union(hint, args, value)
    if origin is Literal:
        return _read_literal(args, value)
    if origin is tuple:
        return _read_tuple(hint, args, value)
    if hint is float and type(value) in (int, float):
        number = float(typing.cast(float, value))
        if not math.isfinite(number):
            raise WrongValueError(f"must be a finite number, but got {value!r}; write a plain number")
        return number
    if hint in (bool, int, str) and type(value) is hint:
        return value
    if hint is None or hint is type(None):
        if value is None:
            return None
        raise WrongValueError(f"must be null, but got {value!r}; write null")
    raise WrongValueError(f"must be {type_name(hint)}, but got {value!r}{_remedy(hint, value)}")


def _read_union(hint: Any, arms: tuple[Any, ...], value: object) -> object:
    wrong: list[WrongValueError] = []
    for arm in arms:
        try:
            return read_value(arm, value)
        except WrongValueError as error:
            if arm is not type(None):
                wrong.append(error)
    if len(wrong) == 1 and value is not None:
        raise wrong[0]
    raise WrongValueError(f"must be {type_name(hint)}, but got {value!r}{_remedy(hint, value)}")


def _read_literal(choices: tuple[Any, ...], value: object) -> object:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    hint = did_you_mean(value, map(str, choices), "choose one of them", str)
    raise WrongValueError(f"must be one of {', '.join(map(str, choices))}, but got {value!r}; {hint}")


def _read_tuple(hint: Any, arms: tuple[Any, ...], value: object) -> object:
    if not isinstance(value, list | tuple):
        raise WrongValueError(f"must be {type_name(hint)}, but got {value!r}; write [{value}]")
    if len(arms) == 2 and arms[1] is Ellipsis:
        arms = (arms[0],) * len(value)
    if len(arms) != len(value):
        raise WrongValueError(f"must be {type_name(hint)}, but got {list(value)!r}; write {len(arms)} values")
    try:
        return tuple(read_value(arm, item) for arm, item in zip(arms, value, strict=True))
    except WrongValueError as error:
        raise WrongValueError(f"must be {type_name(hint)}, but got {list(value)!r}; one value of it {error}") from None


def _remedy(hint: Any, value: object) -> str:
    """Say what to write instead, where the value shows what was meant."""
    if isinstance(value, str) and hint in (int, float):
        return "; write the number without quotes" if _is_number(value) else "; write a number"
    if hint is int and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if hint is int and isinstance(value, bool):
        return "; write a number, not true or false"
    if hint is bool:
        return "; write true or false"
    if hint is str and isinstance(value, int | float):
        return f'; write "{value}" in quotes'
    return f"; write {type_name(hint)}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def type_name(hint: Any) -> str:
    """A type as a person reads it: `a whole number at least 1`, `one of a, b`, `text or null`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return " ".join([type_name(args[0]), *(str(limit) for limit in args[1:] if isinstance(limit, Limit))])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(arm) for arm in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is tuple:
        inner = type_name(args[0]).removeprefix("a ") if args else "value"
        return f"a list ({inner} each)" if len(args) == 2 and args[1] is Ellipsis else f"a list of {len(args)} values"
    names: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        type(None): "null",
    }
    return names.get(hint, getattr(hint, "__name__", str(hint)))


@functools.cache
def docs_of(cls: type) -> dict[str, str]:
    """Field name -> the string below it in the class's source; empty where the source is not to be had."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                text = below.value
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    docs[field.target.id] = inspect.cleandoc(text.value)
    return docs
