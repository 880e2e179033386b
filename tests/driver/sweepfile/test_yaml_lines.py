"""YAML 1.2 scalars, a line for every entry, and nothing that PyYAML would pass in silence."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.sweepfile.yaml_lines import join, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e3", 1000.0),
        ("-1E+2", -100.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("+.inf", math.inf),
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("none", "none"),
        ("=", "="),
        ("'1e-3'", "1e-3"),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    document = read(f"key: {text}")
    assert document.problems == []
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_nan_is_read_as_a_number() -> None:
    assert math.isnan(read("a: .nan").data["a"])


def test_every_entry_has_its_line() -> None:
    document = read("a: 1\nb:\n  c.d:\n    - 1\n    - e: 2\n\nf: [x,\n  y]\n")
    assert {path: document.lines[path] for path in ("a", "b", "b.c.d", "b.c.d[1]", "b.c.d[1].e", "f", "f[1]")} == {
        "a": 1,
        "b": 2,
        "b.c.d": 3,
        "b.c.d[1]": 5,
        "b.c.d[1].e": 5,
        "f": 7,
        "f[1]": 8,
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "a: must stand once, but got it again (first on line 1); remove one"),
        ("x:\n  a.b: 1\n  a.b: 1", 3, "x.a.b: must stand once, but got it again (first on line 2); remove one"),
        ("a:\n\tb: 1", 2, "must be indented with spaces, but got a tab; replace it by spaces"),
        (
            "a: !!python/object/apply:os.system [x]",
            1,
            "a: must be plain YAML, but got the tag !!python/object/apply:os.system; remove the tag",
        ),
        ("a: !mine 3", 1, "a: must be plain YAML, but got the tag !mine; remove the tag"),
        ("a: !!int x", 1, "a: must be of the kind int, but got 'x'; correct it"),
        ("a: !!bool x", 1, "a: must be of the kind bool, but got 'x'; correct it"),
        ("a: *b", 1, "found undefined alias 'b'; put a text that starts with * or & in quotes"),
        ("a: &x [*x]", 1, "a[0]: must not hold itself, but got an alias to a part around it; remove it"),
        ("a: 1\n---\nb: 2", 2, "must hold one document, but got a second one; remove the line '---' before it"),
        ("a: b: c", 1, "put a text that holds ': ' in quotes"),
        ("a: [1", 1, "must be valid YAML"),
        ("a: 1\nb: \x00", 2, "must be printable text, but got character #x0000; remove it"),
        ("? [1]\n: 2", 1, "the file: a key must be a plain word, but got [1]; put it in quotes"),
        ("a: " + "1" * 5000, 1, "a: must be of the kind int"),
    ],
)
def test_what_is_no_plain_yaml_is_told_with_its_line(text: str, line: int, message: str) -> None:
    [(where, what)] = read(text).problems
    assert where == line
    assert message in what


def test_an_anchor_can_be_used_again() -> None:
    document = read("a: &x {b: 1}\nc: *x")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.problems == []


def test_an_empty_text_holds_nothing() -> None:
    assert read("").data is None
    assert read("# only a comment\n").data is None


def test_paths_are_joined_by_dots_and_places() -> None:
    assert join(join(join("", "a"), 0), "b.c") == "a[0].b.c"


@settings(max_examples=50)
@given(st.text(max_size=80))
def test_any_text_is_read_or_told(text: str) -> None:
    document = read(text)
    assert all(line >= 1 and message for line, message in document.problems)
