"""The rooms of both packages, which way imports go, and the picture of them: ``python -m tests.house platform``.

A folder is a room; a file on a package's ground is a room of its own. Files are read with `ast`, nothing is imported.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

LEVELS = {
    "platform": (
        ("sweep", "results", "submit"),
        ("driver", "verbs"),
        ("analysis",),
        ("runners",),
        ("cluster",),
        ("study", "tracking"),
        ("space", "storage", "pictures"),
        ("sweepfile",),
        ("errors", "provenance", "console"),
    ),
    "trainables": (
        ("__main__", "model"),
        ("spectran", "pad", "hatllm", "floors"),
        ("language", "backbones"),
        ("seqrec",),
        ("data",),
        ("runtime",),
        ("trial",),
        ("storage", "config"),
        ("fields", "disk", "exceptions", "references"),
        ("redaction",),
    ),
}
"""Rooms of each package, highest first. A room imports from itself and from the levels below its own."""

ACROSS = {"trial", "config", "runtime", "storage", *LEVELS["trainables"][-1], *LEVELS["trainables"][-2]}
"""Rooms of `trainables` that the driver may import."""

HOMES = {
    "ray": {
        "platform.runners.tune",
        "platform.runners.bridge",
        "platform.cluster.jobs",
        "platform.cluster.preflight",
        "platform.cluster.probe",
        "platform.submit",
        "trainables.runtime.on_ray",
        "trainables.runtime.node_agents",
    },
    "mlflow": {"platform.tracking.runs", "platform.tracking.batches", "platform.tracking.errors"},
    "optuna": {"platform.study", "platform.pictures"},
    "plotly": {"platform.pictures"},
    "matplotlib": {"platform.pictures"},
    "jinja2": {"platform.pictures"},
    "sqlalchemy": {"platform.storage.lease_stores", "platform.study.existing", "platform.tracking.errors"},
    "boto3": {"trainables.storage.objects", "platform.cluster.probe"},
    "botocore": {"trainables.storage.objects"},
    "deepspeed": {"trainables.language.engines"},
    "yaml": {"platform.sweepfile.yaml_lines"},
    "torch": {"trainables"},
}
"""Third parties with one home each: package -> the modules (and what lies below them) that may import it."""


def sources() -> dict[str, str]:
    """Every file of both packages: dotted module -> source."""
    files = [file for package in LEVELS for file in sorted((ROOT / package).rglob("*.py"))]
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file.read_text("utf-8")
        for file in files
    }


def violations(modules: Mapping[str, str]) -> list[str]:
    """Imports of `modules` (dotted name -> source) that break a rule, and circles of files and of rooms."""
    broken = [text for module, source in modules.items() for text in _forbidden(module, source)]
    for what, arrows in (("files", _file_arrows(modules)), ("rooms", room_arrows(modules))):
        try:
            graphlib.TopologicalSorter(arrows).prepare()
        except graphlib.CycleError as error:
            broken.append(f"a circle of {what}: {' -> '.join(reversed(error.args[1]))}")
    return broken


def room_arrows(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """The rooms that each room imports, as `package.room`."""
    arrows: dict[str, set[str]] = {}
    for module, source in modules.items():
        arrows.setdefault(_room(module), set()).update(
            _room(imported)
            for imported, _ in imports(source)
            if _is_ours(imported) and _room(imported) != _room(module)
        )
    return arrows


def imports(source: str) -> Iterator[tuple[str, int]]:
    """Every absolute import of a source, as (dotted name, line); `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def picture(package: str) -> str:
    """The house as text: a line per room with what it holds and the rooms of the package that it imports."""
    modules = sources()
    lines: list[str] = []
    arrows = room_arrows(modules)
    for level in LEVELS[package]:
        lines += ["  |"] if lines else []
        for room in level:
            below = sorted(r.split(".")[1] for r in arrows[f"{package}.{room}"] if r.startswith(f"{package}."))
            lines.append(
                f"{room:<11} {(ast.get_docstring(ast.parse(modules[f'{package}.{room}'])) or '').splitlines()[0]}"
            )
            lines += [f"{'':<11} -> {' '.join(below)}"] if below else []
    return "\n".join(lines) + "\n"


def _forbidden(module: str, source: str) -> Iterator[str]:
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    for imported, line in imports(source):
        other_package, _, other_rest = imported.partition(".")
        other, where = other_rest.partition(".")[0], f"{module}:{line} imports {imported}"
        homes = HOMES.get(other_package)
        if homes and not any(module == home or module.startswith(f"{home}.") for home in homes):
            yield f"{where}: {other_package} has its home in {sorted(homes)}"
        if not _is_ours(imported) or not room or (package, room) == (other_package, other):
            continue
        if package != other_package:
            if package == "trainables":
                yield f"{where}: a worker knows nothing of the driver"
            elif other not in ACROSS:
                yield f"{where}: the driver imports only {sorted(ACROSS)} of trainables"
            continue
        level = {name: depth for depth, names in enumerate(LEVELS[package]) for name in names}
        homeless = [name for name in (room, other) if name not in level]
        if homeless:
            yield f"{where}: {homeless[0]} is no room of the house; give it a level in tests/house.py"
        elif level[other] < level[room]:
            yield f"{where}: {other} lies above {room}"
        elif level[other] == level[room]:
            yield f"{where}: {other} and {room} lie on one level; what two rooms need moves down"


def _is_ours(imported: str) -> bool:
    return imported.partition(".")[0] in LEVELS and "." in imported


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _file_arrows(modules: Mapping[str, str]) -> dict[str, set[str]]:
    def file_of(imported: str) -> str:
        while imported and imported not in modules:
            imported = imported.rpartition(".")[0]
        return imported

    return {
        module: {file_of(imported) for imported, _ in imports(source)} - {"", module, *LEVELS}
        for module, source in modules.items()
    }


if __name__ == "__main__":
    sys.stdout.write(picture(sys.argv[1]))
