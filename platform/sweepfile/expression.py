"""Conditions over parameters: `"adapter.taylor_order <= 3 or fit.dropout >= 0.1"`.

Numbers, strings, True, False, None (also in YAML's spelling), comparisons, `+ - * / // %`, `and or not in`, lists of
plain values after `in`, and parameter names: a dotted chain is one name. Nothing else parses, and no text reaches
`eval`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_LONGEST = 1000
_SPELLINGS = {"true": True, "false": False, "null": None}
_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[float, float], float]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
}
_ORDER: dict[type[ast.cmpop], tuple[str, Callable[[float, float], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_FOREIGN = {"&&": "and", "||": "or", "!": "not"}


class ExpressionError(ValueError):
    """A text that is no condition, or a condition that cannot be evaluated for the given values."""


@dataclass(frozen=True)
class Expression:
    """A parsed condition; `names` are the parameters it reads, in the order of their first appearance."""

    text: str
    names: tuple[str, ...]
    _tree: ast.expr

    def evaluate(self, values: Mapping[str, object]) -> bool:
        """True if the condition holds for `values` (flat, dotted names).

        Raises:
            ExpressionError: a name has no value, operands do not fit, or a division by zero.
        """
        return bool(_evaluate(self._tree, values, self.text))


def parse(text: str) -> Expression:
    """The condition that `text` says.

    Raises:
        ExpressionError: naming the part that is not allowed.
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"a condition must have at most {_LONGEST} characters, but got {len(text)}; split it")
    if not text.strip():
        raise ExpressionError("a condition must compare something, but got an empty text; remove it or write one")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        names: dict[str, None] = {}
        _allow(tree, text, names)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(_syntax(text)) from None
    if not _is_condition(tree):
        raise ExpressionError(f"must be a condition, but got {text.strip()!r}; compare it with something, such as <= 0")
    return Expression(text.strip(), tuple(names), tree)


def _syntax(text: str) -> str:
    for foreign, ours in _FOREIGN.items():
        if foreign in text.replace("!=", ""):
            return f"must be a condition, but got {text!r}; write {ours!r} for {foreign!r}"
    bare = text.replace("==", "").replace("<=", "").replace(">=", "").replace("!=", "")
    if "=" in bare:
        return f"must be a condition, but got {text!r}; write '==' to compare"
    return f"must be a condition such as 'a <= 3 or b >= 0.1', but got {text!r}, which does not parse; rewrite it"


def _allow(node: ast.expr, text: str, names: dict[str, None]) -> None:
    """Pass a node that the language has; collect the parameter names."""
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, bool | int | float | str | None):
            raise _refused(node, text)
    elif isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node)
        if name is None:
            raise _refused(node, text)
        if name not in _SPELLINGS:
            names.setdefault(name)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        _allow(node.left, text, names)
        _allow(node.right, text, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.UAdd):
        _allow(node.operand, text, names)
    elif isinstance(node, ast.BoolOp):
        for operand in node.values:
            _allow(operand, text, names)
    elif isinstance(node, ast.Compare):
        _allow(node.left, text, names)
        for comparison, operand in zip(node.ops, node.comparators, strict=True):
            if isinstance(comparison, ast.Is | ast.IsNot):
                raise ExpressionError(f"'is' is not part of a condition, but got {text!r}; write '==' or '!='")
            if isinstance(operand, ast.List | ast.Tuple | ast.Set) and isinstance(comparison, ast.In | ast.NotIn):
                for element in operand.elts:
                    _allow(element, text, names)
            else:
                _allow(operand, text, names)
    else:
        raise _refused(node, text)


def _refused(node: ast.expr, text: str) -> ExpressionError:
    part = ast.get_source_segment(text.strip(), node) or text
    return ExpressionError(
        f"a condition may hold numbers, strings, comparisons, + - * / // %, 'and or not in' and parameter names, "
        f"but got {part!r}; rewrite it without that part"
    )


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.Compare):
        return True
    if isinstance(node, ast.BoolOp):
        return all(_is_condition(operand) for operand in node.values)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not) and _is_condition(node.operand)
    return isinstance(node, ast.Name | ast.Attribute) or (
        isinstance(node, ast.Constant) and isinstance(node.value, bool)
    )


def _evaluate(node: ast.expr, values: Mapping[str, object], text: str) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node)
        assert name is not None
        if name in _SPELLINGS:
            return _SPELLINGS[name]
        if name not in values:
            raise ExpressionError(f"{text!r} reads {name}, which has no value")
        return values[name]
    if isinstance(node, ast.BoolOp):
        wanted = isinstance(node.op, ast.Or)
        return wanted if any(bool(_evaluate(v, values, text)) is wanted for v in node.values) else not wanted
    if isinstance(node, ast.UnaryOp):
        operand = _evaluate(node.operand, values, text)
        if isinstance(node.op, ast.Not):
            return not operand
        number = _number(operand, node.operand, text)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp):
        left = _number(_evaluate(node.left, values, text), node.left, text)
        right = _number(_evaluate(node.right, values, text), node.right, text)
        try:
            return _ARITHMETIC[type(node.op)][1](left, right)
        except (ZeroDivisionError, OverflowError) as error:
            raise ExpressionError(f"{text!r}: {error} in {ast.get_source_segment(text, node)!r}") from None
    assert isinstance(node, ast.Compare)
    left_node, left_value = node.left, _evaluate(node.left, values, text)
    for comparison, right_node in zip(node.ops, node.comparators, strict=True):
        if isinstance(right_node, ast.List | ast.Tuple | ast.Set):
            right_value: object = [_evaluate(element, values, text) for element in right_node.elts]
        else:
            right_value = _evaluate(right_node, values, text)
        if not _compare(comparison, left_node, left_value, right_node, right_value, text):
            return False
        left_node, left_value = right_node, right_value
    return True


def _compare(
    comparison: ast.cmpop, left_node: ast.expr, left: object, right_node: ast.expr, right: object, text: str
) -> bool:
    if isinstance(comparison, ast.Eq | ast.NotEq):
        return (left == right) is isinstance(comparison, ast.Eq)
    if isinstance(comparison, ast.In | ast.NotIn):
        if not isinstance(right, list | tuple):
            part = ast.get_source_segment(text, right_node)
            raise ExpressionError(f"{text!r}: 'in' must look into a list, but {part!r} is {right!r}; write ['a', 'b']")
        return (left in right) is isinstance(comparison, ast.In)
    order = _ORDER[type(comparison)][1]
    return order(_number(left, left_node, text), _number(right, right_node, text))


def _number(value: object, node: ast.expr, text: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        part = ast.get_source_segment(text, node)
        raise ExpressionError(f"{text!r}: must compute with numbers, but {part!r} is {value!r}; compare it by ==")
    return value
