"""Conditions are read by a small language and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.sweepfile.expression import ExpressionError, parse

VALUES = {"a": 2, "b": 0.5, "adapter.order": 3, "name": "add", "flag": True, "none": None, "list": [1, 2]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <= 3", True),
        ("a <= 1 or b >= 0.1", True),
        ("a <= 1 and b >= 0.1", False),
        ("not a == 2", False),
        ("1 <= a < adapter.order", True),
        ("1 <= a < 2", False),
        ("a + adapter.order * 2 - 1 == 7", True),
        ("adapter.order // a == 1 and adapter.order % a == 1 and adapter.order / a == 1.5", True),
        ("-a < +1", True),
        ("name in ['add', 'mul']", True),
        ("name not in ('add',)", False),
        ("a in {1, 2}", True),
        ("a in list", True),
        ("name == 'add'", True),
        ("name != 'add'", False),
        ("flag", True),
        ("flag == true and none == null", True),
        ("flag == True and none == None", True),
        ("  a == 2  ", True),
    ],
)
def test_a_condition_says_whether_it_holds(text: str, expected: bool) -> None:
    assert parse(text).evaluate(VALUES) is expected


def test_a_dotted_chain_is_one_name() -> None:
    assert parse("adapter.deep.order <= a or adapter.deep.order in [1]").names == ("adapter.deep.order", "a")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("__import__('os') == 1", "__import__('os')"),
        ("a[0] == 1", "a[0]"),
        ("(lambda: 1) == 1", "lambda: 1"),
        ("[x for x in a] == 1", "[x for x in a]"),
        ("a ** 9 < 1", "a ** 9"),
        ("f'{a}' == 1", "f'{a}'"),
        ("a == {1: 2}", "{1: 2}"),
        ("(a if b else c) < 1", "a if b else c"),
        ("a.b().c < 1", "a.b().c"),
        ("a == b'x'", "b'x'"),
        ("a < 1j", "1j"),
        ("a & b", "a & b"),
        ("~a < 1", "~a"),
        ("a == [1, 2]", "[1, 2]"),
        ("(a := 3) < 4", "a := 3"),
    ],
)
def test_what_is_not_in_the_language_is_refused_by_name(text: str, part: str) -> None:
    with pytest.raises(ExpressionError, match="a condition may hold") as caught:
        parse(text)
    assert f"but got {part!r}; rewrite it without that part" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <= ", "which does not parse"),
        ("a = 3", "write '==' to compare"),
        ("a < 3 && b > 1", "write 'and' for '&&'"),
        ("a < 3 || b > 1", "write 'or' for '||'"),
        ("!a", "write 'not' for '!'"),
        ("", "got an empty text; remove it or write one"),
        ("a is 3", "write '==' or '!='"),
        ("a + 1", "must be a condition, but got 'a + 1'; compare it with something, such as <= 0"),
        ("'text'", "must be a condition"),
        ("not (a + 1)", "must be a condition"),
        ("a == 1\nb == 2", "which does not parse"),
        ("a <= 1" + " or a <= 1" * 200, "at most 1000 characters, but got 2006; split it"),
        ("(" * 400 + "a" + ")" * 400, "which does not parse"),
        ("import os", "which does not parse"),
    ],
)
def test_a_text_that_is_no_condition_is_told_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing < 1", "'missing < 1' reads missing, which has no value"),
        ("name < 1", "must compute with numbers, but 'name' is 'add'; compare it by =="),
        ("name + 1 < 1", "must compute with numbers, but 'name' is 'add'"),
        ("flag + 1 < 1", "must compute with numbers, but 'flag' is True"),
        ("a / (b - 0.5) < 1", "division by zero in 'a / (b - 0.5)'"),
        ("a in name", "'in' must look into a list, but 'name' is 'add'; write ['a', 'b']"),
    ],
)
def test_values_that_do_not_fit_are_told(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text).evaluate(VALUES)
    assert message in str(caught.value)


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_text_either_parses_or_is_refused(text: str) -> None:
    try:
        expression = parse(text)
    except ExpressionError:
        return
    assert isinstance(expression.names, tuple)


@settings(max_examples=50)
@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_arithmetic_and_order_agree_with_python(a: int, b: int, c: int) -> None:
    text = "a + b * c <= a - c or not (a < b <= c) and c != 0"
    assert parse(text).evaluate({"a": a, "b": b, "c": c}) is (a + b * c <= a - c or (not (a < b <= c) and c != 0))
