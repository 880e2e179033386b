"""pydantic's findings in the words of the sweep file: path, and `rule, but got value; remedy`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, get_args

from pydantic import ValidationError

from platform.errors import did_you_mean, nearest, short
from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from platform.sweepfile.fields import keys_of, sections, valid_name
from platform.sweepfile.yaml_lines import join

_TYPES = {
    "int_type": ("must be a whole number", "write a number without quotes"),
    "int_from_float": ("must be a whole number", "write it without a fraction"),
    "float_type": ("must be a number", "write a number without quotes"),
    "finite_number": ("must be a finite number", "write a plain number"),
    "string_type": ("must be text", "put it in quotes"),
    "bool_type": ("must be true or false", "write true or false"),
    "tuple_type": ("must be a list", "write [ ] around it, or one `- ` line per entry"),
    "dict_type": ("must be a mapping", "write {key: value}"),
    "model_type": ("must be a mapping", "write {key: value}"),
    "model_attributes_type": ("must be a mapping", "write {key: value}"),
    "string_too_short": ("must not be empty", "remove the line, or write a value"),
    "too_short": ("must have at least one entry", "add one"),
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge", "raise it"),
    "greater_than": ("above", "gt", "raise it"),
    "less_than_equal": ("at most", "le", "lower it"),
    "less_than": ("below", "lt", "lower it"),
}
_METRIC = "`metric: {{name: {}, goal: {}}}`"


_SYNONYMS: dict[str, dict[str, str]] = {
    "": {
        "n_trials": "num_trials", "num_samples": "num_trials", "run_cap": "num_trials", "max_trials": "num_trials",
        "trials": "num_trials", "budget": "num_trials", "search_alg": "method", "sampler": "method",
        "algorithm": "method", "searcher": "method", "tuner": "method", "strategy": "method",
        "scheduler": "early_stopping", "pruner": "early_stopping", "early_terminate": "early_stopping",
        "params": "parameters", "search_space": "parameters", "param_space": "parameters", "space": "parameters",
        "hyperparameters": "parameters", "config": "parameters", "objective": "metric", "metrics": "metric",
        "mode": "metric.goal", "goal": "metric.goal", "direction": "metric.goal", "directions": "metric.goal",
        "n_jobs": "max_concurrent_trials", "max_concurrent": "max_concurrent_trials",
        "parallel_trials": "max_concurrent_trials", "concurrency": "max_concurrent_trials",
        "points_to_evaluate": "initial_points", "enqueue_trials": "initial_points", "model": "trainable",
        "program": "trainable", "method_name": "trainable", "study_name": "name", "sweep_name": "name",
        "storage_path": "storage", "random_state": "seed", "random_seed": "seed",
        "timeout": "limits.max_hours", "time_budget_s": "limits.max_hours", "max_hours": "limits.max_hours",
        "max_failures": "limits.max_failures_per_trial", "max_failed_trials": "limits.max_failed_trials",
        "project": "tracking.experiment", "experiment": "tracking.experiment", "tracking_uri": "tracking.uri",
        "mlflow": "tracking", "cpu": "resources.cpu", "gpu": "resources.gpu",
        "resources_per_trial": "resources",
    },
    "metric": {"mode": "goal", "direction": "goal", "optimize": "goal", "metric": "name"},
    "early_stopping": {
        "name": "type", "grace_period": "min_reports", "min_iter": "min_reports", "min_resource": "min_reports",
        "n_warmup_steps": "min_reports", "eta": "reduction_factor",
    },
    "resources": {
        "cpus": "cpu", "num_cpus": "cpu", "cpu_per_trial": "cpu", "gpus": "gpu", "num_gpus": "gpu",
        "gpu_per_trial": "gpu", "ram": "memory", "num_workers": "workers", "world_size": "workers", "ranks": "workers",
        "num_nodes": "nodes", "label_selector": "label", "labels": "label",
    },
    "limits": {
        "timeout": "max_hours", "hours": "max_hours", "max_failures": "max_failures_per_trial",
        "retries": "max_failures_per_trial", "minutes_per_trial": "max_minutes_per_trial",
    },
    "tracking": {"tracking_uri": "uri", "url": "uri", "experiment_name": "experiment", "project": "experiment"},
    "compare": {"group_by": "by", "cells": "by", "parameters": "by", "paper": "published", "reference": "published"},
}  # fmt: skip
"""Section -> what other tools call a key -> what it is called here."""

_VALUES = {
    "bayes": "tpe", "bayesian": "tpe", "optuna": "tpe", "hyperopt": "tpe", "bohb": "tpe", "gaussian": "gp",
    "cma-es": "cmaes", "cma_es": "cmaes", "nsga-ii": "nsga2", "nsgaii": "nsga2", "nsga": "nsga2", "sobol": "qmc",
    "max": "maximize", "min": "minimize", "successive_halving": "asha", "sha": "asha", "nop": "none",
}  # fmt: skip


def own_key(word: str, *, sections_too: bool = True) -> str | None:
    """The dotted key of a sweep that another tool's word stands for, or a section's key that is written without it."""
    if word in _SYNONYMS[""] or not sections_too:
        return _SYNONYMS[""].get(word)
    found = {f"{section}.{word}" for section in sections() if section and word in keys_of(section)}
    found |= {f"{section}.{words[word]}" for section, words in _SYNONYMS.items() if section and word in words}
    return found.pop() if len(found) == 1 else None


def _value_meant(value: object, choices: tuple[str, ...]) -> str | None:
    """The one of a key's fixed `choices` that another tool's word, or a slip, stands for."""
    word = str(value).lower()
    return _VALUES[word] if _VALUES.get(word) in choices else nearest(word, choices)


def problem_texts(error: ValidationError, data: dict[str, Any]) -> list[tuple[str, str]]:
    """The path and the message for each of pydantic's findings.

    Args:
        error: what pydantic says of the sweep.
        data: the file as plain data, which says whether `metric` was one or a list.
    """
    found = list(_findings(error))
    named = any(details["loc"][0] == "metric" and "/" in str(details["loc"][-1]) for details in found)
    strange = [details["loc"] for details in found if details["type"] == "extra_forbidden"]
    meant = {_meant(loc) for loc in strange}
    texts: list[tuple[str, str]] = []
    for details in found:
        steps = [step for step in details["loc"] if step != "[key]"]
        if details["type"] == "missing" and ".".join(str(s) for s in steps if not isinstance(s, int)) in meant:
            continue  # it is there under another tool's name, which is said already
        if details["type"] == "missing" and steps[0] == "metric" and named:
            continue  # metric: {valid/ndcg_20: maximize}, whose remedy has both keys
        if details["type"] == "too_short" and details["ctx"]["actual_length"] < len(details["input"]):
            continue  # its entries are there, and what is wrong with them is said already
        if steps[:1] == ["metric"] and isinstance(data.get("metric"), dict):
            steps = [step for step in steps if step != 0]
        if steps[:1] == ["early_stopping"] and len(steps) > 2:
            del steps[1]  # the type, which is no key
        if details["type"] == "invalid_key" or "[key]" in details["loc"]:
            steps = [*steps[:-1], str(steps[-1])]  # a key that is a number is no place in a list
        texts.append((reduce(join, steps, ""), _metric_text(details, data) or _message(details, steps)))
    return texts


def _findings(error: ValidationError) -> Iterator[Any]:
    """pydantic's findings. Where an early stopping has an unknown type, its keys are held against the nearest one's."""
    for details in error.errors():
        if details["type"] != "union_tag_invalid":
            yield details
            continue
        loc, value = details["loc"], details["input"]
        yield {"type": "literal_error", "loc": (*loc, "type"), "input": value["type"]}
        meant = _value_meant(value["type"], tuple(EARLY_STOPPINGS))
        if meant:
            try:
                EARLY_STOPPINGS[meant].model_validate({**value, "type": meant})
            except ValidationError as below:
                yield from ({**inner, "loc": (*loc, meant, *inner["loc"])} for inner in below.errors())


def _meant(loc: Sequence[Any]) -> str | None:
    """The dotted key that an unknown one stands for in another tool."""
    section = str(loc[0]) if len(loc) > 1 else ""
    meant = _SYNONYMS[section].get(str(loc[-1]))
    return f"{section}.{meant}" if section and meant else meant


def _message(details: Any, steps: list[Any]) -> str:
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        return _unknown_key(steps, details["loc"])
    if kind == "missing":
        return f"must be given, but is not there; {_example(steps)}"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind in _TYPES:
        rule, remedy = _TYPES[kind]
        if kind.startswith(("int", "float")) and not isinstance(value, str):
            remedy = "write it without a point or an exponent" if isinstance(value, float) else "write a number"
        return f"{rule}, but got {short(value)}; {remedy}"
    if kind in _BOUNDS:
        words, key, remedy = _BOUNDS[kind]
        return f"must be {words} {details['ctx'][key]}, but got {short(value)}; {remedy}"
    if kind == "literal_error":
        choices = _choices(steps)
        meant = _value_meant(value, choices)
        remedy = f"did you mean {meant!r}?" if meant else "choose one of them"
        return f"must be one of {', '.join(choices)}, but got {short(value)}; {remedy}"
    if kind == "invalid_key":
        return f"a key must be text, but got {short(value)}; rename it"
    if kind == "string_pattern_mismatch" and steps == ["trainable"]:
        return f"must be a name such as spectran, or a dotted module path, but got {short(value)}; rename it"
    if kind == "string_pattern_mismatch":
        return (
            f"must be a plain name (letters, digits, . _ -, starting with a letter or a digit, at most 100), but got "
            f"{short(value)}; rename it"
        )
    return f"{details['msg']}, but got {short(value)}; correct it"


def _metric_text(details: Any, data: Mapping[str, Any]) -> str | None:
    """The message for an objective that is no mapping of name and goal: the mapping meant; None for any other entry."""
    loc, value, kind = details["loc"], details["input"], details["type"]
    if loc[0] != "metric":
        return None
    if kind == "extra_forbidden" and "/" in str(loc[-1]):
        name, goal, got = str(loc[-1]), value, f"the key {loc[-1]!r}"
    elif kind in ("tuple_type", "model_type", "model_attributes_type"):
        name, got = value if isinstance(value, str) else "valid/ndcg_20", short(value)
        goal = next((data[key] for key in ("goal", "mode", "direction") if key in data), None)
    else:
        return None
    fewer = any(word in name for word in ("loss", "error", "perplexity", "rmse", "mae"))
    goal = _value_meant(goal, ("maximize", "minimize")) or ("minimize" if fewer else "maximize")
    meant = _METRIC.format(valid_name(name), goal)
    meant = meant.replace("metric: ", "") if len(loc) > 1 and isinstance(data["metric"], list) else meant
    return f"must be a mapping of name and goal, but got {got}; write {meant}"


def _unknown_key(steps: list[Any], loc: Sequence[Any]) -> str:
    key = steps[-1]
    section = str(steps[0]) if len(steps) > 1 else ""
    known = keys_of(section)
    rule = f"must be a key of {section or 'a sweep'}, but got {key!r}"
    if section == "early_stopping" and key in known:
        own = ", ".join(EARLY_STOPPINGS[loc[1]].model_fields)
        readers = ", ".join(name for name, settings in EARLY_STOPPINGS.items() if key in settings.model_fields)
        return (
            f"{loc[1]} must have only {own}, but got {key} as well; remove it, or take a type that reads it: {readers}"
        )
    if key == "<<":
        return f"{rule}, and merges are not taken; write its lines"
    if meant := _SYNONYMS[section].get(str(key)) or (None if section else own_key(str(key))):
        return f"{rule}; did you mean {meant!r}?"
    if not section and "." in str(key):
        return f"{rule}; fields of the trainable stand below `parameters:`"
    return f"{rule}; {did_you_mean(key, known)}"


def _example(steps: list[Any]) -> str:
    examples = {
        "name": "write `name: my-sweep`",
        "trainable": "write `trainable: spectran`",
        "num_trials": "write `num_trials: 20`",
        "parameters": "write `parameters:` and the fields below it",
    }
    if steps[0] == "metric":
        return f"write {_METRIC.format('valid/ndcg_20', 'maximize')}"
    return examples.get(str(steps[-1]), "add it")


def _choices(steps: list[Any]) -> tuple[str, ...]:
    """The words that a key with fixed choices takes."""
    section, key = (str(steps[0]), str(steps[-1])) if len(steps) > 1 else ("", str(steps[0]))
    fields = (cls.model_fields[key] for cls in sections()[section])
    return tuple(choice for field in fields for choice in get_args(field.annotation))
