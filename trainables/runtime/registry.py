"""The trainables: folders with ``config.py`` and ``run.py``, found without importing them."""

import dataclasses
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainables.fields import did_you_mean

_FILES = ("config.py", "run.py")


class InvalidTrainable(ValueError):  # noqa: N818
    """No trainable has this name, or its ``config.py`` lacks what each one needs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainable:
    """The contract of a trainable: one field for each name that its author writes in ``config.py``.

    ``Config`` and ``METRICS`` must be there, the other names may. ``run(config, trial)`` stands in ``run.py``, which
    :func:`load_run` imports.
    """

    config: type[Any]
    """``Config``: a frozen dataclass of all settings, built by :func:`trainables.config.build`."""
    metrics: tuple[str, ...]
    """``METRICS``: the names that ``trial.report`` is called with, such as ``valid/ndcg_10``."""
    constraints: tuple[str, ...] = ()
    """``CONSTRAINTS``: conditions on the fields that each config meets, such as ``"shallow + deep <= layers"``."""
    several_ranks: bool = False
    """``SEVERAL_RANKS``: True if ``run`` trains in a process group, so that ``resources.workers`` may exceed 1."""
    repeatable: bool = True
    """``REPEATABLE``: False if a second training of one config gives other numbers, so that it is worth running."""
    check: Callable[[Any], Iterable[str]] | None = None
    """``check(config)``: problems outside the config, such as absent data, each ``field: rule, but value; remedy``."""
    reports: Callable[[Any], int | None] | None = None
    """``reports(config)``: the most reports of a trial that hold a ``valid/*`` metric; None where that is not known."""
    notes: Callable[[Any], Iterable[str]] | None = None
    """``notes(config)``: what stops no trial but what a reader of its results must know, a sentence each."""
    micro_batches: Callable[[Any], bool] | None = None
    """``micro_batches(config)``: True if half a micro-batch gives the same loss. Without it, no batch is divided."""


def names() -> tuple[str, ...]:
    """Names of the built-in trainables, sorted."""
    root = Path(__file__).parents[1]
    return tuple(sorted(p.name for p in root.iterdir() if all((p / file).is_file() for file in _FILES)))


def load(name: str) -> Trainable:
    """The contract of a trainable, read from its ``config.py`` alone.

    Args:
        name: a built-in name (``spectran``) or a dotted path of a package of the user's own.

    Raises:
        InvalidTrainable: there is no such trainable, or it has no Config or METRICS.
    """
    module = importlib.import_module(f"{_package(name)}.config")
    config, metrics = getattr(module, "Config", None), getattr(module, "METRICS", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise InvalidTrainable(f"config.py of {name} must have a dataclass Config, but got none; add it")
    if not metrics:
        raise InvalidTrainable(f"config.py of {name} must list what it reports in METRICS, but got nothing; add it")
    return Trainable(
        config=config,
        metrics=tuple(metrics),
        constraints=tuple(getattr(module, "CONSTRAINTS", ())),
        several_ranks=getattr(module, "SEVERAL_RANKS", False),
        repeatable=getattr(module, "REPEATABLE", True),
        check=getattr(module, "check", None),
        reports=getattr(module, "reports", None),
        notes=getattr(module, "notes", None),
        micro_batches=getattr(module, "micro_batches", None),
    )


def is_imported(name: str) -> bool:
    """True if this process has imported what a trainable runs, which takes seconds the first time."""
    return f"{_package(name)}.run" in sys.modules


def load_run(name: str) -> Callable[[Any, Any], None]:
    """The function ``run(config, trial)`` of a trainable, whose module may import torch.

    Raises:
        InvalidTrainable: there is no such trainable.
    """
    run: Callable[[Any, Any], None] = importlib.import_module(f"{_package(name)}.run").run
    return run


def load_recommender(name: str) -> Callable[..., Any] | None:
    """The function ``recommender(config, saved, device)`` of a trainable, None where it has none.

    Raises:
        InvalidTrainable: there is no such trainable.
    """
    found: Callable[..., Any] | None = vars(importlib.import_module(f"{_package(name)}.run")).get("recommender")
    return found


def _package(name: str) -> str:
    if name in names():
        return f"trainables.{name}"
    if "." in name and _is_package(name):
        return name
    remedy = did_you_mean(name, names(), f"there are {', '.join(names())}, or a dotted path of your own")
    if "." in name:
        remedy = _absent(name)
    raise InvalidTrainable(
        f"a trainable must be a folder with config.py and run.py that Python can import, but got {name!r}; {remedy}"
    )


def _absent(name: str) -> str:
    """The part of a dotted path that Python does not find, with the places and the remedy."""
    parts = [*name.split("."), "config"]
    for count in range(1, len(parts) + 1):
        missing = ".".join(parts[:count])
        try:
            found = importlib.util.find_spec(missing) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            break
    library = sysconfig.get_path("stdlib")
    places = ", ".join(place for place in sys.path if Path(place).is_dir() and not place.startswith(library))
    remedy = f"set PYTHONPATH to the folder that holds {parts[0]}, or pip install -e its project"
    if missing == f"{name}.config":
        remedy = f"add config.py beside the run.py of {name}"
    return f"Python finds no {missing} (looked in {places} and what is installed); {remedy}"


def _is_package(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None and importlib.util.find_spec(f"{name}.config") is not None
    except ModuleNotFoundError:
        return False
