"""Ranges and choices of other tools, as a sweep file has them."""

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.sweepfile.foreign_forms import form, shown
from platform.sweepfile.yaml_lines import read


@pytest.mark.parametrize(
    ("raw", "ours"),
    [
        ("0.1,0.2", "{values: [0.1, 0.2]}"),
        ("0.1 0.2", "{values: [0.1, 0.2]}"),
        ("(0.1, 0.2)", "{values: [0.1, 0.2]}"),
        ("adam,adamw", "{values: [adam, adamw]}"),
        ("choice(0.1, 0.2)", "{values: [0.1, 0.2]}"),
        ("tune.choice([0.1, 0.2])", "{values: [0.1, 0.2]}"),
        ("tune.grid_search([1, 2])", "{values: [1, 2]}"),
        ("trial.suggest_categorical('x', [true, 'a b'])", '{values: [true, "a b"]}'),
        ("uniform(0,0.5)", "{min: 0.0, max: 0.5}"),
        ("uniform(low=0, high=1)", "{min: 0.0, max: 1.0}"),
        ("interval(0, 1)", "{min: 0.0, max: 1.0}"),
        ("tag(log, interval(1e-5, 1e-2))", "{min: 1e-05, max: 0.01, log: true}"),
        ("int(interval(1, 5))", "{min: 1, max: 5}"),
        ("range(1, 5)", "{min: 1, max: 5}"),
        ("1..5", "{min: 1, max: 5}"),
        ("0-0.5", "{min: 0.0, max: 0.5}"),
        ("1e-5:1e-2", "{min: 1e-05, max: 0.01}"),
        ("0 to 1.0", "{min: 0.0, max: 1.0}"),
        ("hp.uniform('x', 0, 0.5)", "{min: 0.0, max: 0.5}"),
        ("hp.loguniform('x', -11.5, -4.6)", "{min: 1.01e-05, max: 0.0101, log: true}"),
        ("trial.suggest_float('x', 1e-5, 1e-2, log=True)", "{min: 1e-05, max: 0.01, log: true}"),
        ("suggest_int('x', 16, 64, step=16)", "{min: 16, max: 64, step: 16}"),
        ("tune.qrandint(16, 64, 16)", "{min: 16, max: 64, step: 16}"),
        ("lograndint(1, 1024)", "{min: 1, max: 1024, log: true}"),
        ({"loguniform": [1e-5, 1e-2]}, "{min: 1e-05, max: 0.01, log: true}"),
        ({"uniform": [0, 1]}, "{min: 0.0, max: 1.0}"),
        ({"uniform": {"lower": 0, "upper": 1}}, "{min: 0.0, max: 1.0}"),
        ({"uniform": "0, 1"}, "{min: 0.0, max: 1.0}"),
        ({"quniform": [0, 0.5, 0.1]}, "{min: 0.0, max: 0.5, step: 0.1}"),
        ({"randint": [1, 9]}, "{min: 1, max: 9}"),
        ({"tune.randint": [1, 9]}, "{min: 1, max: 9}"),
        ({"choice": [1, 2]}, "{values: [1, 2]}"),
        ({0.1: None, 0.2: None}, "{values: [0.1, 0.2]}"),
        ({"low": 1, "high": 3}, "{min: 1, max: 3}"),
        ({"type": "float", "low": 0, "high": 1}, "{min: 0.0, max: 1.0}"),
        ({"type": "int", "low": 1, "high": 9, "log": True}, "{min: 1, max: 9, log: true}"),
        ({"type": "double", "minval": 0, "maxval": 1}, "{min: 0.0, max: 1.0}"),
        ({"type": "log", "minval": -5, "maxval": -2}, "{min: 1e-05, max: 0.01, log: true}"),
        ({"type": "log", "minval": -3, "maxval": 3, "base": 2}, "{min: 0.125, max: 8.0, log: true}"),
        ({"type": "categorical", "vals": ["a", "b"]}, "{values: [a, b]}"),
        ({"type": "const", "val": 3}, "3"),
        ({"type": "range", "bounds": [1, 9], "log_scale": True}, "{min: 1, max: 9, log: true}"),
        ({"_type": "uniform", "_value": [0, 1]}, "{min: 0.0, max: 1.0}"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}, "{min: 0.0, max: 1.0, step: 0.5}"),
        ({"distribution": "int_uniform", "min": 1, "max": 9}, "{min: 1, max: 9}"),
        ({"parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.05"}}, "{min: 0.01, max: 0.05}"),
        ({"parameterType": "discrete", "feasibleSpace": {"list": ["1", "2"]}}, '{values: ["1", "2"]}'),
    ],
)
def test_each_form_keeps_the_numbers_typed(raw: object, ours: str) -> None:
    assert form(raw) == ours
    assert not read(ours).problems


@pytest.mark.parametrize(
    "raw",
    ["synthetic", "a b", "f(1)", "normal(0, 1)", "uniform(0)", "uniform(", "", "2026-01", [1, 2], 3, None, {},
     {"x": {"min": 0, "max": 1}}, {"values": [1], "when": {}}, {"type": "float"}, {"loguniform": 3}, {"min": 1},
     {"choice": []}, {"x": 1, "y": 2}],
)  # fmt: skip
def test_what_is_none_of_them_is_left_alone(raw: object) -> None:
    assert form(raw) is None or raw == "2026-01"


SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.sampled_from(["uniform", "type", "low", "high", "log", "choice", "_value", "distribution", "x"])
TEXTS = st.text(string.digits + string.ascii_letters + string.punctuation + " ")
ANY = st.recursive(
    SCALARS
    | st.text(string.digits + string.ascii_letters + string.punctuation + " ")
    | st.sampled_from(["loguniform", "uniform(0, x)", "range(,)", "log"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(ANY)
@settings(max_examples=100)
def test_nothing_typed_breaks_it_and_its_answer_is_yaml(raw: Any) -> None:
    text = form(raw)
    assert text is None or not read(text).problems


@given(st.recursive(SCALARS | st.text("ab: ,#'0"), lambda inner: st.lists(inner, max_size=3)))
@settings(max_examples=50)
def test_a_value_that_is_shown_reads_as_itself(value: Any) -> None:
    assert read(shown(value)).data == value
