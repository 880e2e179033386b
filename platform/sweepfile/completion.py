"""Words that Tab offers for a command: options, sweep files, and what `--set` takes, by argcomplete.

argcomplete runs the command itself with a variable set, and the command answers with the words instead of running. It
looks for its marker in the first lines of a command's module.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, Literal, get_args, get_origin

from platform.sweepfile.fields import SweepFields, sections
from platform.sweepfile.keys import rows
from platform.sweepfile.yaml_lines import read
from trainables.config import Field, field_names
from trainables.runtime import registry


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit, where it asks for words; nothing else."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete
    from argcomplete.completers import FilesCompleter

    completers: dict[str, Any] = {
        "file": FilesCompleter(("yaml", "yml")),
        "overrides": _settings,
        "address": lambda **_: ("auto", "inline"),
    }
    for action in parser._actions:  # which argcomplete reads as well: argparse has no other way to them
        action.completer = completers.get(action.dest, _nothing)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options="long")


def _nothing(**_: object) -> tuple[str, ...]:
    return ()


def _settings(prefix: str, parsed_args: argparse.Namespace, **_: object) -> dict[str, str]:
    """`key=` for each key and field of the file's trainable, and `key=value` of few values; each with its meaning."""
    fields = {f"parameters.{name}": field for name, field in _fields(parsed_args).items()}
    key, equals, _value = prefix.partition("=")
    if not equals:
        meanings = {row[0]: row[3] for row in rows() if row[0] not in sections() and "*" not in row[0]}
        meanings |= {name: field.doc for name, field in fields.items()}
        return {f"{each}=": meaning.partition(". ")[0] for each, meaning in meanings.items()}
    docs = dict(fields[key].choice_docs) if key in fields else {}
    known = SweepFields.model_fields.get(key)
    hint = fields[key].type if key in fields else known and known.annotation
    return {f"{key}={value}": docs.get(value, "") for value in _choices(hint)}


def _fields(parsed_args: argparse.Namespace) -> dict[str, Field]:
    """The fields of the trainable in the sweep file that is typed; none where it cannot be read."""
    try:
        data = read(parsed_args.file.read_text(encoding="utf-8")).data
        return field_names(registry.load(data["trainable"]).config)
    except Exception:  # half a word, half a file, or a user's own module: Tab says nothing then
        return {}


def _choices(hint: Any) -> tuple[str, ...]:
    """The words that a type allows, where it names them."""
    if hint is bool:
        return ("true", "false")
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    return tuple(text for arm in get_args(hint) for text in _choices(arm))
