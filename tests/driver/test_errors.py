"""Errors carry the command's exit code and every problem once."""

import ast
import builtins
import re

from platform import errors
from platform.errors import Busy, InvalidSweep, SweepError, did_you_mean, nearest, short
from tests.house import sources


def test_exit_codes_are_those_of_the_command() -> None:
    assert (SweepError.exit_code, InvalidSweep.exit_code, Busy.exit_code) == (1, 2, 3)
    assert issubclass(InvalidSweep, SweepError)
    assert issubclass(Busy, SweepError)


def test_an_invalid_sweep_holds_each_problem_once_in_order() -> None:
    error = InvalidSweep(["b", "a", "b"])
    assert error.problems == ("b", "a")
    assert str(error) == "b\na"


def test_the_nearest_name_is_offered_or_all_of_them() -> None:
    assert nearest("Dropuot", ["dropout", "rate"]) == "dropout"
    assert nearest("zzz", ["dropout", "rate"]) is None
    assert did_you_mean("Dropuot", ["dropout", "rate"]) == "did you mean 'dropout'?"
    assert did_you_mean("zzz", ["dropout", "rate"]) == "choose from dropout, rate"


def test_a_value_is_shown_as_it_was_written_and_cut_where_it_is_long() -> None:
    assert [short(value) for value in ("a", 1.5, None, [1, "a"], {"a": True})] == [
        "'a'", "1.5", "None", '[1, "a"]', '{"a": true}',
    ]  # fmt: skip
    assert short("x" * 58) == f"'{'x' * 58}'"
    assert short("x" * 59) == f"'{'x' * 56}..."


def test_the_tree_of_errors_has_each_class_of_both_packages() -> None:
    classes = [n for text in sources().values() for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef)]
    bases = {each.name: [ast.unparse(base).rpartition(".")[2] for base in each.bases] for each in classes}

    def is_error(name: str) -> bool:
        kind = getattr(builtins, name, object)
        return (isinstance(kind, type) and issubclass(kind, BaseException)) or any(map(is_error, bases.get(name, ())))

    drawn = re.findall(r"── (\w+)", errors.__doc__ or "")
    assert sorted(name for name in drawn if not hasattr(builtins, name)) == sorted(
        name for name in bases if is_error(name) and not name.startswith("_")
    )
