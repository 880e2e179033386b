"""Words that `--set` offers, of the keys of a sweep file and of its trainable's fields."""

import argparse
from pathlib import Path

import pytest

from platform.sweepfile.completion import _settings
from platform.sweepfile.fields import keys_of, sections

FILE = Path("sweeps/spectran_taylor.yaml")


def offered(prefix: str, file: Path | None = FILE) -> dict[str, str]:
    return _settings(prefix, argparse.Namespace(file=file))


def test_each_key_that_holds_no_others_and_each_field_is_offered_with_its_meaning() -> None:
    words = offered("")
    keys = {f"{section}.{key}".lstrip(".") for section in sections() for key in keys_of(section)} - sections().keys()
    assert {word.removesuffix("=") for word in words if not word.startswith("parameters.")} == keys
    assert words["num_trials="].startswith("Trials in all")
    assert words["parameters.fit.epochs="] == "Most passes over the training rows."
    assert words["parameters.adapter.name="] == "The adapter from text to item vectors."


@pytest.mark.parametrize("file", [None, Path("none.yaml"), Path("README.md")])
def test_without_a_sweep_file_keys_are_offered_alone(file: Path | None) -> None:
    assert "num_trials=" in offered("", file)
    assert not [word for word in offered("", file) if word.startswith("parameters.")]


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("method=", ["tpe", "random", "grid", "gp", "cmaes", "nsga2", "qmc"]),
        ("deterministic=", ["true", "false"]),
        ("parameters.backbone.name=g", ["sasrec", "bert4rec", "hstu", "gru4rec", "caser"]),
        ("parameters.backbone.scale=", ["true", "false"]),
        ("parameters.fit.epochs=", []),
        ("nothing=", []),
    ],
)
def test_values_that_are_few_are_offered(prefix: str, words: list[str]) -> None:
    key = prefix.partition("=")[0]
    assert list(offered(prefix)) == [f"{key}={word}" for word in words]
    assert offered("parameters.backbone.name=")["parameters.backbone.name=hstu"].startswith("Causal gated attention")
