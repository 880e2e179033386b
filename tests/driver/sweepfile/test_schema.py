"""The schema that editors use is the one of the code, and says what `load` says."""

from pathlib import Path
from typing import Any

import pytest

from platform.errors import InvalidSweep
from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from platform.sweepfile.schema import schema, text
from platform.sweepfile.spec import load
from platform.sweepfile.yaml_lines import read

jsonschema = pytest.importorskip(
    "jsonschema", reason="jsonschema comes with ray; without it there is no second opinion"
)

SWEEPS = Path(__file__).parents[3] / "sweeps"
GOOD: dict[str, Any] = {
    "name": "a",
    "trainable": "t",
    "metric": {"name": "valid/x", "goal": "maximize"},
    "num_trials": 3,
    "parameters": {"a.b": 3},
}


def test_the_file_is_fresh() -> None:
    assert (SWEEPS / "schema.json").read_text(encoding="utf-8") == text(), (
        "run: python -m platform.sweepfile.schema > sweeps/schema.json"
    )


def test_every_shipped_sweep_names_the_schema_and_meets_it() -> None:
    files = sorted(SWEEPS.rglob("*.yaml"))
    assert files
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        depth = "../" * (len(file.relative_to(SWEEPS).parts) - 1)
        assert lines[0] == f"# yaml-language-server: $schema={depth}schema.json"
        assert any(line.startswith("#   ") and "python -m platform.sweep sweeps/" in line for line in lines[:12])
        jsonschema.validate(read("\n".join(lines)).data, schema())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"metric": [{"name": "valid/x", "goal": "maximize"}, {"name": "valid/y", "goal": "minimize"}]},
        {"max_concurrent_trials": "auto"},
        {"max_concurrent_trials": 2},
        *({"early_stopping": name} for name in EARLY_STOPPINGS),
        *({"early_stopping": {"type": name}} for name in EARLY_STOPPINGS),
        {"early_stopping": {}},
        {"early_stopping": {"type": "median", "min_reports": 3}},
        {"resources": {"gpu": 0.5, "memory": "2GiB", "label": {"a": "b"}}},
        {"parameters": {"a": {"values": [1, [2]], "when": {}}, "b": {"min": 1, "max": 2, "log": True}, "c": None}},
        {"initial_points": [{"a.b": 3}], "constraints": ["a.b < 5"]},
    ],
)
def test_what_loads_meets_the_schema(tmp_path: Path, change: dict[str, Any]) -> None:
    assert agree(tmp_path, {**GOOD, **change}) == (True, True)


@pytest.mark.parametrize(
    "change",
    [
        {"num_trials": "3"},
        {"num_trials": 0},
        {"n_trials": 3},
        {"metric": {"name": "valid/x"}},
        {"metric": []},
        {"name": "../x"},
        {"method": "bayes"},
        {"early_stopping": "ashaa"},
        {"early_stopping": {"min_reports": 2}},
        {"early_stopping": {"type": "asha", "eta": 3}},
        {"early_stopping": {"type": "median", "percentile": 30}},
        {"parameters": {"a": [1, 2]}},
        {"parameters": {"a": {"values": []}}},
        {"parameters": {"a": {"min": 1}}},
        {"parameters": {"a": {"min": 1, "max": 2, "step": 0}}},
        {"parameters": {"a": {"min": 1, "max": 2, "step": 1, "log": True}}},
        {"parameters": {"a b": 3}},
        {"parameters": {"a": {"values": [1], "when": {"1": {"b": [3]}}}}},
        {"resources": {"cpu": 0}},
        {"limits": {"max_hours": -1}},
        {"deterministic": "yes"},
    ],
)
def test_what_the_schema_refuses_does_not_load(tmp_path: Path, change: dict[str, Any]) -> None:
    assert agree(tmp_path, {**GOOD, **change}) == (False, False)


def agree(folder: Path, data: dict[str, Any]) -> tuple[bool, bool]:
    """Validate a file by `load` and by the schema, True for each that accepts it."""
    import json

    path = folder / "s.yaml"
    path.write_text(json.dumps(data))  # JSON is YAML
    try:
        load(path)
        loads = True
    except InvalidSweep:
        loads = False
    return loads, jsonschema.Draft7Validator(schema()).is_valid(data)
