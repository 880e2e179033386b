"""The JSON schema of sweep files, for editors: `python -m platform.sweepfile.schema > sweeps/schema.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from platform.sweepfile.fields import SweepFields

_SCALAR: dict[str, Any] = {"type": ["string", "number", "integer", "boolean", "null"]}
_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"},
    "additionalProperties": {"$ref": "#/$defs/Parameter"},
}
_DEFINITIONS: dict[str, Any] = {
    "Parameters": {"description": "Dotted fields of the trainable's Config.", **_PARAMETERS},
    "Parameter": {
        "anyOf": [
            {"description": "A constant.", **_SCALAR},
            {"$ref": "#/$defs/Choice"},
            {"$ref": "#/$defs/Range"},
        ]
    },
    "Choice": {
        "type": "object",
        "description": "One of a list of values.",
        "required": ["values"],
        "additionalProperties": False,
        "properties": {
            "values": {
                "description": "The values, each a scalar or a list.",
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"anyOf": [_SCALAR, {"type": "array"}]},
            },
            "when": {
                "description": "A branch: value -> the parameters that exist only under it.",
                "type": "object",
                "additionalProperties": {"$ref": "#/$defs/Parameters"},
            },
        },
    },
    "Range": {
        "type": "object",
        "description": "All numbers from min to max, both included; whole numbers where both ends are.",
        "required": ["min", "max"],
        "additionalProperties": False,
        "properties": {
            "min": {"description": "Smallest value.", "type": "number"},
            "max": {"description": "Largest value.", "type": "number"},
            "step": {"description": "Distance of the values tried.", "type": "number", "exclusiveMinimum": 0},
            "log": {"description": "Drawn evenly in the logarithm; min above 0, no step.", "type": "boolean"},
        },
        "not": {"required": ["step", "log"], "properties": {"log": {"const": True}}},
    },
}


def schema() -> dict[str, Any]:
    """The JSON schema: keys, types, defaults and docstrings of `fields`, and the kinds of parameters."""
    made = SweepFields.model_json_schema(mode="validation", by_alias=True)
    made["$defs"].update(_DEFINITIONS)
    made["properties"]["parameters"] = {
        "$ref": "#/$defs/Parameters",
        "description": made["properties"]["parameters"]["description"],
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_without_titles(made), "title": "A sweep"}


def text() -> str:
    """The schema as it stands in `sweeps/schema.json`."""
    return json.dumps(schema(), indent=2) + "\n"


def _without_titles(node: Any) -> Any:
    """The schema without the titles that pydantic makes from names, which say nothing that the names do not."""
    if isinstance(node, dict):
        return {
            key: _without_titles(value) for key, value in node.items() if key != "title" or not isinstance(value, str)
        }
    return [_without_titles(item) for item in node] if isinstance(node, list) else node


if __name__ == "__main__":
    sys.stdout.write(text())
