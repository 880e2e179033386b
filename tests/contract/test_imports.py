"""Imports go one way, by rooms, as `tests/house.py` says."""

import ast
import sys

import pytest

from tests.house import ROOT, picture, sources, violations


def test_imports_go_one_way() -> None:
    modules = sources()
    assert len(modules) > 20
    assert violations(modules) == []


@pytest.mark.parametrize(
    ("module", "source", "violation"),
    [
        ("platform.sweepfile.spec", "from platform.space.space import Space", "space lies above sweepfile"),
        ("platform.sweepfile.spec", "from platform import study", "study lies above sweepfile"),
        ("platform.space.points", "def f():\n    import platform.study.study", "study lies above space"),
        ("platform.study.study", "from platform.tracking.journal import x", "tracking and study lie on one level"),
        ("platform.errors", "from platform.console import x", "console and errors lie on one level"),
        ("platform.runners.inline", "from platform import sweep", "sweep lies above runners"),
        ("platform.space.check", "from trainables.data import load", "the driver imports only ['config', 'disk',"),
        ("platform.analysis.pairs", "from trainables.seqrec.metrics import x", "the driver imports only ['config',"),
        ("platform.invented", "from platform.sweepfile import spec", "invented is no room of the house"),
        ("trainables.trial", "from platform.errors import SweepError", "a worker knows nothing of the driver"),
        ("trainables.seqrec.fit", "from trainables.spectran import run", "spectran lies above seqrec"),
        ("trainables.spectran.run", "from trainables.floors.counts import x", "what two rooms need moves down"),
        ("trainables.language.llm", "from trainables.hatllm.config import Config", "hatllm lies above language"),
        ("platform.analysis.report", "import mlflow.tracking", "mlflow has its home in ['platform.tracking.batches'"),
        ("platform.study.study", "from ray import tune", "ray has its home in"),
        ("platform.results", "import torch", "torch has its home in ['trainables']"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str, violation: str) -> None:
    [text] = violations({module: source})
    assert violation in text


def test_a_planted_circle_of_files_is_found() -> None:
    modules = {
        "platform.space.space": "from platform.space.check import check",
        "platform.space.check": "def check():\n    from platform.space import points",
        "platform.space.points": "from platform.space.space import Space",
    }
    [circle] = violations(modules)
    assert circle.startswith("a circle of files: ")
    assert all(f"{first} -> {second}" in circle for first, second in [("space.space", "platform.space.check")])


def test_a_planted_circle_of_rooms_is_found_though_no_two_files_make_one() -> None:
    modules = {
        "platform.study.study": "from platform.space.space import Space",
        "platform.study.tpe": "",
        "platform.space.space": "",
        "platform.space.check": "from platform.study.tpe import Memory",
    }
    up, circle = violations(modules)
    assert "study lies above space" in up
    assert circle in (
        "a circle of rooms: platform.study -> platform.space -> platform.study",
        "a circle of rooms: platform.space -> platform.study -> platform.space",
    )


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("platform.space.space", "from platform.sweepfile.spec import SweepSpec"),
        ("platform.space.check", "from trainables import config\nfrom trainables.runtime import registry"),
        ("platform.runners.tune", "import ray\nfrom trainables.runtime.on_ray import Trainable"),
        ("trainables.hatllm.run", "import torch\nfrom trainables.seqrec.fit import fit"),
        ("trainables.language.engines.zero", "import deepspeed"),
        ("trainables.runtime.worker", "import platform"),
        ("platform.sweepfile.spec", "import os\nfrom pathlib import Path"),
        ("platform.console", "from trainables.redaction import redact"),
    ],
)
def test_what_the_rules_allow_passes(module: str, source: str) -> None:
    assert violations({module: source}) == []


@pytest.mark.parametrize("package", ["platform", "trainables"])
def test_the_picture_of_the_house_is_true(package: str) -> None:
    assert picture(package) in (ROOT / package / "README.md").read_text("utf-8"), f"python -m tests.house {package}"


def test_config_modules_are_light() -> None:
    """`config.py` and `*_config.py` import the standard library and their like at the top, nothing else."""
    configs = sorted((ROOT / "trainables").rglob("*config.py"))
    assert configs
    for file in configs:
        for node in ast.parse(file.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                light = name.startswith("trainables.") and name.endswith(("config", "trainables.fields"))
                assert light or name.partition(".")[0] in sys.stdlib_module_names, f"{file}: {name}"
