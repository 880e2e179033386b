"""Which trainables there are: a folder with ``config.py`` and ``run.py``, found without importing it."""

import difflib
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

_FILES = ("config.py", "run.py")


class UnknownTrainable(ValueError):  # noqa: N818
    """No trainable has this name."""


def names() -> tuple[str, ...]:
    """Names of the built-in trainables, sorted."""
    root = Path(__file__).parents[1]
    return tuple(sorted(p.name for p in root.iterdir() if all((p / file).is_file() for file in _FILES)))


def load_config(name: str) -> ModuleType:
    """The light module of a trainable: ``Config``, ``METRICS`` and, where it has them, ``CONSTRAINTS`` and ``check``.

    Args:
        name: a built-in name (``spectran``) or a dotted path of a package of the user's own.

    Raises:
        UnknownTrainable: there is no such trainable; the nearest name is offered.
    """
    return importlib.import_module(f"{_package(name)}.config")


def load_run(name: str) -> ModuleType:
    """The module of a trainable that holds ``run(config, trial)``.

    Raises:
        UnknownTrainable: as :func:`load_config`.
    """
    return importlib.import_module(f"{_package(name)}.run")


def _package(name: str) -> str:
    if name in names():
        return f"trainables.{name}"
    if "." in name and _is_package(name):
        return name
    near = difflib.get_close_matches(name, names(), n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}, or a dotted path of your own"
    raise UnknownTrainable(
        f"a trainable must be a folder with config.py and run.py that Python can import, but got {name!r}; {remedy}"
    )


def _is_package(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None and importlib.util.find_spec(f"{name}.config") is not None
    except ModuleNotFoundError:
        return False
