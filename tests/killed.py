"""`python -m platform.sweep`, killed with all that it started before the n-th call of a function.

python -m tests.killed platform.runners.ledger.Ledger.report 8 sweep.yaml
"""

import itertools
import os
import pkgutil
import signal
import sys
from typing import Any
from unittest import mock

from platform.sweep import main


def run(place: str, count: str, *arguments: str) -> int:
    """Run the command where a function's n-th call kills its process group; returns the exit code."""
    original, calls = pkgutil.resolve_name(place), itertools.count(1)

    def call(*given: Any, **named: Any) -> Any:
        if next(calls) == int(count):
            os.killpg(0, signal.SIGKILL)
        return original(*given, **named)

    with mock.patch(place, call):
        return main([*arguments])


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
