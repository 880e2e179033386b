"""A hundred ways to make a condition do more than compare: none parses to anything, and nothing is ever run."""

import builtins
import os

import pytest

from platform.sweepfile.expression import ExpressionError, parse

CALLS = [
    f"{name}({argument}) == 1"
    for name in ("open", "eval", "exec", "compile", "getattr", "__import__", "globals", "vars", "print", "input")
    for argument in ("'os'", "a", "")
]
ATTRIBUTES = [
    f"{start}.{end}"
    for start in ("''", "(1)", "().__class__", "[].__class__", "{}.__class__", "(a or b)", "(not a)", "f'{a}'")
    for end in ("__class__", "__class__.__mro__", "__init__.__globals__ == 1")
]
FORMS = [
    "a[0] == 1",
    "a[0:1] == 1",
    "'abc'['x'] == 1",
    "(lambda: 1)() == 1",
    "(lambda a: a) == 1",
    "[x for x in a] == 1",
    "{x for x in a} == 1",
    "{x: x for x in a} == 1",
    "(x for x in a) == 1",
    "a in [x for x in b]",
    "a in [print(1)]",
    "a in (open('x'),)",
    "a in {1: 2}",
    "(yield) == 1",
    "(yield from a) == 1",
    "(await a) == 1",
    "(a := open) == 1",
    "a if b else c",
    "*a, b",
    "a, b",
    "a ** 99999 == 1",
    "2 ** 2 ** 99 == 1",
    "a << 99999 == 1",
    "a >> 1 == 1",
    "a | b == 1",
    "a ^ b == 1",
    "a & b == 1",
    "~a == 1",
    "a @ b == 1",
    "'%s' * 10 ** 9 == 1",
    "b'bytes' == a",
    "1j == a",
    "... == a",
    "f'{open}' == a",
    "a == {**b}",
    "a == [*b]",
    "print == 1 if print() else 2",
    "import os",
    "a == 1; import os",
    "a == 1\nimport os",
    "from os import system",
    "def f(): pass",
    "class A: pass",
    "with a: pass",
    "raise a",
    "assert a == 1",
    "del a",
    "a = 1",
    "a += 1",
    "a: int = 1",
    "@a",
    "# a",
    "a == 1 #\nb()",
    "\x00a == 1",
    "(" * 300 + "a" + ")" * 300,
    "-" * 900 + "a",
    "not " * 240 + "a",
    "a" * 1001,
]
HOSTILE = [*CALLS, *ATTRIBUTES, *FORMS]


def test_there_are_a_hundred() -> None:
    assert len(set(HOSTILE)) >= 100


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of functions that could do harm."""
    called: list[str] = []
    for module, name in ((builtins, "eval"), (builtins, "exec"), (builtins, "open"), (os, "system")):
        monkeypatch.setattr(module, name, lambda *args, name=name, **words: called.append(name))
    return called


def test_no_hostile_text_is_run_or_reaches_an_attribute(watched: list[str]) -> None:
    """A text that parses all the same has read its dotted chains as names that no parameter has."""
    values = {"a": 1, "b": 2}
    outcomes = []
    for text in HOSTILE:
        try:
            outcomes.append((text, parse(text).evaluate(values)))
        except ExpressionError:
            continue
    passed = [text for text, _ in outcomes if text.strip() not in ("not " * 240 + "a", "# a")]
    assert watched == []
    assert passed == []
