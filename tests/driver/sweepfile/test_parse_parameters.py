"""Each form of a parameter, and what is told about the forms that are none."""

import pytest

from platform.sweepfile.parameters import Choice, Constant, FloatRange, IntRange, Parameter
from platform.sweepfile.parse_parameters import read_parameters


def read(raw: object) -> tuple[dict[str, Parameter], list[tuple[str, str]]]:
    problems: list[tuple[str, str]] = []
    return read_parameters(raw, lambda path, text: problems.append((path, text))), problems


@pytest.mark.parametrize(
    ("raw", "parameter"),
    [
        ("synthetic", Constant("synthetic")),
        (None, Constant(None)),
        (True, Constant(True)),
        (1e-3, Constant(0.001)),
        ({"min": 1, "max": 5}, IntRange(1, 5)),
        ({"min": 16, "max": 256, "step": 16}, IntRange(16, 256, step=16)),
        ({"min": 1, "max": 1024, "log": True}, IntRange(1, 1024, log=True)),
        ({"min": 0, "max": 0.5}, FloatRange(0.0, 0.5)),
        ({"min": 0.0, "max": 0.5, "step": 0.1}, FloatRange(0.0, 0.5, step=0.1)),
        ({"min": 0, "max": 1, "step": 0.25}, FloatRange(0.0, 1.0, step=0.25)),
        ({"min": 1e-4, "max": 1e-2, "log": True}, FloatRange(1e-4, 1e-2, log=True)),
        ({"values": [1, "a", None, False, 0.5]}, Choice((1, "a", None, False, 0.5))),
        ({"values": [[64, 32], [128]]}, Choice(([64, 32], [128]))),
        ({"values": [3]}, Choice((3,))),
        ({"values": ["a", "b"], "when": {"b": {"x.y": 3}}}, Choice(("a", "b"), {"b": {"x.y": Constant(3)}})),
        ({"values": [True, False], "when": {True: {"x": 3}}}, Choice((True, False), {True: {"x": Constant(3)}})),
    ],
)
def test_each_form_is_read(raw: object, parameter: Parameter) -> None:
    assert read({"p": raw}) == ({"p": parameter}, [])


@pytest.mark.parametrize(
    ("raw", "path", "text"),
    [
        ([1, 2], "", "must be a scalar, {values: ...} or {min: ..., max: ...}, but got the bare list [1, 2]; write "
                     "{values: [1, 2]} to choose from it, or {values: [[1, 2]]} for one value that is a list"),
        (float("nan"), "", "must be a finite number, but got nan; write a plain number"),
        ({"values": []}, ".values", "must be a list with at least one value, but got []; write `values: [a, b]`"),
        ({"values": 3}, ".values", "must be a list with at least one value, but got 3; write `values: [a, b]`"),
        ({"when": {}}, ".values", "must be a list with at least one value, but is not there; write `values: [a, b]`"),
        ({"values": [1, 1]}, ".values[1]", "must be listed once, but got 1 again; remove one"),
        ({"values": [0, False]}, ".values[1]", "must be listed once, but got False again; remove one"),
        ({"values": [{"a": 1}]}, ".values[0]", "must be a number, a text, true, false, null or a list of them, but got "
                                               '{"a": 1}; replace it'),
        ({"values": [float("inf")]}, ".values[0]", "must be a number, a text, true, false, null or a list of them, but "
                                                   "got inf; replace it"),
        ({"values": [1], "min": 0}, "", "must be a choice (values) or a range (min, max), but got both values and min; "
                                        "remove one"),
        ({"values": ["a", "b"], "when": {"c": {}}}, ".when.c", "must be one of the values a, b, but got 'c'; choose "
                                                               "from a, b"),
        ({"values": ["null_space"], "when": {"nullspace": {}}}, ".when.nullspace",
         "must be one of the values null_space, but got 'nullspace'; did you mean 'null_space'?"),
        ({"values": ["a"], "when": 3}, ".when", "must be a mapping from a value to its parameters, but got 3; write "
                                                "`when: {a: {...}}`"),
        ({"values": ["a"], "when": {"a": 3}}, ".when.a", "must be a mapping of dotted names, but got 3; write "
                                                         "`fit.dropout: 0.1` lines below it"),
        ({"min": 5, "max": 1}, "", "min must be below max, but got min 5 and max 1; swap them"),
        ({"min": 2, "max": 2}, "", "min must be below max, but got min 2 and max 2; write `2` alone for a constant"),
        ({"min": 5}, "", "must have both min and max, but max is not there; add it, or list `values`"),
        ({"max": 5}, "", "must have both min and max, but min is not there; add it, or list `values`"),
        ({"min": "1", "max": 2}, ".min", "must be a finite number, but got '1'; write a plain number"),
        ({"min": True, "max": 2}, ".min", "must be a finite number, but got True; write a plain number"),
        ({"min": 0.0, "max": float("inf")}, ".max", "must be a finite number, but got inf; write a plain number"),
        ({"min": 0, "max": 1.0, "log": True}, ".min", "must be above 0 with log: true, but got 0; raise it, or remove "
                                                      "log"),
        ({"min": 1, "max": 2, "log": "yes"}, ".log", "must be true or false, but got 'yes'; write true for a "
                                                     "logarithmic range"),
        ({"min": 1.0, "max": 2.0, "log": True, "step": 0.5}, ".step", "must not stand beside log: true, but got 0.5; "
                                                                      "remove one of the two"),
        ({"min": 0.0, "max": 1.0, "step": -0.1}, ".step", "must be above 0, but got -0.1; remove the sign, or "
                                                          "the step"),
        ({"min": 0, "max": 9, "step": 0}, ".step", "must be above 0, but got 0; remove the sign, or the step"),
        ({"min": 0.0, "max": 0.5, "step": 0.2}, "", "max must be reached from min in whole steps, but got 0.0, 0.5 and "
                                                    "step 0.2; end at 0.4"),
        ({"min": 0, "max": 7, "step": 4}, "", "max must be reached from min in whole steps, but got 0, 7 and "
                                              "step 4; end "
                                              "at 4"),
        ({"min": 0, "max": 7, "step": 9}, "", "max must be reached from min in whole steps, but got 0, 7 and step 9; "
                                              "take a smaller step"),
    ],
)  # fmt: skip
def test_what_is_no_parameter_is_told(raw: object, path: str, text: str) -> None:
    assert read({"p": raw})[1] == [(f"parameters.p{path}", text)]


@pytest.mark.parametrize(
    ("raw", "remedy"),
    [
        ({"low": 1, "max": 3}, "did you mean 'min'?"),
        ({"min": 1, "high": 3}, "did you mean 'max'?"),
        ({"min": 1, "max": 3, "q": 1}, "did you mean 'step'?"),
        ({"value": 3}, "write the value itself for a constant: `p: 3`"),
        (
            {"min": 1, "max": 2, "distribution": "log_uniform"},
            "write {min: 1.0, max: 2.0, log: true} (min and max are the values themselves, no exponents)",
        ),
        ({"min": 1, "max": 2, "distribution": "uniform"}, "write {min: 1.0, max: 2.0}"),
        ({"normal": [0, 1]}, "choices and ranges are drawn evenly, write {min: ..., max: ...}"),
        ({"values": [1], "probabilities": [1]}, "choices and ranges are drawn evenly, leave it out"),
        ({"name": "spectran"}, "a field of a part is written with dots: `p.name: spectran`"),
        ({"parameters": {"x": 1}}, "a field of a part is written with dots: `p.x: 1`"),
        (
            {"parameters": {"x": {"distribution": "uniform", "min": 0, "max": 0.5}, "y": {"value": 3}}},
            "a field of a part is written with dots: `p.x: {min: 0.0, max: 0.5}`, `p.y: 3`",
        ),
        ({"x": {"min": 0.0, "max": 0.5}}, "a field of a part is written with dots: `p.x: {min: 0.0, max: 0.5}`"),
        ({"x": {"y": {"randint": [1, 5]}}}, "a field of a part is written with dots: `p.x.y: {min: 1, max: 5}`"),
        (
            {"x": {"values": ["a"], "when": {"a": {"z": 1}}}},
            "a field of a part is written with dots: `p.x: {values: [a], when: {a: {z: 1}}}`",
        ),
        ({"loguniform": [1e-5, 1e-2]}, "write {min: 1e-05, max: 0.01, log: true}"),
        ({"type": "float", "low": 0, "high": 0.5}, "write {min: 0.0, max: 0.5}"),
        ({"vals": [1]}, "did you mean 'values'?"),
        ({"min": 1, "maxx": 2}, "did you mean 'max'?"),
    ],
)
def test_keys_of_other_tools_get_ours(raw: dict[str, object], remedy: str) -> None:
    [(_, text)] = read({"p": raw})[1]
    assert text.startswith("must be one of values, when, min, max, step, log, but got ")
    assert text.endswith(f"; {remedy}")


@pytest.mark.parametrize("name", ["fit dropout", ".x", "x.", "1x", "a-b", 3, "a..b"])
def test_a_name_is_a_dotted_field(name: object) -> None:
    assert read({name: 3})[1] == [
        (f"parameters.{name}", f"must be a dotted name such as fit.dropout, but got {name!r}; rename it")
    ]


def test_parameters_are_a_mapping() -> None:
    assert read([1])[1] == [
        ("parameters", "must be a mapping of dotted names, but got [1]; write `fit.dropout: 0.1` lines below it")
    ]


def test_one_name_in_two_branches_of_one_choice_is_fine() -> None:
    raw = {"p": {"values": ["a", "b"], "when": {"a": {"x": {"min": 1, "max": 2}}, "b": {"x": {"min": 5, "max": 9}}}}}
    assert read(raw)[1] == []


@pytest.mark.parametrize(
    "raw",
    [
        {"x": 3, "p": {"values": ["a"], "when": {"a": {"x": 4}}}},
        {"p": {"values": ["a"], "when": {"a": {"x": 4}}}, "x": 3},
        {"p": {"values": ["a"], "when": {"a": {"x": 4}}}, "q": {"values": ["a"], "when": {"a": {"x": 4}}}},
    ],
)
def test_one_name_that_could_be_active_twice_is_told(raw: dict[str, object]) -> None:
    [(path, text)] = read(raw)[1]
    assert path.endswith("x")
    assert text.startswith("must not be active together with parameters.")
    assert text.endswith("but got it in both; keep one of them, or put each under its own value in one `when`")


def test_a_merge_is_told_to_be_none_of_the_language() -> None:
    assert read({"<<": {"a": 1}, "x": 1})[1] == [
        ("parameters.<<", "a key must be a field, but got a merge (<<), which is not taken; write its lines")
    ]
