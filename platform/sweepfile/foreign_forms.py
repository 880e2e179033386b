"""Ranges and choices as Ray, Optuna, W&B, Hyperopt, Hydra, Katib or Determined write them, in the form used here.

`uniform(0, 0.5)`, `{loguniform: [1e-5, 1e-2]}` and `{type: float, low: 0, high: 1}` are no parameters of a sweep file.
The message about one shows the same range, with the numbers typed, as a sweep file has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from platform.sweepfile.yaml_lines import read

SYNONYMS = {
    "low": "min", "lower": "min", "minval": "min", "minimum": "min", "start": "min", "from": "min", "min_value": "min",
    "high": "max", "upper": "max", "maxval": "max", "maximum": "max", "stop": "max", "end": "max", "to": "max",
    "max_value": "max", "q": "step", "stepsize": "step", "log_scale": "log", "logscale": "log",
    "choices": "values", "choice": "values", "vals": "values", "options": "values", "categories": "values",
    "grid_search": "values", "list": "values", "if": "when", "condition": "when", "conditions": "when",
}  # fmt: skip
"""Key of a parameter in another tool -> the key here."""
_OURS = ("min", "max", "step", "log", "values")
_KINDS = ("distribution", "type", "_type", "parameterType", "kind", "dist")
_INNER = ("feasibleSpace", "_value", "bounds", "range", "args", "kwargs")
_FLOAT = ("uniform", "quniform", "float", "double", "real", "interval", "continuous", "discreteuniform")
_LOG = ("loguniform", "loguniformvalues", "qloguniform", "qloguniformvalues", "log", "logfloat", "reverseloguniform")
_INT = ("int", "integer", "randint", "qrandint", "intuniform", "uniformint", "quniformint", "randrange")
_LOG_INT = ("lograndint", "qlograndint", "intloguniform", "logint")
_CHOICE = ("choice", "choices", "categorical", "gridsearch", "grid", "discrete", "ordinal", "values", "in", "oneof")
_EITHER = ("range",)
_CONSTANT = ("constant", "const", "fixed", "value")
UNEVEN = ("normal", "qnormal", "randn", "qrandn", "lognormal", "qlognormal", "gaussian", "beta")
"""Distributions that have no form here: choices and ranges are drawn evenly."""
_CALL = re.compile(r"(?:\w+\.)*(\w*)\((.*)\)", re.DOTALL)
_NUMBER = r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?"
_BETWEEN = re.compile(rf"({_NUMBER})\s*(?:\.\.+|:|-|to)\s*({_NUMBER})")


def form(raw: object) -> str | None:
    """A parameter in the form of a sweep file, as YAML; None if `raw` is no other tool's form of one."""
    if isinstance(raw, str):
        return _of_text(raw.strip())
    if not isinstance(raw, dict) or not raw:
        return None
    if all(value is None for value in raw.values()):  # {0.1, 0.2}
        return _made("choice", list(raw), {})
    kind_key = next((key for key in _KINDS if key in raw), None)
    if kind_key is None and len(raw) == 1:
        [(key, value)] = raw.items()
        return _of_inner(str(key), value, {}) if kind(key) else None
    if kind_key is None and any(SYNONYMS.get(str(key), key) not in _OURS for key in raw):
        return None
    rest = {key: value for key, value in raw.items() if key not in (kind_key, *_INNER)}
    inner = next((raw[key] for key in _INNER if key in raw), None)
    return _of_inner(str(raw[kind_key]) if kind_key else "", inner, rest)


def kind(word: object) -> str:
    """The kind of parameter that another tool's word names, without case and underscores, or ""."""
    name = str(word).rpartition(".")[2].lower().removeprefix("suggest_").replace("_", "").replace("-", "")
    return name if name in (*_FLOAT, *_LOG, *_INT, *_LOG_INT, *_EITHER, *_CHOICE, *_CONSTANT) else ""


def shown(value: object) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{shown(key)}: {shown(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./-]+", value) and read(value).data == value else json.dumps(value)
    return json.dumps(value)


def _of_text(text: str) -> str | None:
    text = re.sub(r"^tag\(\s*log\s*,\s*(?:int\()?interval(\(.*\))\)$", r"loguniform\1", text)  # Hydra's two
    text = re.sub(r"^int\(interval(\(.*\))\)$", r"randint\1", text)
    if call := _CALL.fullmatch(text):
        arguments = re.sub(r"(\w+)\s*=(?!=)", r"\1: ", call[2])
        words = read(f"[{arguments}]")
        if words.problems or (call[1] and not kind(call[1])):
            return None
        keywords = {key: value for word in words.data if isinstance(word, dict) for key, value in word.items()}
        return _made(call[1] or "choice", [word for word in words.data if not isinstance(word, dict)], keywords)
    if between := _BETWEEN.fullmatch(text):
        return _made("", [read(number).data for number in between.groups()], {})
    words = read(f"[{text}]") if "," in text else read(f"[{', '.join(text.split())}]")
    if words.problems or not isinstance(words.data, list) or len(words.data) < 2:
        return None
    is_list = "," in text or all(isinstance(word, int | float) for word in words.data)
    return _made("choice", words.data, {}) if is_list else None


def _of_inner(name: str, inner: object, keywords: Mapping[Any, Any]) -> str | None:
    if isinstance(inner, dict):
        return _made(name, [], {**keywords, **inner})
    if isinstance(inner, str) and "," in inner:
        inner = read(f"[{inner}]").data
    return _made(name, inner if isinstance(inner, list) else [] if inner is None else [inner], keywords)


def _made(name: str, words: Sequence[Any], keywords: Mapping[Any, Any]) -> str | None:
    """The form of a kind with its arguments; None if they make none."""
    ours = {SYNONYMS.get(str(key), str(key)): value for key, value in keywords.items()}
    what = kind(name)
    if name and not what:
        return None
    if what in _CONSTANT:
        return shown([*words, ours.get("value", ours.get("val"))][0])
    if what in _CHOICE or (not what and "values" in ours):
        values = ours.get("values", words)
        lists = [value for value in values if isinstance(value, list)] if isinstance(values, list) else []
        values = lists[0] if lists and values is words else values
        return f"{{values: {shown(values)}}}" if isinstance(values, list) and values else None
    numbers = [number for word in words if (number := _number(word)) is not None]
    low, high = (_number(ours[key]) if key in ours else None for key in ("min", "max"))
    if low is None and high is None and len(numbers) >= 2:
        (low, high), numbers = numbers[:2], numbers[2:]
    if low is None or high is None:
        return None
    log = what in (*_LOG, *_LOG_INT) or ours.get("log") is True
    step = _number(ours.get("step")) or next(iter(numbers), None)
    if what in _LOG and low <= 0:  # exponents, of 10 for Determined and of e for W&B and Hyperopt
        base = float(ours.get("base", 10) if what == "log" else math.e)
        low, high = (float(f"{base ** min(end, 100):.3g}") for end in (low, high))
    if what in (*_FLOAT, *_LOG) or any(isinstance(number, float) for number in (low, high, step)):
        low, high, step = float(low), float(high), step and float(step)
    made = {"min": low, "max": high, **({"step": step} if step and not log else {}), **({"log": True} if log else {})}
    return shown(made)


def _number(word: object) -> int | float | None:
    value = read(word).data if isinstance(word, str) else word
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None
