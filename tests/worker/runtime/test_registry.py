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
        "import sys; from trainables import registry\n"
        "for name in registry.names():\n"
        "    module = registry.load_config(name)\n"
        "    assert any(metric.startswith('valid/') for metric in module.METRICS), name\n"
        "    module.Config()\n"
        "assert not {'torch', 'ray', 'numpy', 'pandas'} & sys.modules.keys(), sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_package_of_ones_own_is_named_by_its_path():
    assert registry.load_config("tests.trainables.curve").METRICS[1] == "valid/ndcg_10"
    assert callable(registry.load_run("tests.trainables.curve").run)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(
        registry.UnknownTrainable, match=r"that Python can import, but got 'spectrn'; did you mean 'spec"
    ):
        registry.load_config("spectrn")


@pytest.mark.parametrize("name", ["zzz", "no.such.package", "tests.trainables", "os.path"])
def test_a_name_near_to_none_lists_what_there_is(name):
    with pytest.raises(registry.UnknownTrainable, match=r"there are floors, .*spectran, or a dotted path of your own"):
        registry.load_config(name)
