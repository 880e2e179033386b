"""Fixture of the contract tests: Ray on this machine."""

from collections.abc import Iterator

import pytest

from platform.runners import tune


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """Ray on this machine, for this module."""
    tune.connect(None)
    yield
    tune.disconnect()
