"""Imports go one way, as the layers below say; read with `ast`, nothing is imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DRIVER = (
    ("platform",),
    ("errors", "yaml_lines"),
    ("expression", "parameters"),
    ("reading", "fields", "overrides", "published"),
    ("wording", "schema"),
    ("keys",),
    ("spec",),
    ("space",),
    ("points",),
    ("check",),
    ("tpe", "kept", "pruning", "study_storage", "lease_places"),
    ("search",),
    ("lease",),
    ("study",),
    ("batches", "run_tags", "answers"),
    ("runs",),
    ("shipper",),
    ("tracking",),
    ("runners",),
    ("trials", "compare"),
    ("pairs",),
    ("report",),
    ("sweep", "submit", "results"),
)
"""Layers of the driver, lowest first; a module imports from its own layer and those below."""

SIDE = {
    "journal",
    "room",
    "destination",
    "identity",
    "storage",
    "plots",
    "console",
    "access",
    "packaging",
    "jobs",
    "probe",
    "preflight",
}
"""Driver modules beside the layers: they may be imported from anywhere above `spec`."""

WORKER = (
    ("disk", "exceptions", "fields", "objects"),
    ("object_lease", "places"),
    ("segments", "stage_copies"),
    ("cache",),
    ("config", "checkpoint", "stages", "redaction"),
    ("trial", "launch", "process_group"),
    ("failure",),
    ("data",),
    ("seqrec",),
    ("backbones",),
    ("floors", "spectran", "pad", "hatllm"),
    ("registry",),
    ("worker",),
    ("outposts",),
    ("on_ray", "rank", "__main__"),
)

ACROSS = {"registry", "worker", "on_ray", "config", "trial", "stages", "failure"}
"""What the driver may import of the worker, and only `platform.space.check` and `platform.runners` may."""

BOTH = {"disk", "exceptions", "redaction", "objects", "object_lease", "places", "segments"}
"""What both sides need alike: any driver module may import it."""

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
    "optuna": {
        "platform.study.search",
        "platform.study.tpe",
        "platform.study.pruning",
        "platform.study.storage",
        "platform.study.study",
        "platform.pictures.plots",
    },
    "plotly": {"platform.pictures.plots"},
    "sqlalchemy": {"platform.storage.lease_stores", "platform.tracking.errors"},
    "boto3": {"trainables.storage.objects", "platform.cluster.probe"},
    "botocore": {"trainables.storage.objects"},
    "deepspeed": {"trainables.hatllm"},
    "yaml": {"platform.sweepfile.yaml_lines"},
    "torch": {"trainables"},
}
"""Third parties with one home each: package -> the modules (and what lies below them) that may import it."""


def imports(source: str) -> Iterator[tuple[str, int]]:
    """Every absolute import of a module's source, as (dotted name, line); `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """What `module` (dotted, such as `platform.space.space`) imports against the rules."""
    found: list[str] = []
    side, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    for imported, line in imports(source):
        other_side, _, other_rest = imported.partition(".")
        other = other_rest.partition(".")[0]
        where = f"{module}:{line} imports {imported}"
        if side == "trainables" and other_side == "platform" and other:
            found.append(f"{where}: a worker knows nothing of the driver")
        elif side == "platform" and other_side == "trainables":
            if other not in BOTH and (name not in ("check", "runners") or other not in ACROSS):
                found.append(f"{where}: only check and runners import from trainables, and only {sorted(ACROSS)}")
        elif side == other_side and other and other != name and rest != "":
            found += _against_order(where, DRIVER if side == "platform" else WORKER, name, other)
        homes = HOMES.get(other_side)
        if homes and not any(module == home or module.startswith(f"{home}.") for home in homes):
            found.append(f"{where}: {other_side} has its home in {sorted(homes)}")
    return found


def _against_order(where: str, layers: tuple[tuple[str, ...], ...], name: str, other: str) -> list[str]:
    level = {module: index for index, layer in enumerate(layers) for module in layer}
    if layers is DRIVER:
        level |= dict.fromkeys(SIDE, level["space"])
    if name not in level or other not in level:
        unknown = name if name not in level else other
        return [f"{where}: {unknown} has no layer; give it one in this test"]
    if level[other] > level[name]:
        return [f"{where}: {other} lies above {name}"]
    papers = {"floors", "spectran", "pad", "hatllm"}
    if layers is WORKER and {name, other} <= papers:
        return [f"{where}: papers do not import each other; what two of them need moves down"]
    return []


def sources() -> list[tuple[str, str]]:
    """(dotted module, source) of every file of both packages."""
    files = [file for package in ("platform", "trainables") for file in sorted((ROOT / package).rglob("*.py"))]
    return [
        (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), file.read_text("utf-8"))
        for file in files
    ]


def test_imports_go_one_way() -> None:
    modules = sources()
    assert len(modules) > 20
    assert [violation for module, source in modules for violation in violations(module, source)] == []


@pytest.mark.parametrize(
    ("module", "source", "violation"),
    [
        ("platform.sweepfile.spec", "from platform.space.space import Space", "space lies above spec"),
        ("platform.sweepfile.spec", "from platform import study", "study lies above spec"),
        ("platform.sweepfile.expression", "def f():\n    import platform.space.check", "check lies above expression"),
        (
            "platform.space.space",
            "from trainables.config import build",
            "only check and runners import from trainables",
        ),
        ("platform.space.check", "from trainables.data import load", "only check and runners import from trainables"),
        ("platform.runners.inline", "from platform import sweep", "sweep lies above runners"),
        ("platform.invented", "from platform import spec", "invented has no layer"),
        ("trainables.trial", "from platform.errors import SweepError", "a worker knows nothing of the driver"),
        ("trainables.seqrec.fit", "from trainables.spectran import run", "spectran lies above seqrec"),
        ("trainables.spectran.run", "from trainables.floors.counts import x", "papers do not import each other"),
        ("trainables.data.load", "import trainables.runtime.registry", "registry lies above data"),
        ("platform.analysis.compare", "from platform.analysis.pairs import paired", "pairs lies above compare"),
        (
            "platform.analysis.report",
            "import mlflow.tracking",
            "mlflow has its home in ['platform.tracking.errors', 'platform.tracking.batches'",
        ),
        ("platform.study.study", "from ray import tune", "ray has its home in"),
        ("platform.results", "import torch", "torch has its home in ['trainables']"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str, violation: str) -> None:
    [found] = violations(module, source)
    assert violation in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("platform.space.space", "from platform.sweepfile.spec import SweepSpec"),
        ("platform.space.check", "from trainables import config, registry"),
        ("platform.runners.tune", "import ray\nfrom trainables.runtime.on_ray import Trainable"),
        ("trainables.hatllm.run", "import deepspeed, torch\nfrom trainables.seqrec.fit import fit"),
        ("trainables.runtime.worker", "import platform"),
        ("platform.sweepfile.spec", "import os\nfrom pathlib import Path"),
        ("platform.console", "from trainables.redaction import redact"),
    ],
)
def test_what_the_rules_allow_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_config_modules_are_light() -> None:
    """`config.py` and `*_config.py` import the standard library and their like at the top, nothing else."""
    import sys

    configs = sorted((ROOT / "trainables").rglob("*config.py"))
    assert configs
    for file in configs:
        for node in ast.parse(file.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                light = name.startswith("trainables.") and name.endswith(("config", "trainables.fields"))
                assert light or name.partition(".")[0] in sys.stdlib_module_names, f"{file}: {name}"
