"""The keys of a sweep file in words, read from its schema: `python -m platform.sweep --keys`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from platform.sweepfile.fields import keys_of, sections
from platform.sweepfile.schema import schema

if TYPE_CHECKING:
    from rich.table import Table

_NAMES = {"integer": "whole number", "boolean": "true | false", "string": "text", "object": "mapping", "null": "null"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_FORMS = {"Choice": "Of a choice", "Range": "Of a range"}
"""Forms of a parameter besides a constant."""
_TAKES_WIDTH = 32

Row = tuple[str, str, str, str]
"""Key, values that it takes, default ("" where there is none), meaning."""


def rows() -> list[Row]:
    """Every key of a sweep file, in the order of `platform.sweepfile.fields`, sections after their own line."""
    whole = schema()
    defs: dict[str, Any] = whole["$defs"]
    found: list[Row] = []
    for key, field in whole["properties"].items():
        found.append(_row(key, field, whole, defs))
        found += _inner(key, defs)
        if key == "parameters":
            for form, said in _FORMS.items():
                found += [(f"{key}.*.{name}", _takes(below, defs), "", f"{said}. {below['description']}")
                          for name, below in defs[form]["properties"].items()]  # fmt: skip
    return found


def table() -> Table:
    """The rows for a terminal."""
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    made.add_column("key", no_wrap=True)
    made.add_column("takes", max_width=_TAKES_WIDTH)
    made.add_column("default", no_wrap=True)
    made.add_column("meaning")
    for row in rows():
        made.add_row(*map(escape, row))
    return made


def _inner(section: str, defs: Mapping[str, Any]) -> Iterator[Row]:
    """One row per key of a section. Where `type` chooses among classes, the meaning names the types with the key."""
    classes = [defs[cls.__name__] for cls in sections().get(section, ())]
    for key in keys_of(section) if classes else ():
        having = [cls for cls in classes if key in cls["properties"]]
        rows = [_row(f"{section}.{key}", cls["properties"][key], cls, defs) for cls in having]
        meaning = rows[0][3]
        if len(classes) > 1:
            types: dict[str, list[str]] = {}
            for cls, row in zip(having, rows, strict=True):
                types.setdefault(row[3], []).append(cls["properties"]["type"]["const"])
            meaning = " ".join(f"{', '.join(names)}: {words}" for words, names in types.items())
        takes = " | ".join(dict.fromkeys(row[1] for row in rows))
        default = next((row[2] for row in rows if row[2] != "required"), "required")
        yield f"{section}.{key}", takes, default, meaning


def _row(key: str, field: Mapping[str, Any], around: Mapping[str, Any], defs: Mapping[str, Any]) -> Row:
    takes, default = _takes(field, defs), field.get("default", "")
    if key.rpartition(".")[2] in around.get("required", ()):
        default = "required"
    elif default is None:
        default = "auto" if "auto" in takes.split(" | ") else "null"
    elif isinstance(default, dict | list):  # those of a section stand with its keys
        default = ""
    said_by = defs[field["$ref"].rpartition("/")[2]] if "$ref" in field else around
    meaning = field.get("description") or said_by["description"]
    return key, takes, default if isinstance(default, str) else json.dumps(default), " ".join(meaning.split())


def _takes(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """The values that a key takes, in words: `a | b`, `whole number at least 1`."""
    return " | ".join(dict.fromkeys(_kinds(field, defs)))


def _kinds(field: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in field:
        yield "mapping"
    elif "anyOf" in field:
        for arm in field["anyOf"]:
            yield from _kinds(arm, defs)
    elif "enum" in field:
        yield from map(str, field["enum"])
    elif "const" in field:
        yield str(field["const"])
    elif field.get("type") == "array":
        yield f"list of {_takes(field['items'], defs).replace('mapping', 'mappings')}" if field.get("items") else "list"
    elif isinstance(field.get("type"), list):
        yield "scalar"
    else:
        kind = str(field.get("type", "any"))
        bounds = [f"{said} {field[bound]}" for bound, said in _BOUNDS.items() if bound in field]
        yield " ".join([_NAMES.get(kind, kind), " and ".join(bounds)]).strip()
