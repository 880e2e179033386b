"""Other tools' notations of a search space and of options, in this one's words: for the remedies of messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from platform.errors import short

_CHOICES = ("choice", "choices", "categorical", "grid_search", "grid", "suggest_categorical")
_LOG = ("loguniform", "log_uniform", "log_uniform_values", "qloguniform", "lograndint", "reciprocal")
_WHOLE = ("randint", "int", "int_uniform", "suggest_int", "lograndint", "qrandint", "range")
_RANGES = (*_LOG, *_WHOLE, "uniform", "quniform", "float", "suggest_float", "interval", "suggest_uniform")
_CALL = re.compile(r"\s*(?:\w+\.)?(\w+)\((.*)\)\s*")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NUMBERS = re.compile(rf"\s*{_NUMBER}(\s*,\s*{_NUMBER})+\s*")
_OPTIONS = {
    "--resume": "leave it out: the same command carries on",
    "--restore": "leave it out: the same command carries on",
    "--continue": "leave it out: the same command carries on",
    "--dry-run": "write --plan, or --check",
    "--dryrun": "write --plan, or --check",
    "--validate": "write --check",
    "--stop": "press Ctrl-C, or write --end 7 for one trial",
}
_KEYS = {
    "num_trials": ("--trials", "--num-trials", "--n-trials", "--num_trials", "--n_trials", "--num-samples", "-n"),
    "seed": ("--seed",),
    "max_concurrent_trials": ("--workers", "--jobs", "-j", "--n-jobs", "--concurrency"),
    "resources.gpu": ("--gpus", "--gpu"),
    "resources.cpu": ("--cpus", "--cpu"),
    "storage": ("--storage", "--output", "--out", "-o"),
    "name": ("--name",),
    "parameters.fit.epochs": ("--epochs",),
}


def of_text(text: str) -> str | None:
    """The parameter that a text such as `choice(1, 2)`, `uniform(0, 0.5)` or `0.1,0.2` means; None where it is none."""
    if _NUMBERS.fullmatch(text):
        return f"{{values: [{', '.join(part.strip() for part in text.split(','))}]}}"
    if not (call := _CALL.fullmatch(text)):
        return None
    return _of(call[1], [part.strip() for part in call[2].strip("[]() ").split(",") if part.strip()])


def of_mapping(raw: dict[Any, Any]) -> str | None:
    """The parameter that a mapping of another tool means, such as `{uniform: [0, 0.5]}`; None where it is none."""
    if len(raw) == 1:
        ((word, inner),) = raw.items()
        if isinstance(inner, dict):
            inner = [inner[key] for key in ("low", "lower", "min", "high", "upper", "max") if key in inner]
        return _of(str(word), [str(each) for each in inner]) if isinstance(inner, list) else None
    low = next((raw[key] for key in ("low", "lower", "min") if key in raw), None)
    high = next((raw[key] for key in ("high", "upper", "max") if key in raw), None)
    if "type" not in raw or low is None or high is None:
        choices = next((raw[key] for key in ("choices", "values", "categories") if key in raw), None)
        return _of("choice", [str(each) for each in choices]) if "type" in raw and isinstance(choices, list) else None
    kind = "loguniform" if raw.get("log") is True else str(raw["type"])
    return _of(kind, [str(low), str(high)])


def of_group(name: str, raw: dict[Any, Any]) -> str | None:
    """The dotted lines that a nested part means, such as `fit: {dropout: {min: 0.0, max: 0.5}}`; None if it is none."""
    if "parameters" in raw or not all(isinstance(key, str) and key.isidentifier() for key in raw):
        return None
    if not any(isinstance(value, dict) for value in raw.values()):
        return None
    lines = [f"{name}.{key}: {_yaml(value)}" for key, value in raw.items()]
    return short_enough(", ".join(f"`{line}`" for line in lines))


def of_options(words: Sequence[str], keys: Sequence[str]) -> str:
    """The remedy for words that a command does not know.

    Args:
        words: they, in order.
        keys: of a sweep file.
    """
    word, value = words[0].partition("=")[0], words[0].partition("=")[2] or "".join(words[1:2])
    if word in _OPTIONS:
        return _OPTIONS[word]
    for key, others in _KEYS.items():
        if word in others:
            return f"write --set {key}={value or '...'}"
    if "=" in words[0] and not word.startswith("-"):
        return f"write --set {of_key(word, keys)}={value}"
    return "settings are keys of the file: write --set key=value"


def of_key(key: str, keys: Sequence[str]) -> str:
    """The dotted key of the file that a field of a trainable has, as `parameters.fit.epochs` for `fit.epochs`."""
    return key if key.partition(".")[0] in keys else f"parameters.{key}"


def short_enough(text: str) -> str:
    """A text, its beginning if it is long."""
    return text if len(text) <= 200 else f"{text[:197]}..."


def _of(word: str, values: Sequence[str]) -> str | None:
    word = word.lower()
    if word in _CHOICES and values:
        return f"{{values: [{', '.join(values)}]}}"
    if word in _RANGES and len(values) >= 2 and all(re.fullmatch(_NUMBER, each) for each in values[:2]):
        low, high = (each if word in _WHOLE else _float(each) for each in values[:2])
        return f"{{min: {low}, max: {high}{', log: true' if word in _LOG else ''}}}"
    return None


def _float(text: str) -> str:
    return text if re.search(r"[.eE]", text) else f"{text}.0"


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else short(value) if isinstance(value, list) else str(value)
