"""Trainables are found by their folders."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainables.runtime import registry

ROOT = Path(__file__).parents[3]


def test_every_folder_with_config_and_run_is_a_trainable():
    folders = {path.parent.name for path in (ROOT / "trainables").glob("*/run.py")}
    assert set(registry.names()) == {name for name in folders if (ROOT / "trainables" / name / "config.py").exists()}
    assert {"spectran", "floors"} <= set(registry.names())
    assert "seqrec" not in registry.names()


def test_each_trainable_has_what_a_sweep_needs_and_its_config_takes_no_torch():
    code = (
        "import sys; from trainables.runtime import registry\n"
        "for name in registry.names():\n"
        "    trainable = registry.load(name)\n"
        "    assert any(metric.startswith('valid/') for metric in trainable.metrics), name\n"
        "    assert trainable.reports(trainable.config()) >= 1, name\n"
        "assert not {'torch', 'ray', 'numpy', 'pandas'} & sys.modules.keys(), sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_package_of_ones_own_is_named_by_its_path():
    assert registry.load("tests.trainables.curve").metrics[1] == "valid/ndcg_10"
    assert callable(registry.load_run("tests.trainables.curve"))


def test_a_contract_holds_what_config_py_says_and_defaults_for_the_rest():
    curve, heavy = registry.load("tests.trainables.curve"), registry.load("tests.trainables.heavy")
    assert (curve.constraints, curve.several_ranks) == (("width <= 48 or x <= 0.9",), True)
    assert curve.micro_batches is not None
    assert curve.micro_batches(curve.config(divisible=True))
    assert (heavy.constraints, heavy.several_ranks, heavy.check, heavy.micro_batches) == ((), False, None, None)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(
        registry.InvalidTrainable, match=r"that Python can import, but got 'spectrn'; did you mean 'spec"
    ):
        registry.load("spectrn")


def test_a_name_near_to_none_lists_what_there_is():
    with pytest.raises(registry.InvalidTrainable, match=r"there are floors, .*spectran, or a dotted path of your own"):
        registry.load("zzz")


@pytest.mark.parametrize(
    ("name", "missing"),
    [("no.such.package", "no"), ("tests.trainables", "tests.trainables.config"), ("os.path", "os.path.config")],
)
def test_a_dotted_path_that_is_no_trainable_is_told_the_missing_part(name, missing):
    with pytest.raises(registry.InvalidTrainable, match=f"but got '{name}'; Python finds no {missing} .looked in "):
        registry.load(name)


def test_an_own_package_that_is_not_found_is_told_by_the_part_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(registry.InvalidTrainable) as caught:
        registry.load("nowhere.method")
    assert f"Python finds no nowhere (looked in {tmp_path}, " in str(caught.value)
    assert "set PYTHONPATH to the folder that holds nowhere, or pip install -e its project" in str(caught.value)
    (tmp_path / "half" / "method").mkdir(parents=True)
    with pytest.raises(
        registry.InvalidTrainable, match=r"Python finds no half\.method\.config .* add config\.py beside"
    ):
        registry.load("half.method")
