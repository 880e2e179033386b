"""The points of a space, as the trainable and as Optuna see them."""

import json
import random
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform.space.space import Space
from platform.sweepfile.parameters import Choice, Constant, FloatRange, IntRange, Parameter
from platform.sweepfile.parse_parameters import read_parameters

BRANCHED: dict[str, Parameter] = {
    "name": Constant("synthetic"),
    "order": IntRange(1, 5),
    "dropout": FloatRange(0.0, 0.5, step=0.1),
    "rate": FloatRange(1e-4, 1e-2, log=True),
    "layers": Choice(([64, 32], [128], None)),
    "fusion": Choice(
        ("add", "null_space", "gate"),
        {
            "null_space": {
                "width": IntRange(32, 64, step=16),
                "deep": Choice((True, False), {True: {"depth": Constant(3)}}),
            },
            "gate": {"width": IntRange(1, 4), "heads": Choice((1, 2))},
        },
    ),
}


def read(raw: object) -> Space:
    problems: list[str] = []
    space = Space(read_parameters(raw, lambda path, text: problems.append(text)))
    assert problems == []
    return space


def ask(space: Space, seed: int = 0, trials: int = 60) -> list[tuple[optuna.trial.FrozenTrial, dict[str, Any]]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    asked = []
    for _ in range(trials):
        trial = study.ask()
        values = space.suggest(trial)
        study.tell(trial, 0.0)
        asked.append((study.trials[-1], values))
    return asked


def test_a_point_has_the_parameters_of_its_active_branches_and_all_constants() -> None:
    seen = set()
    for _, values in ask(Space(BRANCHED)):
        seen.add((values["fusion"], values.get("deep")))
        always = {"name", "order", "dropout", "rate", "layers", "fusion"}
        branch = {"add": set(), "gate": {"width", "heads"}, "null_space": {"width", "deep"}}[values["fusion"]]
        if values.get("deep"):
            branch = branch | {"depth"}
        assert set(values) == always | branch
        assert values["name"] == "synthetic"
        assert values["dropout"] in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
        assert values["layers"] in ([64, 32], [128], None)
        assert values.get("width", 32) in ((32, 48, 64) if values["fusion"] == "null_space" else (1, 2, 3, 4, 32))
    assert seen == {("add", None), ("gate", None), ("null_space", True), ("null_space", False)}


def test_one_name_in_two_branches_has_a_storage_name_each() -> None:
    space = Space(BRANCHED)
    names = {name for trial, _ in ask(space) for name in trial.params}
    assert names - {"order", "dropout", "rate", "layers", "fusion", "deep", "heads"} == {
        "width@fusion=null_space",
        "width@fusion=gate",
    }
    for trial, values in ask(space):
        assert ("width@fusion=gate" in trial.params) is (values["fusion"] == "gate")
        assert "width" not in trial.params


def test_what_optuna_holds_is_read_back_as_the_same_point() -> None:
    space = Space(BRANCHED)
    for trial, values in ask(space):
        assert space.from_storage(trial.params) == values
        assert space.suggest(optuna.trial.FixedTrial(trial.params)) == values


def test_an_enqueued_point_is_the_point_that_is_suggested() -> None:
    space = Space(BRANCHED)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    rng = random.Random(0)
    points = [space.sample(rng) for _ in range(40)]
    for point in points:
        study.enqueue_trial(space.to_storage(point))
    assert [space.suggest(study.ask()) for _ in points] == points


def test_a_partial_point_fixes_what_it_names() -> None:
    space = Space(BRANCHED)
    assert space.to_storage({"fusion": "gate", "width": 2, "layers": [128], "name": "synthetic", "rate": 1}) == {
        "fusion": "gate",
        "width@fusion=gate": 2,
        "layers": "[128]",
        "rate": 1.0,
    }
    assert space.to_storage({}) == {}


def test_a_point_survives_a_journal(tmp_path: Path) -> None:
    from optuna.storages.journal import JournalFileBackend

    space = Space(BRANCHED)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(1))
    asked = [space.suggest(study.ask()) for _ in range(20)]
    reopened = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(
        JournalFileBackend(str(tmp_path / "journal"))))  # fmt: skip
    assert [space.from_storage(trial.params) for trial in reopened.trials] == asked


def test_true_and_one_stay_apart() -> None:
    space = read({"x": {"values": ["1", 1]}, "y": {"values": [True, 0]}})
    for point in ({"x": "1", "y": True}, {"x": 1, "y": 0}):
        found = space.from_storage(space.to_storage(point))
        assert found == point
        assert [type(value) for value in found.values()] == [type(value) for value in point.values()]


def test_swept_are_the_names_that_can_differ() -> None:
    parameters = {**BRANCHED, "one": Choice((3,))}
    assert Space(parameters).swept == ("order", "dropout", "rate", "layers", "fusion", "width", "deep", "heads")


def test_a_name_constant_in_each_of_two_branches_is_swept() -> None:
    assert read({"f": {"values": ["a", "b"], "when": {"a": {"x": 1}, "b": {"x": 2}}}}).swept == ("f", "x")


def test_grid_lists_every_feasible_point_once() -> None:
    space = Space(
        {
            "a": IntRange(1, 3),
            "f": Choice(("x", "y"), {"y": {"b": Choice((1, 2))}}),
            "d": FloatRange(0.0, 0.2, step=0.1),
        },
        ["a <= 2 or d == 0.3", "b != 2"],
    )
    points = list(space.grid())
    assert len(points) == 2 * 2 * 3
    assert points[0] == {"a": 1, "f": "x", "d": 0.0}
    assert points[1] == {"a": 1, "f": "x", "d": 0.1}
    assert points[3] == {"a": 1, "f": "y", "b": 1, "d": 0.0}
    assert len({json.dumps(point) for point in points}) == len(points)
    assert all(space.feasible(point) for point in points)


def test_grid_refuses_a_range_without_step() -> None:
    with pytest.raises(ValueError, match="rate: a grid must have countable points, but got a range without step"):
        Space(BRANCHED).grid()


def test_a_condition_on_another_branch_holds() -> None:
    space = Space(BRANCHED, ["heads == 2 or width >= 48"])
    assert space.violations({"fusion": "add"}) == {"heads == 2 or width >= 48": 0.0}
    assert space.violations({"fusion": "null_space", "width": 32}) == {"heads == 2 or width >= 48": 0.0}
    assert space.violations({"fusion": "gate", "width": 3, "heads": 1}) == {"heads == 2 or width >= 48": 1.0}


@pytest.mark.parametrize(
    ("point", "misfit"),
    [
        ({"order": 6}, {"order": "must be between 1 and 5, but got 6; choose a value inside"}),
        ({"order": 1.0}, {"order": "must be between 1 and 5, but got 1.0; choose a value inside"}),
        ({"order": True}, {"order": "must be between 1 and 5, but got True; choose a value inside"}),
        (
            {"dropout": 0.25},
            {"dropout": "must be between 0.0 and 0.5 in steps of 0.1, but got 0.25; choose a value inside"},
        ),
        ({"dropout": 0.3}, {}),
        ({"rate": 1}, {"rate": "must be between 0.0001 and 0.01, but got 1; choose a value inside"}),
        ({"layers": [64, 32]}, {}),
        ({"layers": [64]}, {"layers": "must be one of [64, 32], [128], None, but got [64]; choose a value inside"}),
        ({"name": "office"}, {"name": "must be the constant 'synthetic', but got 'office'; choose a value inside"}),
        ({"name": "synthetic"}, {}),
        ({"other": 1}, {"other": "must be one of the sweep's parameters, but got 1; add other under parameters"}),
        (
            {"heads": 1},
            {"heads": "must stand beside fusion: gate, but got it without; add that to the point"},
        ),
        ({"fusion": "gate", "heads": 1, "width": 4}, {}),
        (
            {"fusion": "gate", "width": 32},
            {"width": "must be between 1 and 4, but got 32; choose a value inside"},
        ),
    ],
)
def test_what_is_outside_the_space_is_told(point: dict[str, Any], misfit: dict[str, str]) -> None:
    assert Space(BRANCHED).misfit(point) == misfit


def test_the_canonical_form_is_of_the_set_of_points_not_of_the_order_of_the_file() -> None:
    one = read({"a": {"min": 1, "max": 3}, "b": 2})
    assert one.canonical() == read({"b": 2, "a": {"max": 3, "min": 1}}).canonical()
    assert one.canonical() == {
        "parameters": {"a": {"min": 1, "max": 3, "step": 1, "log": False}, "b": 2},
        "constraints": [],
    }
    others = [
        {"a": {"min": 1, "max": 4}, "b": 2},
        {"a": {"min": 1, "max": 3}, "b": 3},
        {"a": {"min": 1, "max": 3}},
        {"a": {"min": 1.0, "max": 3.0}, "b": 2},
        {"a": {"min": 1, "max": 3, "log": True}, "b": 2},
        {"a": {"values": [1, 2, 3]}, "b": 2},
    ]
    texts = {json.dumps(space.canonical()) for space in [one, *map(read, others)]}
    assert len(texts) == len(others) + 1
    assert Space({"b": Constant(2)}, ["b < 3"]).canonical() != Space({"b": Constant(2)}).canonical()


def test_a_branch_is_part_of_the_canonical_form() -> None:
    plain = {"f": {"values": ["a", "b"]}}
    assert read(plain).canonical() == read({"f": {"values": ["a", "b"], "when": {"a": {}}}}).canonical()
    assert read(plain).canonical() != read({"f": {"values": ["a", "b"], "when": {"a": {"x": 1}}}}).canonical()


ranges = st.one_of(
    st.builds(lambda low, span: {"min": low, "max": low + span}, st.integers(-50, 50), st.integers(1, 50)),
    st.builds(lambda low, n: {"min": low, "max": low + 3 * n, "step": 3}, st.integers(-50, 50), st.integers(1, 9)),
    st.builds(
        lambda low, span: {"min": low, "max": low * 2 + span, "log": True}, st.integers(1, 50), st.integers(1, 50)
    ),
    st.builds(lambda n: {"min": 0.0, "max": n / 10, "step": 0.1}, st.integers(1, 30)),
    st.builds(
        lambda low, times: {"min": low, "max": low * times, "log": True}, st.floats(1e-6, 1), st.floats(1.5, 1e4)
    ),
    st.builds(lambda low, span: {"min": low, "max": low + span}, st.floats(-5, 5), st.floats(0.5, 5)),
)
choices = st.builds(
    lambda values: {"values": values},
    st.lists(
        st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=3), st.none()),
        min_size=1,
        max_size=4,
        unique_by=lambda v: (v,),
    ),
)
spaces = st.dictionaries(st.sampled_from(["a", "b.c", "d", "e.f.g"]), st.one_of(ranges, choices), min_size=1)


@settings(max_examples=40)
@given(spaces, st.integers(0, 99))
def test_any_space_asks_points_that_are_inside_and_come_back(raw: dict[str, Any], seed: int) -> None:
    branch = {"p": {"values": ["in", "out"], "when": {"in": raw, "out": raw}}}
    space = read(branch)
    rng = random.Random(seed)
    for values in [*(values for _, values in ask(space, seed, 3)), space.sample(rng), space.sample(rng, {"p": "in"})]:
        assert space.misfit(values) == {}
        assert space.from_storage(space.to_storage(values)) == values
