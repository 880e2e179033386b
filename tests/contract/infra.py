"""The files of infra/ as data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(
    path.relative_to(INFRA).as_posix()
    for path in INFRA.rglob("*")
    if path.is_file() and path.parts[len(INFRA.parts)] not in ("decisions", "deepspeed") and path.suffix != ".md"
    and path.name != "constraints.txt" and "secrets" not in path.parts
)  # fmt: skip
YAML = [name for name in FILES if name.endswith(".yaml")]


def documents(name: str) -> list[Any]:
    return [document for document in yaml.safe_load_all((INFRA / name).read_text()) if document]


def templates(document: Any) -> list[dict[str, Any]]:
    """The templates of the pods that a file of Kubernetes makes."""
    return [
        {key: entry[key] for key in ("metadata", "spec") if key in entry}
        for around in walk(document)
        if isinstance(around, dict)
        for name, entry in around.items()
        if name in ("template", "submitterPodTemplate")
    ]


def walk(data: Any) -> Iterator[Any]:
    yield data
    for inner in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from walk(inner)
