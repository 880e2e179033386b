"""YAML text -> plain data and the line of every entry.

YAML 1.2 scalars (`1e-3` is a number, `on` a string, `010` ten, `12:30` a string), no tags, no duplicate keys. PyYAML
itself reads YAML 1.1, silently keeps the last of two equal keys and builds Python objects from tags.

A person writes a sweep file, so a text far beyond that is refused before it costs time or memory. The first limit that
a text breaks is its only problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from platform.errors import short

_CORE = {
    "null": r"^(?:~|null|Null|NULL|)$",
    "bool": r"^(?:true|True|TRUE|false|False|FALSE)$",
    "int": r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$",
    "float": r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
}
_TAG = "tag:yaml.org,2002:"

LARGEST_FILE = 2**20
"""Bytes of a sweep file. The largest that is shipped has 4 KiB, and PyYAML reads 1 MiB of it in a second or two."""
MOST_ENTRIES = 10_000
"""Keys and values of a file, each alias counted with all that it stands for: nine levels of nine aliases are 10^9."""
DEEPEST = 32
"""Levels of lists and mappings, one in another. PyYAML calls itself for each, and Python ends at about 300."""
LARGEST_NUMBER = 2**63 - 1
"""Largest whole number. Databases, Ray and torch hold 64 bits, and Python prints no number of over 4,300 digits."""
LONGEST_TEXT = 4096
"""Characters of one key or value: the longest path that Linux takes."""


class _Beyond(Exception):  # noqa: N818
    """A text that breaks one of the limits above: its line (from 1), and `rule, but got value; remedy`."""

    def __init__(self, line: int, message: str) -> None:
        self.problem = line, message
        super().__init__(message)


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema, and with limits."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own)
    _entries = _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, unless it is one too many or too deep."""
        self._entries, self._depth = self._entries + 1, self._depth + 1
        _refuse_beyond(self._entries, self._depth, self.line + 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _refuse_beyond(entries: int, depth: int, line: int) -> None:
    if entries > MOST_ENTRIES:
        rule = f"must have at most {MOST_ENTRIES} keys and values, each alias counted with all that it stands for"
        raise _Beyond(line, f"the file: {rule}, but got more; write a range (min, max) for a list, or fewer aliases")
    if depth > DEEPEST:
        rule = f"must have at most {DEEPEST} lists and mappings, one in another"
        raise _Beyond(line, f"the file: {rule}, but got more; take brackets or indentation away")


for _kind, _pattern in _CORE.items():  # None: whatever the first character is
    Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), None)


@dataclass
class Document:
    """The content of a text: plain data, the line (from 1) of each path, and the problems as (line, message)."""

    data: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    entries: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)


def read(text: str) -> Document:
    """Read the plain data in `text`, with a line for every path; `problems` says what cannot be read."""
    document = Document()
    try:
        node = yaml.compose(text, Loader)
        if node is not None:
            document.data = _plain(node, "", document, ())
    except _Beyond as error:
        return Document(problems=[error.problem])
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems.append((mark.line + 1 if mark else 1, _syntax(error)))
        return document
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append(
            (line, f"must be printable text, but got character #x{error.character:04x}; remove it")
        )
    return document


def join(path: str, key: object) -> str:
    """The path of an entry below `path`: `a.b`, or `a[0]` in a list."""
    if isinstance(key, int) and not isinstance(key, bool):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    what = error.problem or error.context or "no valid YAML"
    if "'\\t'" in what:
        return "must be indented with spaces, but got a tab; replace it by spaces"
    if "expected a single document" in str(error):
        return "must hold one document, but got a second one; remove the line '---' before it"
    if "undefined alias" in what or "expected alphabetic or numeric character" in what:
        return f"must be valid YAML, but {what}; put a text that starts with * or & in quotes"
    if "mapping values are not allowed" in what:
        return f"must be valid YAML, but {what}; put a text that holds ': ' in quotes, and check the indentation above"
    return f"must be valid YAML, but {what}; check this line and the one above"


def _plain(node: yaml.Node, path: str, document: Document, above: tuple[yaml.Node, ...]) -> Any:
    line = node.start_mark.line + 1
    document.entries += 1
    _refuse_beyond(document.entries, len(above) + 1, line)
    document.lines.setdefault(path, line)
    if any(node is other for other in above):
        document.problems.append(
            (line, f"{path}: must not hold itself, but got an alias to a part around it; remove it")
        )
        return None
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(node, path, document, (*above, node))
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        inner = (*above, node)
        return [_plain(item, f"{path}[{index}]", document, inner) for index, item in enumerate(node.value)]
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.ScalarNode) and kind in (*_CORE, "str"):
        if kind != "int" and len(node.value) > LONGEST_TEXT:
            rule = f"must have at most {LONGEST_TEXT} characters, but got {short(node.value)} of {len(node.value)}"
            raise _Beyond(line, f"{path[:LONGEST_TEXT]}: {rule}; shorten it")
        if found := yaml.reader.Reader.NON_PRINTABLE.search(node.value):  # "\0": YAML refuses it where it is unescaped
            character = f"#x{ord(found.group()):04x}"
            raise _Beyond(line, f"{path}: must be printable text, but got character {character}; remove it")
        try:
            return _scalar(kind, node.value)
        except ValueError:
            remedy = "correct it" if len(node.value) < len(str(LARGEST_NUMBER)) else "write one that 64 bits hold"
            rule = f"must be of the kind {kind}, but got {short(node.value)}"
            document.problems.append((line, f"{path}: {rule}; {remedy}"))
            return None
    shown = node.tag.replace(_TAG, "!!")
    document.problems.append((line, f"{path}: must be plain YAML, but got the tag {shown}; remove the tag"))
    return None


def _mapping(node: yaml.MappingNode, path: str, document: Document, above: tuple[yaml.Node, ...]) -> dict[Any, Any]:
    data: dict[Any, Any] = {}
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _plain(key_node, f"{path}.<key>", document, above)
        if isinstance(key, dict | list):
            document.problems.append(
                (line, f"{path or 'the file'}: a key must be a plain word, but got {short(key)}; put it in quotes")
            )
            continue
        below = f"{path}.{key}" if path else str(key)
        if key in data:
            document.problems.append(
                (line, f"{below}: must stand once, but got it again (first on line {first[below]}); remove one")
            )
            continue
        first[below] = document.lines[below] = line
        data[key] = _plain(value_node, below, document, above)
        if document.problems and document.problems[-1][1].startswith(f"{below}: "):
            del data[key]  # told already: it has no value that could be told again
    return data


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        if not re.match(_CORE["bool"], text):
            raise ValueError(text)
        return text.lower() == "true"
    if kind == "int":
        number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if abs(number) > LARGEST_NUMBER:
            raise ValueError(text)
        return number
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
