"""Mutated files for every reader, each for some minutes: only refusals of our own, and never other numbers.

Prints one line per reader, and the shortest file that broke a rule. Exits with 1 where there is one.
"""

import argparse
import sys
import time
import traceback

from tests.fuzzing import fuzz
from tests.readers import readers

_ROUND = 200
"""Mutations of one round; the clock is looked at after each."""


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(readers())}; default: all")
    parser.add_argument("--minutes", type=float, default=2.0, help="for each reader")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first round")
    options = parser.parse_args()
    broken = 0
    for name, make in readers().items():
        if options.readers and name not in options.readers:
            continue
        reader, end, number = make(), time.monotonic() + 60 * options.minutes, options.seed
        try:
            while time.monotonic() < end:
                fuzz(reader, _ROUND, number)
                number += 1
            sys.stdout.write(f"{name}: {_ROUND * (number - options.seed)} files, no fault\n")
        except Exception:
            broken += 1
            sys.stdout.write(
                f"{name}: a fault after {_ROUND * (number - options.seed)} files\n{traceback.format_exc()}\n"
            )
        sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
