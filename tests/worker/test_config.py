"""Flat values become a config, or every problem is told at once."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.config import ConfigError, above, at_least, at_most, between, build, field_names, flatten, settings_of
from trainables.fields import type_name


@dataclass(frozen=True, kw_only=True)
class Plain:
    name: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Spectral:
    name: Literal["spectral"] = "spectral"
    order: Annotated[int, at_least(1)] = 3
    """n of equation 10."""
    fusion: Literal["add", "null_space"] = "add"


@dataclass(frozen=True, kw_only=True)
class Fit:
    dropout: Annotated[float, between(0, 1, open_high=True)] = 0.1
    """Share of units
    that are dropped."""
    rate: Annotated[float, above(0)] = 1e-3
    top_k: tuple[int, ...] = (10, 20)
    pair: tuple[int, str] = (1, "a")
    keep: Annotated[int, at_least(1), at_most(99)] | None = 13


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    mask: bool = False
    root: str | None = None
    adapter: Plain | Spectral = field(default_factory=lambda: Spectral(order=5))
    fit: Fit = Fit(dropout=0.3)

    def __post_init__(self) -> None:
        if self.seed == 13:
            raise ValueError("seed must not be 13, but got 13; take 14")


def problems(values: dict[str, object], cls: type = Config) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        build(cls, values)
    return caught.value.problems


def test_defaults_are_those_of_the_config_not_of_the_parts() -> None:
    assert flatten(build(Config, {})) == {
        "seed": 0,
        "mask": False,
        "root": None,
        "adapter.name": "spectral",
        "adapter.order": 5,
        "adapter.fusion": "add",
        "fit.dropout": 0.3,
        "fit.rate": 1e-3,
        "fit.top_k": [10, 20],
        "fit.pair": [1, "a"],
        "fit.keep": 13,
    }


def test_what_a_stage_reads_is_named_by_field_or_by_part() -> None:
    read = settings_of(build(Config, {"adapter.name": "none", "fit.rate": 0.5}), ("seed", "adapter", "fit.rate"))
    assert read == {"seed": 0, "adapter.name": "none", "fit.rate": 0.5}


def test_values_replace_defaults_and_leave_the_others() -> None:
    config = build(Config, {"fit.top_k": [5], "fit.dropout": 0, "adapter.order": 2, "root": "x", "fit.keep": None})
    assert config.fit == Fit(dropout=0.0, top_k=(5,), keep=None)
    assert type(config.fit.dropout) is float
    assert config.adapter == Spectral(order=2)
    assert config.root == "x"


def test_a_part_is_chosen_by_name() -> None:
    assert build(Config, {"adapter.name": "none"}).adapter == Plain()
    assert build(Config, {"adapter.name": "spectral"}).adapter == Spectral(order=5)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"seed": "64"}, "seed: must be a whole number, but got '64'; write the number without quotes"),
        ({"seed": "many"}, "seed: must be a whole number, but got 'many'; write a number"),
        ({"seed": True}, "seed: must be a whole number, but got True; write a number, not true or false"),
        ({"seed": 1.0}, "seed: must be a whole number, but got 1.0; write 1"),
        ({"seed": None}, "seed: must be a whole number, but got None; write a whole number"),
        ({"mask": 1}, "mask: must be true or false, but got 1; write true or false"),
        ({"root": 3}, 'root: must be text, but got 3; write "3" in quotes'),
        ({"fit.dropout": 1}, "fit.dropout: must be at least 0 and below 1, but got 1.0; choose a value inside"),
        ({"fit.dropout": float("nan")}, "fit.dropout: must be a finite number, but got nan; write a plain number"),
        ({"fit.dropout": False}, "fit.dropout: must be a number, but got False; write a number"),
        ({"fit.rate": 0}, "fit.rate: must be above 0, but got 0.0; choose a value inside"),
        ({"fit.keep": 100}, "fit.keep: must be at most 99, but got 100; choose a value inside"),
        ({"fit.top_k": 5}, "fit.top_k: must be a list (whole number each), but got 5; write [5]"),
        (
            {"fit.top_k": [5, "a"]},
            "fit.top_k: must be a list (whole number each), but got [5, 'a']; one value of it must be a whole number, "
            "but got 'a'; write a number",
        ),
        ({"fit.pair": [1]}, "fit.pair: must be a list of 2 values, but got [1]; write 2 values"),
        (
            {"adapter.fusion": "nullspace"},
            "adapter.fusion: must be one of add, null_space, but got 'nullspace'; did you mean null_space?",
        ),
        (
            {"adapter.name": "spectrl"},
            "adapter.name: must be one of none, spectral, but got 'spectrl'; did you mean 'spectral'?",
        ),
        ({"adapter.name": 3}, "adapter.name: must be one of none, spectral, but got 3; choose from none, spectral"),
        (
            {"adapter.name": "none", "adapter.order": 3},
            "adapter.order: must be a field of adapter.name: none, which has none of that name, but got 3; it belongs "
            "to adapter.name: spectral",
        ),
        (
            {"adapter": "spectral"},
            "adapter: a part is set through its fields, but got 'spectral'; write adapter.<field>, for example "
            "adapter.name",
        ),
        ({"sed": 1}, "sed: must be a field of Config, but got 1; did you mean seed?"),
        ({"dropout": 0.1}, "dropout: must be a field of Config, but got 0.1; did you mean fit.dropout?"),
        ({"fit.droput": 0.1}, "fit.droput: must be a field of Fit, but got 0.1; did you mean fit.dropout?"),
        ({"seed.x": 1}, "seed.x: must be a field of Config, but got 1; did you mean seed?"),
        (
            {"zzz": 1},
            "zzz: must be a field of Config, but got 1; the fields are seed, mask, root, adapter.*, fit.*",
        ),
        ({"seed": 13}, "seed must not be 13, but got 13; take 14"),
    ],
)
def test_each_problem_names_field_rule_value_and_remedy(values: dict[str, object], problem: str) -> None:
    assert problems(values) == (problem,)


def test_all_problems_are_told_at_once() -> None:
    values = {"seed": True, "fit.dropout": 2, "adapter.order": 0, "zzz": 1, "fit.rate": "x"}
    assert {text.partition(":")[0] for text in problems(values)} == set(values)


def test_a_rule_across_fields_of_a_part_is_told_under_its_path() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Part:
        low: int = 0

        def __post_init__(self) -> None:
            if self.low > 3:
                raise ValueError(f"low must be at most 3, but got {self.low}; lower it")

    @dataclass(frozen=True, kw_only=True)
    class Whole:
        part: Part = Part()

    Whole.__annotations__["part"] = Part
    assert problems({"part.low": 4}, Whole) == ("part: low must be at most 3, but got 4; lower it",)


def test_a_field_without_default_must_be_given() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Needs:
        size: int

    assert problems({}, Needs) == ("size: must be given, but is not there; it is a whole number",)
    assert build(Needs, {"size": 3}).size == 3


def test_field_names_list_every_choice_with_default_type_doc_and_choice() -> None:
    fields = field_names(Config)
    assert list(fields)[:5] == ["seed", "mask", "root", "adapter.name", "adapter.order"]
    assert fields["adapter.order"].choices == ("adapter.name=spectral",)
    assert fields["adapter.order"].default == 5
    assert fields["adapter.order"].doc == "n of equation 10."
    assert fields["adapter.order"].type_text == "a whole number at least 1"
    assert fields["adapter.name"].type_text == "one of none, spectral"
    assert fields["adapter.name"].default == "spectral"
    assert fields["fit.dropout"].default == 0.3
    assert fields["fit.dropout"].doc == "Share of units\nthat are dropped."
    assert fields["fit.dropout"].choices == ()
    assert fields["root"].type_text == "text or null"


def test_types_read_like_words() -> None:
    assert type_name(tuple[int, str]) == "a list of 2 values"
    assert type_name(bool) == "true or false"


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(14, 99),
            "mask": st.booleans(),
            "root": st.none() | st.text(),
            "adapter.order": st.integers(1, 9),
            "adapter.fusion": st.sampled_from(["add", "null_space"]),
            "fit.dropout": st.floats(0, 0.99),
            "fit.top_k": st.lists(st.integers()),
            "fit.keep": st.none() | st.integers(1, 99),
        },
    )
)
def test_flatten_gives_back_what_build_took(values: dict[str, object]) -> None:
    flat = flatten(build(Config, values))
    assert flat | values == flat
    assert build(Config, flat) == build(Config, values)
